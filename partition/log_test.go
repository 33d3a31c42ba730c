package partition

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// fileNames lists a folder without the numbers' zeros.
func fileNames(t testing.TB, w *world, folder string) []string {
	t.Helper()
	entries, err := w.fs.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := strings.TrimLeft(e.Name(), "0")
		if strings.HasPrefix(name, ".") && strings.HasPrefix(e.Name(), "0") {
			name = "0" + name
		}
		names = append(names, name)
	}
	return names
}

// TestNewLog: what a new log is and leaves on the disk.
func TestNewLog(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, DefaultConfig())
	wantOffsets(t, l, 0, 0, 0, 0)
	if l.TopicPartition() != testTP || l.TopicID() != testTopicID || l.LatestEpoch() != kafka.NoLeaderEpoch {
		t.Errorf("the log is %s, %s, epoch %d", l.TopicPartition(), l.TopicID(), l.LatestEpoch())
	}
	want := []string{"0.log", "partition.metadata"}
	if diff := cmp.Diff(want, fileNames(t, w, "/data/t-0")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{".lock", "meta.properties", "t-0"}, fileNames(t, w, testDir)); diff != "" {
		t.Error(diff)
	}
	if again, err := l.Dir().OpenLog(testTP, testTopicID, DefaultConfig()); err != nil || again != l {
		t.Errorf("opening it again gives %p, %v", again, err)
	}
	_, err := l.Dir().OpenLog(testTP, kafka.UUID{1}, DefaultConfig())
	wantError(t, err, kafka.InconsistentTopicID)
}

// TestAppendAndRead: offsets and leader epochs are written into the batches, and readers get whole batches.
func TestAppendAndRead(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	for i := range 10 {
		b := batchSpec{pid: kafka.NoProducerID, count: 3, ts: w.now()}.build(t)
		a, err := l.Append(b, AppendOptions{Origin: OriginClient, Now: w.now(), ProduceVersion: 9, LeaderEpoch: 4})
		if err != nil {
			t.Fatal(err)
		}
		base := kafka.Offset(3 * i)
		want := Appended{BaseOffset: base, EndOffset: base + 3, LogAppendTime: kafka.NoTimestamp}
		if a != want {
			t.Errorf("append %d gives %+v, want %+v", i, a, want)
		}
	}
	wantOffsets(t, l, 0, 0, 0, 30)
	for _, bytesMax := range []int{1, 200, 1 << 20} {
		batches := readAll(t, l, 30, bytesMax)
		if len(batches) != 10 || batches[9].base != 27 || batches[9].last != 29 || batches[9].epoch != 4 {
			t.Errorf("in steps of %d bytes: %+v", bytesMax, batches)
		}
	}
	r, err := l.Read(4, 1<<20, true, 30)
	if err != nil {
		t.Fatal(err)
	}
	if b, _, err := record.Next(r.Bytes()); err != nil || b.BaseOffset() != 3 || r.NextOffset != 30 {
		t.Errorf("a read inside a batch gives the batch at %d up to %d, %v", b.BaseOffset(), r.NextOffset, err)
	}
	if r.FD() != -1 || int(r.Position()) == 0 || r.Length() != len(r.Bytes()) {
		t.Errorf("fd %d, position %d, length %d", r.FD(), r.Position(), r.Length())
	}
	r.Release()
	if l.Bytes() == 0 || l.Segments() != 1 {
		t.Errorf("%d bytes in %d segments", l.Bytes(), l.Segments())
	}
}

// TestReadBounds: the end that a reader may see, and offsets that are not there.
func TestReadBounds(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 5}, batchSpec{count: 5}, batchSpec{count: 5})
	for _, c := range []struct {
		name     string
		offset   kafka.Offset
		bytesMax int
		minOne   bool
		end      kafka.Offset
		next     kafka.Offset
		empty    bool
	}{
		{"up to the end", 0, 1 << 20, false, 15, 15, false},
		{"a batch that begins at the end is left out", 0, 1 << 20, true, 10, 10, false},
		{"a batch that begins before the end comes whole", 0, 1 << 20, true, 7, 10, false},
		{"an end past the log's", 0, 1 << 20, true, 99, 15, false},
		{"at the end", 10, 1 << 20, true, 10, 10, true},
		{"past the end that the reader may see", 12, 1 << 20, true, 10, 12, true},
		{"at the log's end", 15, 1 << 20, true, 15, 15, true},
		{"too few bytes", 0, 10, false, 15, 0, true},
		{"too few bytes, but one at least", 0, 10, true, 15, 5, false},
	} {
		r, err := l.Read(c.offset, c.bytesMax, c.minOne, c.end)
		if err != nil || r.NextOffset != c.next || (r.Length() == 0) != c.empty {
			t.Errorf("%s: %d bytes, next offset %d, %v", c.name, r.Length(), r.NextOffset, err)
		}
		r.Release()
	}
	for _, offset := range []kafka.Offset{-1, 16} {
		_, err := l.Read(offset, 100, true, 15)
		wantError(t, err, kafka.OffsetOutOfRange)
	}
	l.AdvanceHighWatermark(15)
	if err := l.DeleteTo(6); err != nil {
		t.Fatal(err)
	}
	_, err := l.Read(5, 100, true, 15)
	wantError(t, err, kafka.OffsetOutOfRange)
	if r, err := l.Read(6, 1, true, 15); err != nil || r.NextOffset != 10 {
		t.Errorf("at the log start offset: %d, %v", r.NextOffset, err)
	}
}

// TestAppendRefused: what is refused leaves nothing behind.
func TestAppendRefused(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.BatchBytesMax = 200
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{pid: 5, epoch: 1})
	broken := batchSpec{pid: kafka.NoProducerID, ts: w.now()}.build(t)
	broken[len(broken)-1] ^= 1
	future := batchSpec{pid: kafka.NoProducerID, ts: w.now() + 7_200_000}.build(t)
	two := batchSpec{pid: kafka.NoProducerID, ts: w.now()}.build(t)
	two = append(two, two...)
	for _, c := range []struct {
		name  string
		bytes []byte
		want  *kafka.Error
	}{
		{"a wrong checksum", broken, kafka.CorruptMessage},
		{"two batches", two, kafka.InvalidRecord},
		{"nothing", nil, kafka.InvalidRecord},
		{"a time in the future", future, kafka.InvalidTimestamp},
		{"too large", batchSpec{pid: kafka.NoProducerID, ts: w.now(), count: 50}.build(t), kafka.MessageTooLarge},
		{"a gap in the sequence", batchSpec{pid: 5, epoch: 1, sequence: 3, ts: w.now()}.build(t),
			kafka.OutOfOrderSequenceNumber},
		{"a fenced producer", batchSpec{pid: 5, epoch: 0, sequence: 0, ts: w.now()}.build(t),
			kafka.InvalidProducerEpoch},
	} {
		_, err := w.client(l, c.bytes)
		if err == nil {
			t.Errorf("%s was appended", c.name)
		}
		wantError(t, err, c.want)
	}
	wantOffsets(t, l, 0, 0, 0, 1)
	w.mustClient(t, l, batchSpec{pid: 5, epoch: 1, sequence: 1})
	if l.LogEndOffset() != 2 {
		t.Errorf("log end offset %d", l.LogEndOffset())
	}
}

// TestAppendLargerThanSegment: Kafka's RECORD_LIST_TOO_LARGE.
func TestAppendLargerThanSegment(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 1000
	l := w.openLog(t, c)
	_, err := w.client(l, batchSpec{pid: kafka.NoProducerID, ts: w.now(), value: make([]byte, 1000)}.build(t))
	wantError(t, err, kafka.RecordListTooLarge)
}

// TestLogAppendTime: the broker's time goes into the batch and the answer.
func TestLogAppendTime(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.TimestampType = record.LogAppendTime
	l := w.openLog(t, c)
	b := batchSpec{pid: kafka.NoProducerID, ts: 5}.build(t)
	a, err := w.client(l, b)
	if err != nil || a.LogAppendTime != w.now() {
		t.Fatalf("%+v, %v", a, err)
	}
	if b.MaxTimestamp() != w.now() || b.TimestampType() != record.LogAppendTime || b.CheckCRC() != nil {
		t.Errorf("the batch has time %d, %s, %v", b.MaxTimestamp(), b.TimestampType(), b.CheckCRC())
	}
	found, err := l.MaxTimestampOffset()
	if want := (timeOffset(w.now(), 0, 0)); err != nil || found != want {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestRecompression: a topic of another codec stores a batch of its own.
func TestRecompression(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.Compression = record.Compression{Fixed: true, Codec: record.Zstd}
	l := w.openLog(t, c)
	w.mustClient(t, l, batchSpec{count: 50})
	const none = kafka.NoProducerID
	w.mustCoordinator(t, l, batchSpec{pid: none, count: 20}, batchSpec{pid: none, count: 30})
	r, err := l.Read(0, 1<<20, true, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	want := kafka.Offset(0)
	for rest := r.Bytes(); len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		if b.Codec() != record.Zstd || b.BaseOffset() != want || b.CheckCRC() != nil {
			t.Errorf("batch at %d has codec %s, %v", b.BaseOffset(), b.Codec(), b.CheckCRC())
		}
		want, rest = b.NextOffset(), after
	}
	if want != 100 {
		t.Errorf("read up to %d", want)
	}
}

// TestReplicaAppend: a leader's batches keep their offsets and epochs; what does not go on from here is refused.
func TestReplicaAppend(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	replica := func(b []byte) (Appended, error) {
		return l.Append(b, AppendOptions{Origin: OriginReplication, Now: w.now(), LeaderEpoch: 99})
	}
	first := batchSpec{pid: 1, sequence: 5, base: 100, leaderEpoch: 3, count: 10}.build(t)
	second := batchSpec{pid: kafka.NoProducerID, base: 200, leaderEpoch: 4, count: 5}.build(t) // compaction made a hole
	a, err := replica(slices.Concat(first, second, second[:30]))
	if err != nil || a.BaseOffset != 100 || a.EndOffset != 205 {
		t.Fatalf("%+v, %v", a, err)
	}
	want := []seen{{100, 109, 3, first.CRC()}, {200, 204, 4, second.CRC()}}
	if diff := cmp.Diff(want, readAll(t, l, 205, 1), cmpSeen); diff != "" {
		t.Error(diff)
	}
	if epoch, end := l.EpochEndOffset(3); epoch != 3 || end != 200 {
		t.Errorf("epoch %d ends at %d", epoch, end)
	}
	_, err = replica(batchSpec{pid: 1, base: 204}.build(t))
	if err == nil || !strings.Contains(err.Error(), ErrUnexpectedOffset.Error()) {
		t.Errorf("an overlapping batch: %v", err)
	}
	broken := batchSpec{pid: 1, base: 205}.build(t)
	broken[65] ^= 1
	_, err = replica(broken)
	wantError(t, err, kafka.CorruptMessage)
	if a, err := replica(nil); err != nil || a.EndOffset != 205 {
		t.Errorf("nothing: %+v, %v", a, err)
	}
}

// TestRoll: by bytes, by time of the records, by time of the clock where records have none, after a change of settings.
func TestRoll(t *testing.T) {
	t.Run("by bytes", func(t *testing.T) {
		w := newWorld()
		c := smallConfig()
		c.SegmentBytes = 1000
		l := w.openLog(t, c)
		for range 30 {
			w.mustClient(t, l, batchSpec{count: 1, value: make([]byte, 100)})
		}
		if l.Segments() < 4 || len(readAll(t, l, 30, 1<<20)) != 30 {
			t.Errorf("%d segments, %d batches", l.Segments(), len(readAll(t, l, 30, 1<<20)))
		}
	})
	t.Run("by the time of the records", func(t *testing.T) {
		w := newWorld()
		c := smallConfig()
		c.SegmentAge = time.Minute
		l := w.openLog(t, c)
		w.mustClient(t, l, batchSpec{ts: 1000}, batchSpec{ts: 61_000})
		if l.Segments() != 1 {
			t.Errorf("%d segments after exactly segment.ms", l.Segments())
		}
		w.mustClient(t, l, batchSpec{ts: 61_001})
		if l.Segments() != 2 {
			t.Errorf("%d segments after more than segment.ms", l.Segments())
		}
	})
	t.Run("by the clock", func(t *testing.T) {
		w := newWorld()
		c := smallConfig()
		c.SegmentAge = time.Minute
		l := w.openLog(t, c)
		w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, ts: -1})
		w.clock.Advance(time.Minute)
		w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, ts: -1})
		if l.Segments() != 1 {
			t.Errorf("%d segments after exactly segment.ms", l.Segments())
		}
		w.clock.Advance(time.Millisecond)
		w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, ts: -1})
		if l.Segments() != 2 {
			t.Errorf("%d segments after more than segment.ms", l.Segments())
		}
	})
	t.Run("with jitter", func(t *testing.T) {
		w := newWorld()
		c := smallConfig()
		c.SegmentAge, c.SegmentJitter = time.Minute, time.Minute
		l := w.openLog(t, c)
		w.mustClient(t, l, batchSpec{ts: 1000}, batchSpec{ts: 61_000})
		if l.Segments() != 2 {
			t.Errorf("%d segments", l.Segments())
		}
	})
	t.Run("when segment.bytes was lowered or raised", func(t *testing.T) {
		w := newWorld()
		l := w.openLog(t, smallConfig())
		w.mustClient(t, l, batchSpec{value: make([]byte, 900)})
		c := smallConfig()
		c.SegmentBytes = 1000
		l.UpdateConfig(c)
		w.mustClient(t, l, batchSpec{value: make([]byte, 500)})
		if l.Segments() != 2 {
			t.Errorf("%d segments after lowering", l.Segments())
		}
		c.SegmentBytes = 1 << 20
		l.UpdateConfig(c)
		w.mustClient(t, l, batchSpec{value: make([]byte, 5000)})
		if l.Segments() != 2 || len(readAll(t, l, 3, 1)) != 3 {
			t.Errorf("%d segments after raising", l.Segments())
		}
	})
	t.Run("an empty segment that was too small grows with segment.bytes", func(t *testing.T) {
		w := newWorld()
		c := smallConfig()
		c.SegmentBytes = 1000
		l := w.openLog(t, c)
		c.SegmentBytes = 1 << 20
		l.UpdateConfig(c)
		w.mustClient(t, l, batchSpec{value: make([]byte, 5000)})
		if l.Segments() != 1 || len(readAll(t, l, 1, 1)) != 1 {
			t.Errorf("%d segments", l.Segments())
		}
	})
}

// TestHighWatermark: it never goes back and never passes the log end.
func TestHighWatermark(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 10})
	for _, c := range []struct {
		to    kafka.Offset
		moved bool
		at    kafka.Offset
	}{{5, true, 5}, {5, false, 5}, {3, false, 5}, {99, true, 10}, {99, false, 10}} {
		if moved := l.AdvanceHighWatermark(c.to); moved != c.moved || l.HighWatermark() != c.at {
			t.Errorf("to %d: moved %v, at %d", c.to, moved, l.HighWatermark())
		}
	}
}

// TestTransactions: last stable offset and the list of aborted transactions, across a roll and restarts.
func TestTransactions(t *testing.T) {
	for _, how := range []struct {
		name    string
		restart func(*world, testing.TB, *Log) *Log
	}{
		{"running", func(_ *world, _ testing.TB, l *Log) *Log { return l }},
		{"restarted", (*world).restart},
		{"crashed", (*world).crash},
	} {
		t.Run(how.name, func(t *testing.T) {
			w := newWorld()
			c := smallConfig()
			c.SegmentBytes = 400
			l := w.openLog(t, c)
			w.mustClient(t, l, batchSpec{count: 5}, batchSpec{pid: 1, transactional: true, count: 2},
				batchSpec{pid: 2, transactional: true, count: 3}, batchSpec{count: 1})
			l.AdvanceHighWatermark(11)
			if lso := l.LastStableOffset(); lso != 5 {
				t.Errorf("last stable offset %d with two open transactions", lso)
			}
			w.mustCoordinator(t, l, batchSpec{pid: 1, sequence: -1, marker: &marker{commit: false}, ts: w.now()})
			if lso := l.LastStableOffset(); lso != 5 {
				t.Errorf("last stable offset %d with a marker past the high watermark", lso)
			}
			l.AdvanceHighWatermark(12)
			if lso := l.LastStableOffset(); lso != 7 {
				t.Errorf("last stable offset %d with one open transaction", lso)
			}
			w.mustCoordinator(t, l, batchSpec{pid: 2, sequence: -1, marker: &marker{commit: true}, ts: w.now()})
			l = how.restart(w, t, l)
			l.AdvanceHighWatermark(13)
			if lso := l.LastStableOffset(); lso != 13 {
				t.Errorf("last stable offset %d after all were decided", lso)
			}
			want := []AbortedTransaction{{ProducerID: 1, FirstOffset: 5, LastOffset: 11, LastStableOffset: 7}}
			for _, c := range []struct {
				from, to kafka.Offset
				want     []AbortedTransaction
			}{{0, 13, want}, {0, 6, want}, {6, 13, want}, {0, 5, nil}, {12, 13, nil}} {
				got, err := l.AbortedTransactions(nil, c.from, c.to)
				if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
					t.Errorf("[%d, %d): %v\n%s", c.from, c.to, err, diff)
				}
			}
		})
	}
}

// TestDuplicate: the second copy of a batch is answered as the first was, and not written.
func TestDuplicate(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{count: 4})
	spec := batchSpec{pid: 9, sequence: 0, count: 3, ts: w.now()}
	if a, err := w.client(l, spec.build(t)); err != nil || a.Duplicate || a.BaseOffset != 4 {
		t.Fatalf("%+v, %v", a, err)
	}
	want := Appended{BaseOffset: 4, EndOffset: 7, LogAppendTime: w.now(), Duplicate: true}
	for _, restart := range []func(*world, testing.TB, *Log) *Log{nil, (*world).restart, (*world).crash} {
		if restart != nil {
			l = restart(w, t, l)
		}
		if a, err := w.client(l, spec.build(t)); err != nil || a != want {
			t.Errorf("%+v, %v", a, err)
		}
	}
	if l.LogEndOffset() != 7 {
		t.Errorf("log end offset %d", l.LogEndOffset())
	}
}

func timeOffset(ts kafka.Timestamp, offset kafka.Offset, epoch kafka.LeaderEpoch) TimestampOffset {
	return TimestampOffset{Timestamp: ts, Offset: offset, LeaderEpoch: epoch}
}

// TestTimestampLookups are those of ListOffsets.
func TestTimestampLookups(t *testing.T) {
	w := newWorld()
	c := smallConfig()
	c.SegmentBytes = 500
	l := w.openLog(t, c)
	if found, err := l.MaxTimestampOffset(); err != nil || found != noOffset {
		t.Errorf("the largest time of an empty log is %+v, %v", found, err)
	}
	for i, ts := range []kafka.Timestamp{100, 300, 200, 500, 400, 500, 450} {
		b := batchSpec{pid: kafka.NoProducerID, ts: ts, count: 2, value: make([]byte, 50)}.build(t)
		o := AppendOptions{Now: w.now(), ProduceVersion: 9, LeaderEpoch: kafka.LeaderEpoch(i / 3)}
		if _, err := l.Append(b, o); err != nil {
			t.Fatal(err)
		}
	}
	if l.Segments() < 2 {
		t.Fatalf("%d segments", l.Segments())
	}
	for ts, want := range map[kafka.Timestamp]TimestampOffset{
		0: timeOffset(100, 0, 0), 100: timeOffset(100, 0, 0), 101: timeOffset(300, 2, 0), 250: timeOffset(300, 2, 0),
		301: timeOffset(500, 6, 1), 500: timeOffset(500, 6, 1), 501: noOffset,
	} {
		if found, err := l.OffsetForTimestamp(ts); err != nil || found != want {
			t.Errorf("time %d: %+v, %v, want %+v", ts, found, err, want)
		}
	}
	if found, err := l.MaxTimestampOffset(); err != nil || found != (timeOffset(500, 6, 1)) {
		t.Errorf("the largest time is %+v, %v", found, err)
	}
	if found := l.EarliestOffset(); found != (timeOffset(-1, 0, 0)) {
		t.Errorf("earliest %+v", found)
	}
	if found := l.LatestOffset(9); found != (timeOffset(-1, 9, 2)) {
		t.Errorf("latest %+v", found)
	}
	l.AdvanceHighWatermark(14)
	if err := l.DeleteTo(3); err != nil {
		t.Fatal(err)
	}
	if found, err := l.OffsetForTimestamp(0); err != nil || found != (timeOffset(300, 3, 0)) {
		t.Errorf("past the log start offset: %+v, %v", found, err)
	}
}

// TestEpochs: a leader's epoch is known from its first append, or from when it says so, and survives.
func TestEpochs(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	l.AssignEpoch(0)
	w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, count: 5})
	l.AssignEpoch(3)
	w.mustCoordinator(t, l, batchSpec{pid: kafka.NoProducerID, count: 5})
	l.AssignEpoch(4)
	check := func(when string, latest kafka.LeaderEpoch) {
		t.Helper()
		if l.LatestEpoch() != latest || l.EpochForOffset(4) != 0 || l.EpochForOffset(5) != 3 {
			t.Errorf("%s: latest %d, of offset 4 %d, of offset 5 %d",
				when, l.LatestEpoch(), l.EpochForOffset(4), l.EpochForOffset(5))
		}
		if epoch, end := l.EpochEndOffset(0); epoch != 0 || end != 5 {
			t.Errorf("%s: epoch %d ends at %d", when, epoch, end)
		}
	}
	check("running", 4)
	// As in Kafka, an epoch without a record is gone after a restart: its leader announces it anew.
	l = w.restart(t, l)
	check("restarted", 3)
	l = w.crash(t, l)
	check("crashed", 3)
	for _, damage := range []func(name string){
		func(name string) { _ = w.disk.Remove(name) },
		func(name string) { writeText(t, w, name, "0\n9\nnonsense\n") },
	} {
		if err := l.Dir().Close(1); err != nil {
			t.Fatal(err)
		}
		damage(path.Join("/data/t-0", epochFile))
		l = w.openLog(t, smallConfig())
		check("rebuilt", 3)
	}
}

// writeText replaces a file.
func writeText(t testing.TB, w *world, name, text string) {
	t.Helper()
	if err := replaceFile(w.disk, name, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// TestProducersListed is what DescribeProducers shows.
func TestProducersListed(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	w.mustClient(t, l, batchSpec{pid: 7, epoch: 2, sequence: 3, count: 2, ts: 1000},
		batchSpec{pid: 3, transactional: true, ts: 2000})
	want := []ProducerStatus{
		{ID: 3, Epoch: 0, LastSequence: 0, LastTimestamp: 2000, CoordinatorEpoch: -1, TxnFirstOffset: 2},
		{ID: 7, Epoch: 2, LastSequence: 4, LastTimestamp: 1000, CoordinatorEpoch: -1, TxnFirstOffset: kafka.NoOffset},
	}
	if diff := cmp.Diff(want, l.Producers()); diff != "" {
		t.Error(diff)
	}
}

// TestCorruption: bytes that changed on the disk are an error of the log that they are in, and of no other.
func TestCorruption(t *testing.T) {
	w := newWorld()
	l := w.openLog(t, smallConfig())
	other, err := l.Dir().OpenLog(kafka.TopicPartition{Topic: "other"}, testTopicID, smallConfig())
	if err != nil {
		t.Fatal(err)
	}
	w.mustClient(t, l, batchSpec{}, batchSpec{}, batchSpec{})
	w.mustClient(t, other, batchSpec{})
	f, err := w.disk.OpenFile("/data/t-0/00000000000000000000.log", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, 8); err != nil { // the length of the first batch
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, err = l.Read(0, 100, true, 3)
		wantError(t, err, kafka.KafkaStorageError)
	}
	var corrupt *segment.CorruptError
	if !errors.As(err, &corrupt) || l.Dir().Failed() != nil || l.Dir().Stats().Corruptions.Load() != 2 {
		t.Errorf("%v; the directory: %v", err, l.Dir().Failed())
	}
	if n := strings.Count(w.log.String(), "corrupt log"); n != 1 {
		t.Errorf("reported %d times", n)
	}
	if got := readAll(t, other, 1, 100); len(got) != 1 {
		t.Errorf("the other log holds %v", got)
	}
}

// TestKafkasOwnFolder opens a partition that Kafka wrote, and finds in it what Kafka knew.
func TestKafkasOwnFolder(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprintf("clean %v", clean), func(t *testing.T) {
			w := newWorld()
			w.clock.Advance(time.UnixMilli(1_790_000_000_000).Sub(testStart)) // or its producers would have expired
			copyKafka(t, w, clean)
			o := testOptions()
			m, found, err := ReadMetaProperties(w.disk, testDir)
			if err != nil || !found {
				t.Fatal(found, err)
			}
			o.ClusterID = m.ClusterID
			d, err := OpenLogDir(w.env(), testDir, o)
			if err != nil {
				t.Fatal(err)
			}
			if epoch, was := d.CleanShutdown(); was != clean || clean && epoch != 14 {
				t.Errorf("clean shutdown %v, epoch %d", was, epoch)
			}
			keep := func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return DefaultConfig(), Keep }
			logs, failures, err := d.LoadLogs(keep)
			if err != nil || len(failures) > 0 || len(logs) != 1 {
				t.Fatal(logs, failures, err)
			}
			l := logs[0]
			wantOffsets(t, l, 0, 22, 22, 22)
			if got := readAll(t, l, 22, 1<<20); len(got) != 18 {
				t.Errorf("%d batches", len(got))
			}
			a, err := w.client(l, batchSpec{pid: 102, sequence: 2, ts: 1790000000000}.build(t))
			if err != nil || !a.Duplicate || a.BaseOffset != 17 {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}
