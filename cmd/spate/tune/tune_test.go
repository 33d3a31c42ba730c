package tune

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestJudge looks at single settings; the screens of cmd/spate show whole machines.
func TestJudge(t *testing.T) {
	const clocks = "sys/devices/system/clocksource/clocksource0/"
	const governor = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
	memory := "MemTotal: 1048576 kB\nSwapTotal: 1 kB"
	for _, c := range []struct {
		name  string
		files map[string]string
		dir   Dir
		key   string
		want  string // verdict: found -> wanted | by hand
	}{
		{name: "a limit that is not there", key: "limit.nofile", want: "unknown: cannot be read"},
		{name: "no limit", files: map[string]string{"proc/self/limits": "Max open files  1024  unlimited  files"},
			key: "limit.nofile", want: "right: unlimited"},
		{name: "a setting that is not there", key: "vm.swappiness", want: "unknown: cannot be read"},
		{name: "a little swapping", files: map[string]string{"proc/meminfo": memory, "proc/sys/vm/swappiness": "10"},
			key: "vm.swappiness", want: "right: 10"},
		{name: "much swapping", files: map[string]string{"proc/meminfo": memory, "proc/sys/vm/swappiness": "11"},
			key: "vm.swappiness", want: "change: 11 -> 1"},
		{name: "bounds of dirty memory that are near each other",
			files: map[string]string{"proc/meminfo": memory, "proc/sys/vm/dirty_background_bytes": "1048576",
				"proc/sys/vm/dirty_bytes": "2097152"},
			key: "vm.dirty_bytes", want: "change: vm.dirty_bytes = 2097152 (up to 2 MiB) -> 8388608"},
		{name: "bounds as parts of a small memory",
			files: map[string]string{"proc/meminfo": memory, "proc/sys/vm/dirty_background_ratio": "10",
				"proc/sys/vm/dirty_ratio": "40"},
			key: "vm.dirty_background_bytes", want: "right: vm.dirty_background_ratio = 10 (up to 102 MiB)"},
		{name: "a governor that the processor does not offer",
			files: map[string]string{governor: "schedutil",
				strings.Replace(governor, "_governor", "_available_governors", 1): "schedutil"},
			key: "cpu.governor",
			want: "change: schedutil -> performance | choose the performance profile in the firmware: the kernel " +
				"offers schedutil"},
		{name: "a kernel that gave the good clocks up",
			files: map[string]string{clocks + "current_clocksource": "hpet",
				clocks + "available_clocksource": "hpet acpi_pm"},
			key: "clock.source",
			want: "change: hpet -> tsc | the kernel offers only hpet acpi_pm: see in its log (dmesg) why tsc was " +
				"given up, which the firmware or the host of a virtual machine often mends"},
		{name: "one memory node", files: map[string]string{"proc/sys/kernel/numa_balancing": "1",
			"sys/devices/system/node/node0/cpulist": "0-3"}, key: "kernel.numa_balancing", want: "right: 1"},
		{name: "a file system in a program", dir: Dir{Name: "/d", Mount: "/d", Type: "fuse.gcsfuse"},
			key:  "filesystem./d",
			want: "change: fuse.gcsfuse -> xfs or ext4 | move /d to a disk of its own with xfs or ext4"},
		{name: "a file system that was not tested", dir: Dir{Name: "/d", Mount: "/d", Type: "f2fs"},
			key:  "filesystem./d",
			want: "consider: f2fs -> xfs or ext4 | move /d to a disk of its own with xfs or ext4"},
		{name: "flushes that do not reach the disk",
			dir: Dir{Name: "/d", Mount: "/d", Type: "ext4", Options: []string{"discard", "nobarrier", "rw"}},
			key: "mount./d", want: "change: nobarrier -> barrier | mount -o remount,barrier /d, and the same in " +
				"/etc/fstab"},
		{name: "a disk whose scheduler is not loaded",
			dir: Dir{Name: "/d", Mount: "/d", Type: "ext4", Devices: []string{"sda"}},
			files: map[string]string{"sys/block/sda/queue/scheduler": "[bfq] kyber",
				"sys/block/sda/queue/rotational": "1"},
			key: "disk.sda.scheduler", want: "change: bfq -> mq-deadline | load it first: modprobe mq-deadline"},
		{name: "a queue that drops nothing", files: map[string]string{"proc/sys/net/core/netdev_max_backlog": "100",
			"proc/net/softnet_stat": "ff 0 1"}, key: "net.core.netdev_max_backlog",
			want: "right: 100 (0 packets dropped since the start)"},
		{name: "a card with several queues", key: "net.eth1.queues", want: "right: 2 for 2 CPUs",
			files: map[string]string{"sys/class/net/eth1/device/uevent": "", "sys/devices/system/cpu/online": "0-1",
				"sys/class/net/eth1/queues/rx-0/rps_cpus": "0", "sys/class/net/eth1/queues/rx-1/rps_cpus": "0"}},
		{name: "no directory", key: "mount", want: "unknown: no log directory was named"},
	} {
		s := Snapshot{Files: c.files}
		if c.dir.Name != "" {
			s.Dirs = []Dir{c.dir}
		}
		f, found := find(Judge(s), c.key)
		got := fmt.Sprintf("%s: %s", f.Verdict, f.Found)
		if f.Wanted != "" {
			got += " -> " + f.Wanted
		}
		if f.ByHand != "" {
			got += " | " + f.ByHand
		}
		if !found || got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
		if f.Why == "" || (f.Wanted != "" && len(f.Writes) == 0 && f.ByHand == "") || len(f.Writes) != len(f.Undo) {
			t.Errorf("%s: a reason, a way there or a way back is missing: %+v", c.name, f)
		}
	}
}

// TestMasks: masks of processors as the kernel writes them.
func TestMasks(t *testing.T) {
	for n, want := range map[int]string{1: "1", 4: "f", 32: "ffffffff", 33: "1,ffffffff",
		96: "ffffffff,ffffffff,ffffffff"} {
		if got := maskOf(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
	for list, want := range map[string]int{"": 0, "0": 1, "0-3": 4, "0-1,4-5,9": 5, "x": 0, "3-1": 0} {
		if got := countRanges(list); got != want {
			t.Errorf("%q: got %d, want %d", list, got, want)
		}
	}
}

// FuzzMounts: whatever the kernel's list of mounts says, it is read without harm.
func FuzzMounts(f *testing.F) {
	f.Add(`22 1 8:1 / /my\040logs rw,relatime shared:1 - ext4 /dev/sda1 rw,discard`)
	f.Add("a b c d e f - g h i\n- - - - - - -")
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMounts(text) {
			if m.point == "" || len(m.options) == 0 {
				t.Errorf("%+v of %q", m, text)
			}
		}
	})
}

// TestApply: a value that the kernel does not take is told, and what was written before it is taken back.
func TestApply(t *testing.T) {
	root := t.TempDir()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	if err := os.WriteFile(filepath.Join(root, "a"), []byte("old\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := Finding{Key: "k", Writes: []Write{{"a", "new"}, {"missing", "new"}},
		Undo: []Write{{"a", "old"}, {"missing", "old"}}}
	if err := Apply(root, f); !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "k: ") {
		t.Errorf("got %v", err)
	}
	if got := read("a"); got != "old" {
		t.Errorf("a holds %q after a change that failed", got)
	}
	f.Writes = f.Writes[:1]
	if err := Apply(root, f); err != nil || read("a") != "new" {
		t.Errorf("%v, and a holds %q", err, read("a"))
	}
	if err := os.Symlink("/dev/null", filepath.Join(root, "deaf")); err != nil {
		t.Fatal(err)
	}
	if err := put(root, Write{"deaf", "1"}); err == nil || err.Error() != `the kernel made "" of it` {
		t.Errorf("got %v", err)
	}
}

// TestCommands are the lines that take changes back.
func TestCommands(t *testing.T) {
	got := []string{
		Write{"proc/sys/vm/swappiness", "60"}.Command("/"),
		Write{"proc/sys/net/ipv4/tcp_rmem", "1 2 3"}.Command("/"),
		Write{"sys/block/sda/queue/scheduler", "bfq"}.Command("/"),
		Write{"proc/sys/vm/swappiness", "60"}.Command("/host"),
	}
	want := []string{"sysctl -w vm.swappiness=60", "sysctl -w net.ipv4.tcp_rmem='1 2 3'",
		"echo bfq > /sys/block/sda/queue/scheduler", "echo 60 > /host/proc/sys/vm/swappiness"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}
