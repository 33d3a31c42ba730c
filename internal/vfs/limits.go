package vfs

import (
	"bytes"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// The limits where the machine does not tell them: those of a Linux that nobody has changed.
const (
	defaultDescriptors = 1024
	defaultMappings    = 65530
)

// OpenMax is how many descriptors and how many mappings this process may have: RLIMIT_NOFILE, which the Go runtime has
// raised to the hard limit, and vm.max_map_count.
func OpenMax() (descriptors, mappings int) {
	descriptors, mappings = defaultDescriptors, defaultMappings
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) == nil {
		descriptors = int(min(r.Cur, math.MaxInt32))
	}
	if text, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if n, err := strconv.Atoi(string(bytes.TrimSpace(text))); err == nil {
			mappings = n
		}
	}
	return descriptors, mappings
}
