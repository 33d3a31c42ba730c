package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	User, System   time.Duration // processor time
	AnonymousBytes int64         // resident memory that is not page cache (RssAnon)
	Descriptors    int           // open now
	Mappings       int           // of files and memory
}

// The kernel counts processor time in ticks of 10 ms on every Linux that Go runs on (USER_HZ).
const tick = 10 * time.Millisecond

// UsageOf reads /proc/PID/stat, status, fd and maps; see proc(5).
func UsageOf(pid int) (Usage, error) {
	u, err := SpentBy(pid)
	if err != nil {
		return u, err
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return u, err
	}
	u.Descriptors = len(open)
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	u.Mappings = bytes.Count(maps, []byte("\n"))
	return u, err
}

// SpentBy is the processor time and the memory of a process: what is quick to read, also of one with many mappings.
func SpentBy(pid int) (Usage, error) {
	var u Usage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The command name in parentheses may hold blanks; field 3 begins after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(string(fields[11]), 10, 64)
	if err != nil {
		return u, err
	}
	system, err := strconv.ParseInt(string(fields[12]), 10, 64)
	if err != nil {
		return u, err
	}
	u.User, u.System = time.Duration(user)*tick, time.Duration(system)*tick
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, rest, found := bytes.Cut(status, []byte("RssAnon:"))
	words := bytes.Fields(rest)
	if !found || len(words) == 0 {
		return u, fmt.Errorf("/proc/%d/status has no RssAnon", pid)
	}
	kib, err := strconv.ParseInt(string(words[0]), 10, 64)
	if err != nil {
		return u, err
	}
	u.AnonymousBytes = kib << 10
	return u, nil
}
