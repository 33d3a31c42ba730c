package partition

import (
	"sync/atomic"
	"time"

	"spate/kafka"
)

// freshFor is how long at least what was appended counts as being in memory: the kernel does not give up pages that
// were written a moment ago before all others. So a reader at the end of a log is served without the system calls that
// ask what is in memory, which took a twentieth of a broker's processor time at 10,000 records a second.
const freshFor = time.Second

// fresh is the part of a log that was appended a moment ago.
type fresh struct {
	from  atomicOffset // of the first record that was appended in the last window or in this one
	until atomic.Int64 // in Unix nanoseconds: when nothing is fresh any more, unless more is appended

	// Below, under the append lock: when and where this window began.

	began int64
	mark  kafka.Offset
}

// note lets f follow an append at base. The append lock is held.
func (f *fresh) note(base kafka.Offset, now time.Time) {
	at := now.UnixNano()
	age := time.Duration(at - f.began)
	if f.began != 0 && age >= 0 && age < freshFor {
		return
	}
	from := base
	if f.began != 0 && age >= 0 && age < 2*freshFor {
		from = f.mark
	}
	f.began, f.mark = at, base
	// A reader that sees one of the two may take at worst the last window's for fresh, whose end is near.
	f.from.store(from)
	f.until.Store(at + int64(2*freshFor))
}

// has reports whether all from offset on is fresh.
func (f *fresh) has(offset kafka.Offset, now time.Time) bool {
	return now.UnixNano() < f.until.Load() && offset >= f.from.load()
}
