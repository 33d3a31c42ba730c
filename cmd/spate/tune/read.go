package tune

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options say which machine and which process to look at.
type Options struct {
	Root string   // where /proc, /sys and the log directories are; / unless they are mounted elsewhere or are a test's
	PID  int      // of the broker; 0: this process, which has the limits that a broker would have
	Dirs []string // log directories; they need not exist yet
}

// process is the folder of the process whose limits and mounts count.
func (o Options) process() string {
	switch {
	case o.PID > 0:
		return "proc/" + strconv.Itoa(o.PID)
	case filepath.Clean(o.Root) != "/": // this process does not live there; the first one does
		return "proc/1"
	}
	return "proc/self"
}

// wanted are the files that Judge looks at.
var wanted = []string{
	"proc/meminfo", "proc/net/softnet_stat",
	"proc/sys/fs/nr_open", "proc/sys/fs/file-max",
	"proc/sys/kernel/osrelease", "proc/sys/kernel/numa_balancing", "proc/sys/kernel/sched_autogroup_enabled",
	"proc/sys/net/core/somaxconn", "proc/sys/net/core/?mem_max", "proc/sys/net/core/netdev_max_backlog",
	"proc/sys/net/ipv4/tcp_?mem", "proc/sys/net/ipv4/tcp_max_syn_backlog",
	"proc/sys/net/ipv4/tcp_slow_start_after_idle",
	"proc/sys/vm/dirty_*", "proc/sys/vm/max_map_count", "proc/sys/vm/overcommit_memory", "proc/sys/vm/swappiness",
	"proc/sys/vm/zone_reclaim_mode",
	"sys/block/*/queue/scheduler", "sys/block/*/queue/rotational", "sys/block/*/queue/read_ahead_kb",
	"sys/class/net/*/device/uevent", "sys/class/net/*/queues/rx-*/rps_cpus", "sys/class/net/*/statistics/rx_*_errors",
	"sys/devices/system/clocksource/clocksource0/*_clocksource",
	"sys/devices/system/cpu/online", "sys/devices/system/cpu/cpu*/cpufreq/scaling_*governor*",
	"sys/devices/system/node/node*/cpulist",
	"sys/kernel/mm/transparent_hugepage/enabled", "sys/kernel/mm/transparent_hugepage/defrag",
}

// textBytesMax bounds what is read of one file; all of these are far shorter.
const textBytesMax = 1 << 20

// Read takes a snapshot. Settings that cannot be read are left out; a process or directory that cannot is an error.
func Read(o Options) (Snapshot, error) {
	s := Snapshot{Files: map[string]string{}}
	for _, pattern := range wanted {
		files, err := filepath.Glob(filepath.Join(o.Root, pattern))
		if err != nil {
			return s, err
		}
		for _, file := range files {
			name, err := filepath.Rel(o.Root, file)
			if err != nil {
				return s, err
			}
			if text, err := readText(file); err == nil {
				s.Files[name] = text
			}
		}
	}
	for _, name := range []string{"limits", "mountinfo"} {
		text, err := readText(filepath.Join(o.Root, o.process(), name))
		if errors.Is(err, fs.ErrNotExist) && o.PID > 0 {
			return s, fmt.Errorf("no process %d is there", o.PID)
		}
		if err != nil {
			return s, err
		}
		s.Files["proc/self/"+name] = text
	}
	mounts := parseMounts(s.Files["proc/self/mountinfo"])
	for _, name := range o.Dirs {
		dir, err := locate(o.Root, name, mounts)
		if err != nil {
			return s, err
		}
		s.Dirs = append(s.Dirs, dir)
	}
	return s, nil
}

// readText reads a small file.
func readText(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, textBytesMax))
	return strings.TrimSpace(string(text)), errors.Join(err, f.Close())
}

// mount is one line of mountinfo; see proc_pid_mountinfo(5).
type mount struct {
	device  string // major:minor
	point   string
	kind    string
	options []string
}

// parseMounts reads mountinfo: id, parent, device, root, mount point, options, optional fields, a dash, type, source,
// options of the file system. Lines of another form are left out.
func parseMounts(text string) []mount {
	var mounts []mount
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+4 {
			continue
		}
		options := strings.Split(fields[5]+","+fields[dash+3], ",")
		slices.Sort(options)
		mounts = append(mounts, mount{
			device:  fields[2],
			point:   unescapeOctal(fields[4]),
			kind:    fields[dash+1],
			options: slices.Compact(options),
		})
	}
	return mounts
}

// unescapeOctal undoes the kernel's way with blanks in paths: \040 is a space.
func unescapeOctal(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}

// locate finds the file system of a directory. One that is not there yet will lie where the nearest one above it does.
func locate(root, name string, mounts []mount) (Dir, error) {
	dir, err := filepath.Abs(name)
	if err != nil {
		return Dir{}, err
	}
	base, err := filepath.EvalSymlinks(root)
	if err != nil {
		return Dir{}, err
	}
	for {
		real, err := filepath.EvalSymlinks(filepath.Join(root, dir))
		if err == nil {
			dir = "/" + strings.TrimPrefix(strings.TrimPrefix(real, base), "/")
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return Dir{}, fmt.Errorf("%s: %w", name, err)
		}
		dir = filepath.Dir(dir)
	}
	best := -1
	for i, m := range mounts { // of two at one point the later one hides the other
		if within(dir, m.point) && (best < 0 || len(m.point) >= len(mounts[best].point)) {
			best = i
		}
	}
	if best < 0 {
		return Dir{}, fmt.Errorf("%s: no mount point is known for it", name)
	}
	m := mounts[best]
	return Dir{Name: name, Mount: m.point, Type: m.kind, Options: m.options, Devices: disksOf(root, m.device)}, nil
}

// within reports whether a path is a mount point or below it.
func within(path, point string) bool {
	return point == "/" || path == point || strings.HasPrefix(path, point+"/")
}

// layersMax bounds how many devices lie on each other: a partition of a RAID under encryption under LVM is four.
const layersMax = 8

// disksOf finds the disks below a device by its number: a partition belongs to a disk, and a device that is made of
// others names them as its slaves.
func disksOf(root, number string) []string {
	folder, err := filepath.EvalSymlinks(filepath.Join(root, "sys/dev/block", number))
	if err != nil {
		return nil // a file system without a disk
	}
	return slices.Compact(slices.Sorted(slices.Values(disksBelow(folder, layersMax))))
}

// disksBelow finds the disks below a device by its folder in /sys.
func disksBelow(folder string, layers int) []string {
	if _, err := os.Stat(filepath.Join(folder, "partition")); err == nil {
		folder = filepath.Dir(folder)
	}
	slaves, err := os.ReadDir(filepath.Join(folder, "slaves"))
	if err != nil || len(slaves) == 0 || layers == 0 {
		return []string{filepath.Base(folder)}
	}
	var disks []string
	for _, slave := range slaves {
		if below, err := filepath.EvalSymlinks(filepath.Join(folder, "slaves", slave.Name())); err == nil {
			disks = append(disks, disksBelow(below, layers-1)...)
		}
	}
	return disks
}
