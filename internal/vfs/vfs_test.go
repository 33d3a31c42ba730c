package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"syscall"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disks are both real implementations, with a directory to work in.
func disks(t *testing.T) map[string]struct {
	fs  FS
	dir string
} {
	m := NewMem()
	must(t, m.MkdirAll("/work", 0o755))
	return map[string]struct {
		fs  FS
		dir string
	}{"machine": {OS{}, t.TempDir()}, "memory": {m, "/work"}}
}

// outcome is what an operation did, in a form that does not depend on the disk.
func outcome(result any, err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fmt.Sprintf("%v %s", result, errno.Error())
	}
	return fmt.Sprintf("%v %v", result, err)
}

// TestDisksAgree runs the same drawn operations on the machine's file system and on the memory disk: same results, same
// errors, same content at the end.
func TestDisksAgree(t *testing.T) {
	for seed := range uint64(15) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			memory := NewMem()
			must(t, memory.MkdirAll("/work", 0o755))
			a := &actor{disk: OS{}, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0))}
			b := &actor{disk: memory, dir: "/work", random: rand.New(rand.NewPCG(seed, 0))}
			for step := range 200 {
				what, got := a.step()
				_, same := b.step()
				if got != same {
					t.Fatalf("step %d, %s: the machine says %q, memory says %q", step, what, got, same)
				}
			}
			if got, same := a.tree("."), b.tree("."); got != same {
				t.Errorf("the machine holds\n%s\nmemory holds\n%s", got, same)
			}
			a.closeAll(t)
			b.closeAll(t)
		})
	}
}

// actor draws operations on a disk.
type actor struct {
	disk   FS
	dir    string
	random *rand.Rand
	open   []File
}

func (a *actor) name() string {
	names := []string{"a", "b", "c", "d/a", "d/b", "d", "d/e/f", "a/x"}
	return path.Join(a.dir, names[a.random.IntN(len(names))])
}

func (a *actor) step() (what, result string) {
	switch a.random.IntN(12) {
	case 0, 1, 2:
		flags := []int{os.O_RDWR, os.O_RDWR | os.O_CREATE, os.O_RDONLY, os.O_RDWR | os.O_CREATE | os.O_TRUNC,
			os.O_RDWR | os.O_CREATE | os.O_EXCL}
		name, flag := a.name(), flags[a.random.IntN(len(flags))]
		if info, err := a.disk.Stat(name); err == nil && info.IsDir() && flag == os.O_RDONLY {
			return "open of a directory", "which memory does not do"
		}
		f, err := a.disk.OpenFile(name, flag, 0o644)
		if err == nil {
			a.open = append(a.open, f)
		}
		return "open", outcome(nil, err)
	case 3:
		return "mkdir", outcome(nil, a.disk.MkdirAll(a.name(), 0o755))
	case 4:
		return "rename", outcome(nil, a.disk.Rename(a.name(), a.name()))
	case 5:
		return "remove", outcome(nil, a.disk.Remove(a.name()))
	case 6:
		info, err := a.disk.Stat(a.name())
		if err != nil || info.IsDir() {
			return "stat", outcome("", err)
		}
		return "stat", outcome(fmt.Sprint(info.Name(), info.Size(), info.Mode().IsRegular()), nil)
	case 7:
		list, err := a.disk.ReadDir(a.name())
		names := ""
		for _, e := range list {
			names += fmt.Sprint(e.Name(), e.IsDir(), " ")
		}
		return "readdir", outcome(names, err)
	}
	return a.fileStep()
}

func (a *actor) fileStep() (what, result string) {
	if len(a.open) == 0 {
		return "nothing", ""
	}
	i := a.random.IntN(len(a.open))
	f := a.open[i]
	off := int64(a.random.IntN(9000))
	data := bytes.Repeat([]byte{byte(off)}, a.random.IntN(5000))
	switch a.random.IntN(9) {
	case 0, 1:
		n, err := f.WriteAt(data, off)
		return "write", outcome(n, err)
	case 2:
		n, err := f.WritevAt([][]byte{data, nil, {1, 2}, data[:len(data)/2]}, off)
		return "writev", outcome(n, err)
	case 3, 4:
		n, err := f.ReadAt(data, off)
		return "read", outcome(fmt.Sprint(n, data[:n]), err)
	case 5:
		return "truncate", outcome(nil, f.Truncate(off))
	case 6:
		size, err := f.Size()
		return "size", outcome(size, err)
	case 7:
		return "sync", outcome(nil, errors.Join(f.StartWriteback(0, off+1), f.Datasync()))
	}
	a.open = slices.Delete(a.open, i, i+1)
	err := f.Close()
	_, readErr := f.ReadAt(make([]byte, 1), 0)
	return "close", outcome(nil, err) + outcome(nil, readErr)
}

func (a *actor) tree(name string) string {
	list, err := a.disk.ReadDir(path.Join(a.dir, name))
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, e := range list {
		below := path.Join(name, e.Name())
		if e.IsDir() {
			text += below + "/\n" + a.tree(below)
			continue
		}
		data, err := ReadFile(a.disk, path.Join(a.dir, below))
		text += fmt.Sprintln(below, data, err)
	}
	return text
}

func (a *actor) closeAll(t *testing.T) {
	for _, f := range a.open {
		must(t, f.Close())
	}
}

// TestMappingSeesWrites maps past the end of a file, on both disks: what is written later shows, also by a second
// mapping and after a truncation, and the mapping outlives the file's name and descriptor.
func TestMappingSeesWrites(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			file := path.Join(d.dir, "f")
			f, err := d.fs.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			_, err = f.WriteAt([]byte("first"), 0)
			must(t, err)
			m, err := f.Map(1 << 20)
			must(t, err)
			if !bytes.Equal(m.Bytes()[:5], []byte("first")) || len(m.Bytes()) != 1<<20 {
				t.Fatal("the mapping does not show the file")
			}
			data := bytes.Repeat([]byte("0123456789"), 2000)
			_, err = f.WritevAt([][]byte{data[:7], data[7:]}, 4)
			must(t, err)
			other, err := f.Map(100)
			must(t, err)
			if !bytes.Equal(m.Bytes()[4:4+len(data)], data) || !bytes.Equal(other.Bytes()[4:100], data[:96]) {
				t.Error("the mapping does not show what was written")
			}
			if !m.Resident(0, int64(len(data))) || !m.Resident(1<<20, 5) || !m.Resident(3, 0) {
				t.Error("what was just written is not in memory")
			}
			must(t, f.Truncate(10))
			_, err = f.WriteAt([]byte("xy"), 20)
			must(t, err)
			want := slices.Concat([]byte("firs012345"), make([]byte, 10), []byte("xy"))
			if got := m.Bytes()[:22]; !bytes.Equal(got, want) {
				t.Errorf("after a truncation the mapping shows %q", got)
			}
			must(t, f.Close())
			must(t, d.fs.Remove(file))
			if m.Bytes()[20] != 'x' {
				t.Error("the mapping did not outlive the file")
			}
			must(t, m.Unmap())
			must(t, other.Unmap())
			if _, err := d.fs.Stat(file); !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		})
	}
}

// TestMapRefuses gives the errors of Map on both disks.
func TestMapRefuses(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			f, err := d.fs.OpenFile(path.Join(d.dir, "f"), os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			if _, err := f.Map(0); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("no length: %v", err)
			}
			must(t, f.Close())
			if _, err := f.Map(1); err == nil {
				t.Error("a closed file is mapped")
			}
			if err := f.Close(); !errors.Is(err, os.ErrClosed) {
				t.Errorf("closed twice: %v", err)
			}
			if d := f.FD(); d != -1 {
				t.Errorf("a closed file has the descriptor %d", d)
			}
		})
	}
}

// TestLock is exclusive until it is closed.
func TestLock(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			file := path.Join(d.dir, ".lock")
			first, err := d.fs.Lock(file)
			must(t, err)
			if _, err := d.fs.Lock(file); !errors.Is(err, ErrLocked) {
				t.Errorf("locked twice: %v", err)
			}
			must(t, first.Close())
			second, err := d.fs.Lock(file)
			must(t, err)
			must(t, second.Close())
			if _, err := d.fs.Lock(path.Join(d.dir, "none", ".lock")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("without a directory: %v", err)
			}
		})
	}
}

// TestRemoveAllAndSpace removes a tree and asks for free room.
func TestRemoveAllAndSpace(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			must(t, d.fs.MkdirAll(path.Join(d.dir, "x/y/z"), 0o755))
			must(t, ReplaceFile(d.fs, path.Join(d.dir, "x/y/file"), []byte("data")))
			if err := d.fs.Remove(path.Join(d.dir, "x")); !errors.Is(err, syscall.ENOTEMPTY) {
				t.Errorf("remove of a full directory: %v", err)
			}
			must(t, d.fs.SyncDir(path.Join(d.dir, "x")))
			must(t, d.fs.RemoveAll(path.Join(d.dir, "x")))
			must(t, d.fs.RemoveAll(path.Join(d.dir, "x/y")))
			if _, err := d.fs.Stat(path.Join(d.dir, "x")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
			if err := d.fs.SyncDir(path.Join(d.dir, "x")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("sync of nothing: %v", err)
			}
			if free, err := d.fs.FreeBytes(d.dir); err != nil || free <= 0 {
				t.Errorf("free room %d, %v", free, err)
			}
			free, _ := d.fs.FreeBytes(d.dir)
			if total, err := d.fs.TotalBytes(d.dir); err != nil || total < free {
				t.Errorf("%d bytes in all, %d free, %v", total, free, err)
			}
		})
	}
	if _, err := (OS{}).FreeBytes("/does/not/exist"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("free room of nothing: %v", err)
	}
	if _, err := (OS{}).TotalBytes("/does/not/exist"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("size of nothing: %v", err)
	}
}

// TestWritevManyBuffers passes the kernel's limit for one call.
func TestWritevManyBuffers(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			f, err := d.fs.OpenFile(path.Join(d.dir, "f"), os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			var bufs [][]byte
			var want []byte
			for i := range 2500 {
				bufs = append(bufs, bytes.Repeat([]byte{byte(i)}, i%5))
				want = append(want, bufs[i]...)
			}
			n, err := f.WritevAt(bufs, 3)
			must(t, err)
			got := make([]byte, len(want)+1)
			m, err := f.ReadAt(got, 3)
			if n != len(want) || m != n || err != io.EOF || !bytes.Equal(got[:m], want) {
				t.Errorf("wrote %d, read %d of %d: %v", n, m, len(want), err)
			}
			must(t, f.Close())
		})
	}
}

// TestAllocateKeepsSize reserves room without making the file longer, and gives it back on truncation to the same size.
func TestAllocateKeepsSize(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			f, err := d.fs.OpenFile(path.Join(d.dir, "f"), os.O_RDWR|os.O_CREATE, 0o644)
			must(t, err)
			_, err = f.WriteAt([]byte("abc"), 0)
			must(t, err)
			must(t, f.Allocate(3, 1<<20))
			if size, err := f.Size(); size != 3 || err != nil {
				t.Errorf("size %d, %v", size, err)
			}
			if got := allocated(t, d.fs, f); got < 1<<20 {
				t.Errorf("%d bytes are reserved", got)
			}
			must(t, f.Truncate(3))
			if got := allocated(t, d.fs, f); got > 64<<10 {
				t.Errorf("%d bytes are still reserved", got)
			}
			must(t, f.Close())
			if err := f.Allocate(0, 10); err == nil {
				t.Error("room for a closed file")
			}
		})
	}
}

func allocated(t *testing.T, disk FS, f File) int64 {
	t.Helper()
	if m, ok := disk.(*Mem); ok {
		return m.UsedBytes()
	}
	var st syscall.Stat_t
	must(t, syscall.Fstat(f.FD(), &st))
	return st.Blocks * 512
}

// TestHotCallsDoNotAllocate pins what an append and a residency check cost on the machine's disk.
func TestHotCallsDoNotAllocate(t *testing.T) {
	f, err := OS{}.OpenFile(path.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	bufs := [][]byte{make([]byte, 100), make([]byte, 200)}
	_, err = f.WritevAt(bufs, 0)
	must(t, err)
	m, err := f.Map(1 << 20)
	must(t, err)
	for what, call := range map[string]func(){
		"writev":   func() { f.WritevAt(bufs, 0) },
		"read":     func() { f.ReadAt(bufs[0], 0) },
		"resident": func() { m.Resident(0, 300) },
		"allocate": func() { f.Allocate(0, 4096) },
		"guard":    func() { Guard(func() error { bufs[0][0] = m.Bytes()[0]; return nil }) },
	} {
		if n := testing.AllocsPerRun(100, call); n > 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
	must(t, m.Unmap())
	must(t, f.Close())
}

// TestGuard turns a fault on a mapped page into an error, and nothing else.
func TestGuard(t *testing.T) {
	name := path.Join(t.TempDir(), "f")
	must(t, os.WriteFile(name, make([]byte, 8192), 0o644))
	f, err := OS{}.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	m, err := f.Map(8192)
	must(t, err)
	read := func(at int) error {
		return Guard(func() error {
			if m.Bytes()[at] != 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		})
	}
	must(t, read(5000))
	must(t, f.Truncate(4096))
	var fault *FaultError
	err = read(5000)
	if !errors.As(err, &fault) || !errors.Is(err, syscall.EIO) || fault.Address == 0 || err.Error() == "" {
		t.Errorf("a page that is gone: %v", err)
	}
	must(t, read(100))
	other := errors.New("other")
	if err := Guard(func() error { return other }); err != other {
		t.Errorf("an error of the reader became %v", err)
	}
	for what, wrong := range map[string]func(){
		"a nil pointer":      func() { var p *int; *p = 1 },
		"an index too large": func() { _ = m.Bytes()[len(m.Bytes())+len(what2(m))] },
		"a panic":            func() { panic("bug") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was taken for a fault of the disk", what)
				}
			}()
			t.Error(Guard(func() error { wrong(); return nil }))
		}()
	}
	must(t, f.Close())
	must(t, m.Unmap())
}

// what2 keeps the compiler from seeing that the index is too large.
func what2(m Mapping) []byte { return m.Bytes()[:0] }

// TestSyncDirWithoutDescriptors: who holds a lock on the file system can make names durable when no descriptor is left.
func TestSyncDirWithoutDescriptors(t *testing.T) {
	dir := t.TempDir()
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	withoutFiles := func(do func() error) error {
		none := syscall.Rlimit{Cur: 3, Max: limit.Max} // what is open stays so
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
		defer func() { must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }()
		return do()
	}
	disk := NewOS()
	sync := func() error { return disk.SyncDir(dir) }
	if err := withoutFiles(sync); !OutOfFiles(err) {
		t.Errorf("without a lock: %v", err)
	}
	lock, err := disk.Lock(path.Join(dir, "lock"))
	must(t, err)
	must(t, withoutFiles(sync))
	elsewhere := func() error { return disk.SyncDir("/proc") }
	if err := withoutFiles(elsewhere); !OutOfFiles(err) {
		t.Errorf("on another file system: %v", err)
	}
	must(t, lock.Close())
	if err := withoutFiles(sync); !OutOfFiles(err) {
		t.Errorf("after the lock: %v", err)
	}
}
