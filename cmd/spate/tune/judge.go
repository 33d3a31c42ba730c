package tune

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Verdict is what a setting is found to be.
type Verdict string

// The verdicts, the gravest first.
const (
	Change   Verdict = "change"   // it costs speed or safety as it is
	Consider Verdict = "consider" // a change may help, depending on what else the machine does
	Unknown  Verdict = "unknown"  // it could not be read
	Right    Verdict = "right"
)

var gravity = []Verdict{Change, Consider, Unknown, Right}

// Finding is one setting: what it is, what it should be, and how to get there and back.
type Finding struct {
	Key     string  `json:"key"` // what --apply calls it
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Wanted  string  `json:"wanted,omitempty"`
	Why     string  `json:"why"`
	Writes  []Write `json:"writes,omitempty"`  // what --apply does; none where a person has to
	Undo    []Write `json:"undo,omitempty"`    // what takes that back
	ByHand  string  `json:"byHand,omitempty"`  // what a person does where --apply cannot
	Lasting *Line   `json:"lasting,omitempty"` // what makes the change outlive a restart of the machine
}

// Write is a value that goes into a file of /proc or /sys.
type Write struct {
	File  string `json:"file"` // without the first slash
	Value string `json:"value"`
}

// Line is text for a file that is read when the machine starts.
type Line struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// The files for what is to last. Both are read in the order of their names, and late ones win.
const (
	sysctlFile   = "/etc/sysctl.d/90-spate.conf"
	tmpfilesFile = "/etc/tmpfiles.d/90-spate.conf"
)

// Judge says what is to be thought of a machine's settings: the gravest first, in the order of the subjects.
func Judge(s Snapshot) []Finding {
	found := slices.Concat(descriptors(s), memory(s), processor(s), storage(s), network(s))
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Compare(slices.Index(gravity, a.Verdict), slices.Index(gravity, b.Verdict))
	})
	return found
}

// sysctl is a rule about one number below /proc/sys.
type sysctl struct {
	key  string
	want func(s Snapshot, n int64) (Verdict, int64) // the number is looked at only where the verdict is not Right
	why  string
	note func(s Snapshot, n int64) string // what is said behind the number; nil: nothing
	rare bool                             // a kernel need not have it
}

// file is where the kernel keeps it.
func (c sysctl) file() string { return "proc/sys/" + strings.ReplaceAll(c.key, ".", "/") }

// judge applies the rule.
func (c sysctl) judge(s Snapshot) []Finding {
	n, found := s.number(c.file())
	switch {
	case !found && c.rare:
		return nil
	case !found:
		return []Finding{{Key: c.key, Verdict: Unknown, Found: "cannot be read", Why: c.why}}
	}
	f := Finding{Key: c.key, Found: strconv.FormatInt(n, 10), Why: c.why}
	if c.note != nil {
		f.Found += c.note(s, n)
	}
	var wanted int64
	if f.Verdict, wanted = c.want(s, n); f.Verdict != Right {
		f.set(c.key, strconv.FormatInt(n, 10), strconv.FormatInt(wanted, 10))
	}
	return []Finding{f}
}

// set says that a value below /proc/sys is to become another.
func (f *Finding) set(key, was, wanted string) {
	file := sysctl{key: key}.file()
	f.Wanted = wanted
	f.Writes, f.Undo = []Write{{file, wanted}}, []Write{{file, was}}
	f.Lasting = &Line{sysctlFile, key + " = " + wanted}
}

// change says that files below /sys are to hold a value instead of what they hold.
func (f *Finding) change(s Snapshot, value string, files ...string) {
	f.Wanted = value
	var lines []string
	for _, file := range files {
		f.Writes = append(f.Writes, Write{file, value})
		f.Undo = append(f.Undo, Write{file, chosen(s.Files[file])})
		lines = append(lines, fmt.Sprintf("w /%s - - - - %s", file, value))
	}
	f.Lasting = &Line{tmpfilesFile, strings.Join(lines, "\n")}
}

// atLeast wants a number of n or more.
func atLeast(verdict Verdict, n int64) func(Snapshot, int64) (Verdict, int64) {
	return func(_ Snapshot, found int64) (Verdict, int64) {
		if found >= n {
			return Right, 0
		}
		return verdict, n
	}
}

// exactly wants a number.
func exactly(verdict Verdict, n int64) func(Snapshot, int64) (Verdict, int64) {
	return func(_ Snapshot, found int64) (Verdict, int64) {
		if found == n {
			return Right, 0
		}
		return verdict, n
	}
}

// Descriptors: a connection takes one, and so does a segment in use, of which a broker with many partitions has several
// each. Half of the limit goes to segments.
const (
	descriptorsMin = 100_000
	descriptorsFit = 1_000_000
)

// descriptors judges how many files the broker may have open.
func descriptors(s Snapshot) []Finding {
	f := Finding{Key: "limit.nofile", Verdict: Unknown, Found: "cannot be read",
		Why: "Each connection and each segment in use takes a descriptor; when they run out, new connections are " +
			"refused. The hard limit counts: the broker raises its own limit to it."}
	for line := range strings.Lines(s.Files["proc/self/limits"]) {
		rest, found := strings.CutPrefix(line, "Max open files")
		fields := strings.Fields(rest)
		if !found || len(fields) < 2 {
			continue
		}
		f.Found, f.Verdict = fields[1], Right
		if hard, err := strconv.ParseInt(fields[1], 10, 64); err == nil && hard < descriptorsMin {
			f.Verdict, f.Wanted = Change, strconv.Itoa(descriptorsFit)
			f.ByHand = fmt.Sprintf("LimitNOFILE=%d in the broker's systemd unit, or \"* hard nofile %d\" in "+
				"/etc/security/limits.d/90-spate.conf, then start the broker anew", descriptorsFit, descriptorsFit)
		}
	}
	found := []Finding{f}
	for _, c := range []sysctl{
		{key: "fs.nr_open", want: atLeast(Change, descriptorsFit),
			why: "No process can be given more descriptors than this, whatever its own limit says."},
		{key: "fs.file-max", want: atLeast(Change, descriptorsFit),
			why: "All processes together can have no more files open than this."},
	} {
		found = append(found, c.judge(s)...)
	}
	return found
}
