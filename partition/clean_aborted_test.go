package partition

import (
	"slices"
	"testing"
	"time"
)

// Goal: a reader who has a segment that retention takes meanwhile is not told of transactions that were aborted in an
// earlier segment of its name: without their markers it would leave out what was committed after them.
// Method: cleanings replace the segment until nothing is left of the transaction; the files of what they replaced are
// there yet when retention gives the last one the same names.
func TestAbortedOfADeletedSegmentIsNotThatOfAnEarlierOne(t *testing.T) {
	m := newCleanModel(t, newWorld(), 1)
	c := cleanConfig()
	c.FileDeleteDelay, c.DeleteRetention = time.Hour, 0
	m.openLog(c)
	m.write(10, true, "a", "aborted")
	m.end(10, false)
	m.write(10, true, "b", "committed")
	m.end(10, true)
	for range 4 {
		m.roll()
		m.settle()
		m.w.clock.Advance(time.Minute)
		m.clean()
	}
	held := *m.l.segments.Load()
	next := held[1].BaseOffset()
	r, err := readFrom(held, 0, 1<<20, true, next) // a reader has come so far
	if err != nil || r.Length == 0 || m.err != nil {
		t.Fatal(r.Length, err, m.err)
	}
	defer r.Release()
	if err := m.l.DeleteTo(next); err != nil {
		t.Fatal(err)
	}
	m.l.Dir().retain(m.w.clock.Now())
	found, err := m.l.abortedIn(held, nil, 0, r.NextOffset)
	if err != nil || len(found) > 0 {
		t.Errorf("%v, %v: nothing that the segment has was aborted", found, err)
	}
}

// Goal: a log moves to another directory although compaction has left no more than the marker of an aborted
// transaction, and what is known to be aborted moves with it.
func TestCompactedLogMoves(t *testing.T) {
	m := newCleanModel(t, newWorld(), 1)
	m.openLog(cleanConfig())
	m.write(10, true, "a", "aborted")
	m.end(10, false)
	m.write(10, true, "b", "committed") // of the last batch of a producer the header would stay
	m.end(10, true)
	m.roll()
	m.settle()
	m.clean()
	before, err := m.l.AbortedTransactions(nil, 0, m.l.LogEndOffset())
	if err != nil || len(before) != 1 || m.err != nil {
		t.Fatal(before, err, m.err)
	}
	d, err := OpenLogDir(m.w.env(), "/other", testOptions())
	if err != nil {
		t.Fatal(err)
	}
	next := mustMove(t, m.l, d, nil)
	if after, err := next.AbortedTransactions(nil, 0, next.LogEndOffset()); err != nil || !slices.Equal(before, after) {
		t.Errorf("aborted is %v (%v), %v before the move", after, err, before)
	}
	if err := m.verify(next); err != nil {
		t.Error(err)
	}
}
