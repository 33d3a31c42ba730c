package partition

import (
	"crypto/rand"
	"io"
	"log/slog"
	"testing"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// realLog is a log on the machine's disk.
func realLog(t testing.TB, c Config) *Log {
	t.Helper()
	silent := slog.New(slog.NewTextHandler(io.Discard, nil))
	env := Env{Clock: clock.Real{}, FS: vfs.OS{}, Random: rand.Reader, Log: silent}
	d, err := OpenLogDir(env, t.TempDir(), testOptions())
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.OpenLog(testTP, testTopicID, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(1); err != nil {
			t.Error(err)
		}
	})
	return l
}

// sender sends one batch of an idempotent producer again and again, as the next one each time.
type sender struct {
	l     *Log
	batch record.Batch
	count kafka.Sequence
	next  kafka.Sequence
}

func newSender(t testing.TB, l *Log, count, bytes int) *sender {
	b := batchSpec{pid: 1, count: count, ts: l.dir.now(), value: make([]byte, bytes)}.build(t)
	return &sender{l: l, batch: b, count: kafka.Sequence(count)}
}

func (s *sender) send(t testing.TB) {
	// As a client would have: its own sequence, base offset 0 and no leader epoch.
	putSequence(s.batch, s.next)
	s.batch.SetBaseOffset(0)
	s.batch.UpdateCRC()
	s.next += s.count
	if _, err := s.l.Append(s.batch, AppendOptions{Now: s.l.dir.now(), ProduceVersion: 9}); err != nil {
		t.Fatal(err)
	}
}

// putSequence writes the base sequence, which follows the producer's id and epoch.
func putSequence(b record.Batch, s kafka.Sequence) {
	const at = 53
	b[at], b[at+1], b[at+2], b[at+3] = byte(s>>24), byte(s>>16), byte(s>>8), byte(s)
}

// TestAppendAllocates nothing in the steady state: an uncompressed batch of an idempotent producer.
func TestAppendAllocates(t *testing.T) {
	c := DefaultConfig()
	l := realLog(t, c)
	s := newSender(t, l, 10, 100)
	for range 100 {
		s.send(t)
	}
	if n := testing.AllocsPerRun(1000, func() { s.send(t) }); n != 0 {
		t.Errorf("an append allocates %v times", n)
	}
}

// TestReadAllocates nothing: whole batches out of the middle of a log.
func TestReadAllocates(t *testing.T) {
	l := realLog(t, DefaultConfig())
	s := newSender(t, l, 10, 100)
	for range 1000 {
		s.send(t)
	}
	end := l.LogEndOffset()
	n := testing.AllocsPerRun(1000, func() {
		r, err := l.Read(end/2, 10_000, true, end)
		if err != nil || r.Length() == 0 {
			t.Fatal(err)
		}
		r.Release()
	})
	if n != 0 {
		t.Errorf("a read allocates %v times", n)
	}
}

// TestFlushAllocates nothing either, beside what the file system costs.
func TestFlushAllocates(t *testing.T) {
	l := realLog(t, DefaultConfig())
	s := newSender(t, l, 10, 100)
	l.SetObserver(quiet{})
	flush := func() {
		s.send(t)
		l.AwaitFlush()
		if !l.dir.PollFlush() {
			t.Fatal("nothing was flushed")
		}
	}
	flush()
	if n := testing.AllocsPerRun(100, flush); n != 0 {
		t.Errorf("an append and its group commit allocate %v times", n)
	}
}

// TestFlushOfManyAllocates nothing: a round that is shared with the workers.
func TestFlushOfManyAllocates(t *testing.T) {
	l := realLog(t, DefaultConfig())
	d := l.dir
	f := &d.flusher
	f.workers, f.work = 3, make(chan struct{}, 3)
	var group task.Group
	for range f.workers {
		group.Go("flush worker", f.runWorker)
	}
	var senders []*sender
	for i := range 10 {
		tp := kafka.TopicPartition{Topic: "many", Partition: kafka.PartitionIndex(i)}
		l, err := d.OpenLog(tp, testTopicID, DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		senders = append(senders, newSender(t, l, 10, 100))
	}
	flush := func() {
		for _, s := range senders {
			s.send(t)
			s.l.AwaitFlush()
		}
		d.PollFlush()
	}
	for range 100 { // the indexes in memory grow by doubling
		flush()
	}
	if n := testing.AllocsPerRun(20, flush); n != 0 {
		t.Errorf("appends and their group commit allocate %v times", n)
	}
	for _, s := range senders {
		if s.l.FlushedOffset() != s.l.LogEndOffset() {
			t.Errorf("flushed %d of %d", s.l.FlushedOffset(), s.l.LogEndOffset())
		}
	}
	close(f.work)
	group.Wait()
	f.workers = 0
}

type quiet struct{}

func (quiet) Flushed(kafka.Offset) {}
func (quiet) Failed(error)         {}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []struct {
		name         string
		count, bytes int
	}{{"1x100B", 1, 100}, {"16KiB", 16, 1000}, {"128KiB", 128, 1000}, {"1MiB", 1000, 1000}} {
		b.Run(size.name, func(b *testing.B) {
			l := realLog(b, DefaultConfig())
			s := newSender(b, l, size.count, size.bytes)
			b.SetBytes(int64(len(s.batch)))
			b.ReportAllocs()
			for b.Loop() {
				s.send(b)
			}
		})
	}
}

func BenchmarkAppendFlush(b *testing.B) {
	l := realLog(b, DefaultConfig())
	s := newSender(b, l, 16, 1000)
	b.SetBytes(int64(len(s.batch)))
	b.ReportAllocs()
	for b.Loop() {
		s.send(b)
		l.AwaitFlush()
		l.dir.PollFlush()
	}
}

func BenchmarkRead(b *testing.B) {
	l := realLog(b, DefaultConfig())
	s := newSender(b, l, 16, 1000)
	for range 2000 {
		s.send(b)
	}
	end := l.LogEndOffset()
	b.ReportAllocs()
	offset := kafka.Offset(0)
	for b.Loop() {
		r, err := l.Read(offset, 64<<10, true, end)
		if err != nil {
			b.Fatal(err)
		}
		offset = r.NextOffset
		r.Release()
		if offset >= end {
			offset = 0
		}
	}
}

// BenchmarkRecover opens a log of 256 MiB after a crash.
func BenchmarkRecover(b *testing.B) {
	l := realLog(b, DefaultConfig())
	s := newSender(b, l, 128, 1000)
	for l.Bytes() < 256<<20 {
		s.send(b)
	}
	d := l.dir
	b.SetBytes(l.Bytes())
	for b.Loop() {
		again := &Log{tp: l.tp, dir: d, producers: newProducers()}
		again.topicID.Store(l.topicID.Load())
		again.config.Store(l.config.Load())
		r := loader{l: again}
		if err := r.load(); err != nil {
			b.Fatal(err)
		}
		for _, s := range r.segments {
			s.Abandon()
		}
		d.collect()
	}
}
