package bench

import (
	"os"
	"runtime/debug"
	"testing"
	"time"
)

// Goal: the figures are those of the process asked for. Method: this process works until its own count has moved by
// many ticks, and touches memory that must then show.
func TestUsageOfThisProcess(t *testing.T) {
	debug.FreeOSMemory() // of the tests before: it would be given back meanwhile
	before, err := UsageOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const bytes = 64 << 20
	block := make([]byte, bytes)
	for n := byte(1); ; n++ {
		for i := range block {
			block[i] += n
		}
		after, err := UsageOf(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after.User+after.System >= before.User+before.System+10*tick {
			if grown := after.AnonymousBytes - before.AnonymousBytes; grown < bytes/2 {
				t.Errorf("anonymous memory grew by %d bytes, not about %d", grown, bytes)
			}
			break
		}
	}
	if _, err := UsageOf(1 << 30); err == nil {
		t.Error("a process that cannot exist has a usage")
	}
}

func TestSampleFigures(t *testing.T) {
	s := Sample{
		Records: 1000, Bytes: 2e9, Elapsed: 4 * time.Second, User: time.Second, System: 2 * time.Second,
	}
	got := [...]float64{s.CPUSecondsPerGB(), s.CPUMicrosPerRecord(), s.MBPerSecond()}
	if got != [...]float64{1.5, 3000, 500} {
		t.Errorf("CPU-s/GB, CPU µs a record, MB/s: %v", got)
	}
}
