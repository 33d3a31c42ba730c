package tune

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is what a machine says about itself.
type Snapshot struct {
	// Files are the texts of files below /proc and /sys, without the blanks around them, by path without the first
	// slash. Those of the process whose limits and mounts count are below proc/self, whatever its number is.
	Files map[string]string
	Dirs  []Dir // the log directories that were named
}

// Dir is a log directory and where it lies.
type Dir struct {
	Name    string
	Mount   string   // the mount point
	Type    string   // of the file system
	Options []string // of the mount and of the file system
	Devices []string // the disks below it, such as nvme0n1; none where the file system has no disk
}

// number is what a file holds as a number.
func (s Snapshot) number(file string) (int64, bool) {
	n, err := strconv.ParseInt(s.Files[file], 10, 64)
	return n, err == nil
}

// matching are the files whose path fits a pattern, sorted.
func (s Snapshot) matching(pattern string) []string {
	return slices.Collect(func(yield func(string) bool) {
		for _, file := range slices.Sorted(maps.Keys(s.Files)) {
			if fits, _ := path.Match(pattern, file); fits && !yield(file) {
				return
			}
		}
	})
}

// Kernel is the version of the kernel.
func (s Snapshot) Kernel() string { return s.Files["proc/sys/kernel/osrelease"] }

// CPUs is how many processors are in use: the kernel lists them as ranges such as 0-3,8.
func (s Snapshot) CPUs() int { return countRanges(s.Files["sys/devices/system/cpu/online"]) }

// MemoryBytes is the memory of the machine.
func (s Snapshot) MemoryBytes() int64 { return s.memory("MemTotal") }

// memory is a line of /proc/meminfo.
func (s Snapshot) memory(name string) int64 {
	for line := range strings.Lines(s.Files["proc/meminfo"]) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == name+":" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// countRanges counts the members of a list such as 0-3,8.
func countRanges(list string) int {
	n := 0
	for part := range strings.SplitSeq(list, ",") {
		first, last, several := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		to := from
		if several {
			to, _ = strconv.Atoi(last)
		}
		n += max(0, to-from+1)
	}
	return n
}

// chosen is the word in brackets of a list such as "always [madvise] never".
func chosen(list string) string {
	_, rest, _ := strings.Cut(list, "[")
	word, _, found := strings.Cut(rest, "]")
	if !found {
		return list
	}
	return word
}

// offers reports whether a list such as "none [mq-deadline] bfq" has a word.
func offers(list, word string) bool {
	return slices.Contains(strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(list)), word)
}

// maskOf is the mask of the first n processors as the kernel writes it: 32 bits in hexadecimal, separated by commas.
func maskOf(n int) string {
	mask := strings.Repeat(",ffffffff", n/32)
	if rest := n % 32; rest > 0 {
		mask = "," + strconv.FormatUint(1<<rest-1, 16) + mask
	}
	return strings.TrimPrefix(mask, ",")
}
