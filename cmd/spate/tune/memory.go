package tune

import (
	"fmt"
	"slices"
	"strconv"
)

// The bounds of written data that waits in memory. An acknowledgement waits for a flush, and a flush for what the disk
// has to write before it: with a quarter of a GiB a disk of 500 MB/s is never more than half a second behind. Writers
// are slowed down from half way between the two bounds, so that the second is far above the first.
const (
	backgroundMax = 1 << 30
	backgroundFit = 256 << 20
	distanceMin   = 4
)

// mappingsFit gives a quarter, 65,536, to segments.
const mappingsFit = 262_144

// memory judges mappings, swap, dirty pages and huge pages.
func memory(s Snapshot) []Finding {
	swaps := s.memory("SwapTotal") > 0
	var found []Finding
	for _, c := range []sysctl{
		{key: "vm.max_map_count", want: atLeast(Change, mappingsFit),
			why: "Each segment in use is mapped, with its indexes; the broker gives them a quarter of this, and " +
				"answers KAFKA_STORAGE_ERROR where more are in use at one moment."},
		{key: "vm.swappiness",
			want: func(_ Snapshot, n int64) (Verdict, int64) {
				if !swaps || n <= 10 {
					return Right, 0
				}
				return Change, 1
			},
			note: func(Snapshot, int64) string {
				if swaps {
					return ""
				}
				return " (there is no swap)"
			},
			why: "Page cache can be read again from the disk. A broker whose own memory is swapped out for it " +
				"stands still while it comes back."},
	} {
		found = append(found, c.judge(s)...)
	}
	found = append(found, dirty(s)...)
	found = append(found, hugePages(s)...)
	for _, c := range []sysctl{
		{key: "vm.overcommit_memory",
			want: func(_ Snapshot, n int64) (Verdict, int64) {
				if n != 2 {
					return Right, 0
				}
				return Change, 0
			},
			why: "With 2 the kernel counts address space as memory: Go's runtime and mapped segments reserve far " +
				"more than they use, and are refused it."},
		{key: "vm.zone_reclaim_mode", want: exactly(Change, 0), rare: true,
			why: "Otherwise page cache is thrown away on one memory node while another has room, and reads go to " +
				"the disk."},
	} {
		found = append(found, c.judge(s)...)
	}
	return found
}

// bound is one of the two bounds of dirty memory, in the form that is in force: bytes where they are set, else a part
// of the memory.
type bound struct {
	key   string // of the form in force
	value int64
	bytes int64
}

// boundOf reads a bound; "vm.dirty_background" or "vm.dirty".
func boundOf(s Snapshot, name string) (bound, bool) {
	inBytes, inRatio := sysctl{key: name + "_bytes"}, sysctl{key: name + "_ratio"}
	if n, found := s.number(inBytes.file()); found && n > 0 {
		return bound{inBytes.key, n, n}, true
	}
	n, found := s.number(inRatio.file())
	// The kernel takes the part of what is free or cache; all of the memory is the most that this can be.
	return bound{inRatio.key, n, s.MemoryBytes() / 100 * n}, found
}

// text shows a bound.
func (b bound) text() string {
	return fmt.Sprintf("%s = %d (up to %d MiB)", b.key, b.value, b.bytes>>20)
}

// dirty judges when written data goes to the disk.
func dirty(s Snapshot) []Finding {
	background, known := boundOf(s, "vm.dirty_background")
	limit, limitKnown := boundOf(s, "vm.dirty")
	early := Finding{Key: "vm.dirty_background_bytes", Verdict: Right, Found: background.text(),
		Why: "So much written data may wait in memory before the kernel begins to write it. The flush that an " +
			"acknowledgement waits for stands behind what is left: much of it makes rare, long waits."}
	late := Finding{Key: "vm.dirty_bytes", Verdict: Right, Found: limit.text(),
		Why: "At this much, whoever writes is made to wait, and is slowed down from half way between the two " +
			"bounds on: it has to lie far above the first."}
	if !known || !limitKnown {
		early.Verdict, early.Found = Unknown, "cannot be read"
		late.Verdict, late.Found = Unknown, "cannot be read"
		return []Finding{early, late}
	}
	bytes := background.bytes
	if bytes > backgroundMax {
		early.Verdict, bytes = Consider, backgroundFit
		early.setBound(background, bytes)
	}
	if limit.bytes < distanceMin*bytes {
		late.Verdict = Change
		late.setBound(limit, 2*distanceMin*bytes)
	}
	return []Finding{early, late}
}

// setBound says that a bound is to be so many bytes. The kernel then zeroes its other form: what takes it back is the
// form that was in force.
func (f *Finding) setBound(was bound, bytes int64) {
	f.set(f.Key, "0", strconv.FormatInt(bytes, 10))
	f.Undo = []Write{{sysctl{key: was.key}.file(), strconv.FormatInt(was.value, 10)}}
}

// hugePages judges transparent huge pages.
func hugePages(s Snapshot) []Finding {
	const folder = "sys/kernel/mm/transparent_hugepage/"
	enabled, found := s.Files[folder+"enabled"]
	if !found {
		return nil // a kernel without
	}
	f := Finding{Key: "thp.enabled", Verdict: Right, Found: chosen(enabled),
		Why: "With always the kernel makes huge pages of memory that Go has given back in part: the process grows, " +
			"and stands still while pages are gathered. With madvise it does so where a program asks."}
	if f.Found == "always" {
		f.Verdict = Change
		f.change(s, "madvise", folder+"enabled")
	}
	d := Finding{Key: "thp.defrag", Verdict: Right, Found: chosen(s.Files[folder+"defrag"]),
		Why: "With always a page fault waits until memory has been moved together for a huge page."}
	if d.Found == "always" {
		d.Verdict = Change
		d.change(s, "madvise", folder+"defrag")
	}
	return slices.DeleteFunc([]Finding{f, d}, func(f Finding) bool { return f.Found == "" })
}
