package segment

import (
	"sync/atomic"
	"time"

	"spate/internal/clock"
)

const (
	warmTick = 250 * time.Millisecond
	// warmTicks is how long a part counts as warm: the kernel gives up pages first that were not used for long.
	warmTicks = 8
	// growTicks is how long it may grow, so that it is never all of the file.
	growTicks = 4

	warmPageBits = 20 // of a page's number, or one past it: a log has less than 2^31 bytes
	warmTimeBits = 64 - 2*warmPageBits
)

// warm is the part of a log file that is known to be in the page cache, since it was written or asked about a moment
// ago. Readers at the end of a log, and those who read on, need not ask the kernel: its answer takes up to five system
// calls for each partition of a fetch.
//
// It is one word: the first page, the one behind the last, and the tick in which the part began to grow. Of two who
// change it at once, one may be lost; then somebody asks.
type warm struct {
	clock clock.Clock // nil: nothing is ever warm
	word  atomic.Uint64
}

// has says whether the bytes from one position to another are warm.
func (w *warm) has(from, to int64) bool {
	if w.clock == nil {
		return false
	}
	first, behind, age := w.load(w.now())
	return age < warmTicks && first <= from/pageBytes && pagesTo(to) <= behind
}

// recent says whether any part is warm, so that the indexes were used a moment ago, too.
func (w *warm) recent() bool {
	if w.clock == nil {
		return false
	}
	first, behind, age := w.load(w.now())
	return age < warmTicks && first < behind
}

// note takes down that the bytes from one position to another are in memory now.
func (w *warm) note(from, to int64) {
	if w.clock == nil {
		return
	}
	now := w.now()
	first, behind, age := w.load(now)
	from, to = from/pageBytes, pagesTo(to)
	if age >= growTicks || from > behind || to < first {
		w.store(from, to, now)
	} else if from < first || to > behind {
		w.store(min(from, first), max(to, behind), now-age)
	}
}

// load gives the part in pages, and its age in ticks. One from the future is very old.
func (w *warm) load(now int64) (first, behind, age int64) {
	word := w.word.Load()
	const page = 1<<warmPageBits - 1
	age = (now - int64(word)) & (1<<warmTimeBits - 1)
	return int64(word >> (warmTimeBits + warmPageBits)), int64(word >> warmTimeBits & page), age
}

func (w *warm) store(first, behind, began int64) {
	w.word.Store(uint64(first)<<(warmTimeBits+warmPageBits) | uint64(behind)<<warmTimeBits |
		uint64(began)&(1<<warmTimeBits-1))
}

// now is the time in ticks.
func (w *warm) now() int64 { return w.clock.Now().UnixNano() / int64(warmTick) }

func pagesTo(position int64) int64 { return (position + pageBytes - 1) / pageBytes }
