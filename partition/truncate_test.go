package partition

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

// TestTruncateTo: records, epochs, producers and offsets go back together, and what was cut does not come back.
func TestTruncateTo(t *testing.T) {
	for _, segmentBytes := range []int64{300, 1000, 1 << 20} {
		for _, to := range []kafka.Offset{0, 1, 10, 11, 29, 30} {
			t.Run(fmt.Sprintf("%d byte segments to offset %d", segmentBytes, to), func(t *testing.T) {
				w := newWorld()
				c := smallConfig()
				c.SegmentBytes = segmentBytes
				l := w.openLog(t, c)
				for i := range 30 {
					l.AssignEpoch(kafka.LeaderEpoch(i / 10))
					b := batchSpec{pid: 1, sequence: kafka.Sequence(i), ts: w.now(), value: make([]byte, 100)}.build(t)
					o := AppendOptions{Now: w.now(), ProduceVersion: 9, LeaderEpoch: kafka.LeaderEpoch(i / 10)}
					_, err := l.Append(b, o)
					if err != nil {
						t.Fatal(err)
					}
					if i == 25 {
						l.AdvanceHighWatermark(20)
						if err := l.Flush(); err != nil {
							t.Fatal(err)
						}
						l.Dir().Poll(w.clock.Now())
						if err := l.Dir().checkpointAll(); err != nil {
							t.Fatal(err)
						}
					}
				}
				before := readAll(t, l, 30, 1<<20)
				held, err := l.Read(to, 1<<20, true, 30)
				if err != nil {
					t.Fatal(err)
				}
				heldBytes := string(held.Bytes())
				if err := l.TruncateTo(to); err != nil {
					t.Fatal(err)
				}
				if string(held.Bytes()) != heldBytes {
					t.Error("what a reader held has changed")
				}
				held.Release()
				check := func(when string) {
					t.Helper()
					if l.LogEndOffset() != to || l.HighWatermark() != min(to, 20) || l.FlushedOffset() > to {
						t.Errorf("%s: end %d, high watermark %d, flushed %d",
							when, l.LogEndOffset(), l.HighWatermark(), l.FlushedOffset())
					}
					if diff := cmp.Diff(before[:to], readAll(t, l, 30, 1<<20), cmpSeen); diff != "" {
						t.Errorf("%s: %s", when, diff)
					}
					want := kafka.LeaderEpoch((to - 1) / 10)
					if to == 0 {
						want = kafka.NoLeaderEpoch
					}
					if l.LatestEpoch() != want {
						t.Errorf("%s: epoch %d, want %d", when, l.LatestEpoch(), want)
					}
				}
				check("at once")
				if segmentBytes == 300 { // the recovery point on the disk must have gone back as well
					l = w.crash(t, l)
					check("after a crash")
				}
				for i := range 5 { // the producer goes on from where the log is now
					sequence := kafka.Sequence(int(to) + i)
					b := batchSpec{pid: 1, sequence: sequence, ts: w.now(), value: make([]byte, 90)}.build(t)
					a, err := l.Append(b, AppendOptions{Now: w.now(), ProduceVersion: 9, LeaderEpoch: 7})
					if err != nil || a.Duplicate || a.BaseOffset != to+kafka.Offset(i) {
						t.Fatalf("%+v, %v", a, err)
					}
				}
				want := readAll(t, l, 40, 1<<20)
				l = w.restart(t, l)
				if diff := cmp.Diff(want, readAll(t, l, 40, 1<<20), cmpSeen); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestTruncateTransactions: a transaction whose marker is cut off is open again.
func TestTruncateTransactions(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 200
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{pid: 1, transactional: true, count: 3})
	w.mustCoordinator(t, l, batchSpec{pid: 1, sequence: -1, marker: &marker{commit: false}, ts: w.now()})
	w.mustClient(t, l, batchSpec{count: 3})
	l.AdvanceHighWatermark(7)
	if aborted, err := l.AbortedTransactions(nil, 0, 7); err != nil || len(aborted) != 1 || l.LastStableOffset() != 7 {
		t.Errorf("aborted %v, %v, last stable offset %d", aborted, err, l.LastStableOffset())
	}
	if err := l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	if aborted, err := l.AbortedTransactions(nil, 0, 7); err != nil || len(aborted) != 0 || l.LastStableOffset() != 0 {
		t.Errorf("aborted %v, %v, last stable offset %d", aborted, err, l.LastStableOffset())
	}
}

// TestTruncateNothing: an end at or past the log's is no truncation.
func TestTruncateNothing(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 3})
	for _, to := range []kafka.Offset{3, 4, 99} {
		if err := l.TruncateTo(to); err != nil {
			t.Fatal(err)
		}
	}
	if l.LogEndOffset() != 3 || l.Dir().Stats().Truncations.Load() != 0 {
		t.Errorf("log end offset %d, %d truncations", l.LogEndOffset(), l.Dir().Stats().Truncations.Load())
	}
}

// TestTruncateInsideBatch: the batch that the offset is in goes as a whole.
func TestTruncateInsideBatch(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 3}, batchSpec{count: 3})
	if err := l.TruncateTo(5); err != nil {
		t.Fatal(err)
	}
	wantOffsets(t, l, 0, 0, 0, 3)
	if a := w.mustClient(t, l, batchSpec{}); a.BaseOffset != 3 {
		t.Errorf("%+v", a)
	}
}

// TestTruncateFully: a follower whose leader's log begins elsewhere starts over.
func TestTruncateFully(t *testing.T) {
	for _, to := range []kafka.Offset{0, 2, 500} {
		w := newWorld()
		c := smallConfig()
		c.SegmentBytes = 300
		l := w.openLog(t, c)
		w.mustClient(t, l, batchSpec{count: 3, pid: 1}, batchSpec{count: 3, value: make([]byte, 50)},
			batchSpec{count: 4})
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := l.Dir().checkpointAll(); err != nil {
			t.Fatal(err)
		}
		if err := l.TruncateFullyAndStartAt(to); err != nil {
			t.Fatal(err)
		}
		wantOffsets(t, l, to, to, to, to)
		if len(l.Producers()) != 0 || l.LatestEpoch() != kafka.NoLeaderEpoch || l.Segments() != 1 {
			t.Errorf("producers %v, epoch %d, %d segments", l.Producers(), l.LatestEpoch(), l.Segments())
		}
		l = w.crash(t, l)
		wantOffsets(t, l, to, to, to, to)
		b := batchSpec{pid: kafka.NoProducerID, base: to, leaderEpoch: 9, count: 5}.build(t)
		if _, err := l.Append(b, AppendOptions{Origin: OriginReplication}); err != nil {
			t.Fatal(err)
		}
		l = w.restart(t, l)
		wantOffsets(t, l, to, to+5, to, to+5)
	}
}

// TestTruncateBelowStart empties the log.
func TestTruncateBelowStart(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 9})
	l.AdvanceHighWatermark(9)
	if err := l.DeleteTo(5); err != nil {
		t.Fatal(err)
	}
	if err := l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	wantOffsets(t, l, 3, 3, 3, 3)
}
