package tune

import (
	"fmt"
	"slices"
	"strings"
)

// processor judges frequency, clock and scheduling.
func processor(s Snapshot) []Finding {
	found := slices.Concat(governor(s), clock(s))
	for _, c := range []sysctl{
		{key: "kernel.numa_balancing", rare: true,
			want: func(s Snapshot, n int64) (Verdict, int64) {
				if n == 0 || len(s.matching("sys/devices/system/node/node*/cpulist")) < 2 {
					return Right, 0
				}
				return Consider, 0
			},
			why: "With several memory nodes the kernel takes pages away to see who uses them: each costs a fault, " +
				"and page cache gains little from being moved."},
		{key: "kernel.sched_autogroup_enabled", rare: true, want: exactly(Consider, 0),
			why: "A broker that was started in a terminal shares the processors by sessions, not by processes: one " +
				"busy shell beside it counts as much as the broker. As a service it makes no difference."},
	} {
		found = append(found, c.judge(s)...)
	}
	return found
}

// governor judges how the frequency of the processors is chosen.
func governor(s Snapshot) []Finding {
	files := s.matching("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor")
	f := Finding{Key: "cpu.governor", Verdict: Right, Found: "not there (the host of a virtual machine decides)",
		Why: "A broker works in short bursts. Other governors let the frequency fall between them, and each burst " +
			"begins slowly: latency suffers first."}
	if len(files) == 0 {
		return []Finding{f}
	}
	var names, slow []string
	for _, file := range files {
		name := s.Files[file]
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		if name != "performance" {
			slow = append(slow, file)
		}
	}
	f.Found = strings.Join(names, ", ")
	if len(slow) == 0 {
		return []Finding{f}
	}
	f.Verdict, f.Wanted = Change, "performance"
	offered, told := s.Files[strings.Replace(slow[0], "scaling_governor", "scaling_available_governors", 1)]
	if told && !offers(offered, "performance") {
		f.ByHand = "choose the performance profile in the firmware: the kernel offers " + offered
		return []Finding{f}
	}
	f.change(s, "performance", slow...)
	return []Finding{f}
}

// clocks are the sources that a program reads without a system call, the best first.
var clocks = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"}

// clock judges where the time comes from.
func clock(s Snapshot) []Finding {
	const folder = "sys/devices/system/clocksource/clocksource0/"
	const file = folder + "current_clocksource"
	f := Finding{Key: "clock.source", Verdict: Right, Found: s.Files[file],
		Why: "The broker reads the clock several times a request. From most sources that takes 30 ns; hpet, " +
			"acpi_pm and xen take a system call or a slow device each time."}
	switch available := s.Files[folder+"available_clocksource"]; {
	case f.Found == "":
		f.Verdict, f.Found = Unknown, "cannot be read"
	case slices.Contains(clocks, f.Found):
	default:
		f.Verdict = Change
		for _, name := range clocks {
			if offers(available, name) {
				f.change(s, name, file)
				f.Lasting = &Line{"the kernel's command line", "clocksource=" + name}
				return []Finding{f}
			}
		}
		f.Wanted = clocks[0]
		f.ByHand = fmt.Sprintf("the kernel offers only %s: see in its log (dmesg) why tsc was given up, which the "+
			"firmware or the host of a virtual machine often mends", available)
	}
	return []Finding{f}
}
