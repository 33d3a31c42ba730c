package chaos

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Disk is an ext4 file system on a loop device whose power can be cut: every byte that was not flushed is gone.
// It needs root. It owns the image file, the loop device and the mount until Close.
type Disk struct {
	Mount string

	image string
}

// NewDisk makes a disk of the given size, mounted below dir.
func NewDisk(dir string, bytes int64) (*Disk, error) {
	d := &Disk{Mount: filepath.Join(dir, "mnt"), image: filepath.Join(dir, "disk.img")}
	file, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(file.Truncate(bytes), file.Close(), os.Mkdir(d.Mount, 0o755)); err != nil {
		return nil, err
	}
	if err := run("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

func (d *Disk) mount() error { return run("mount", "-o", "loop", d.image, d.Mount) }

// The EXT4_IOC_SHUTDOWN ioctl of Linux, fs/ext4/ext4.h: with NOLOGFLUSH the journal is not written either, so the
// image holds just what had reached the device.
const (
	ext4Shutdown           = 0x8004587d
	ext4ShutdownNoLogFlush = 2
)

// Cut stops the file system at once: all later I/O fails, and nothing that was not flushed reaches the image.
func (d *Disk) Cut() error {
	dir, err := os.Open(d.Mount)
	if err != nil {
		return err
	}
	defer dir.Close()
	flags := uint32(ext4ShutdownNoLogFlush)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&flags)))
	if errno != 0 {
		return fmt.Errorf("cut the power of %s: %w", d.Mount, errno)
	}
	return nil
}

// Restore mounts the disk again after a Cut, as the boot after a power loss does. Nothing may have it open.
func (d *Disk) Restore() error {
	if err := run("umount", d.Mount); err != nil {
		return err
	}
	return d.mount()
}

// Close unmounts the disk.
func (d *Disk) Close() error { return run("umount", d.Mount) }

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
