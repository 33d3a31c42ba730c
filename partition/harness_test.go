package partition

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// counter is a random source that is none: 0, 1, 2, …
type counter struct {
	mu   sync.Mutex
	next byte
}

func (c *counter) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range p {
		p[i] = c.next
		c.next++
	}
	return len(p), nil
}

// world is the environment of a test: a disk in memory, a clock that stands still.
type world struct {
	disk    *vfs.Mem
	fs      vfs.FS // the disk, or a wrapper
	clock   *clock.Manual
	log     *bytes.Buffer
	options Options
}

var testStart = time.UnixMilli(1_700_000_000_000)

func newWorld() *world {
	disk := vfs.NewMem()
	return &world{disk: disk, fs: disk, clock: clock.NewManual(testStart), log: &bytes.Buffer{}, options: testOptions()}
}

func (w *world) env() Env {
	return Env{Clock: w.clock, FS: w.fs, Random: &counter{}, Log: slog.New(slog.NewTextHandler(w.log, nil))}
}

func (w *world) now() kafka.Timestamp { return kafka.Timestamp(w.clock.Now().UnixMilli()) }

func testOptions() Options {
	o := DefaultOptions()
	o.Unverified = true // nobody is here to ask; verification has stories of its own
	o.NodeID, o.ClusterID = 1, "L_NJ13iYT-aMYc4Ob1pKIw"
	o.RecoveryThreads, o.FlushWorkers = 1, 1 // the same order of operations each time
	o.SettleTogether = 1
	return o
}

const testDir = "/data"

var (
	testTP      = kafka.TopicPartition{Topic: "t", Partition: 0}
	testTopicID = kafka.UUID{0: 7, 15: 9}
)

// openDir opens the log directory.
func (w *world) openDir(t testing.TB) *LogDir {
	t.Helper()
	d, err := OpenLogDir(w.env(), testDir, w.options)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// openLog opens the directory and the one log of most tests.
func (w *world) openLog(t testing.TB, c Config) *Log {
	t.Helper()
	d := w.openDir(t)
	_, failures, err := d.LoadLogs(func(kafka.TopicPartition, kafka.UUID) (Config, Fate) { return c, Keep })
	if err != nil || len(failures) > 0 {
		t.Fatal(failures, err)
	}
	l, err := d.OpenLog(testTP, testTopicID, c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// restart closes the log's directory and opens it again.
func (w *world) restart(t testing.TB, l *Log) *Log {
	t.Helper()
	c := *l.Config()
	if err := l.Dir().Close(3); err != nil {
		t.Fatal(err)
	}
	return w.openLog(t, c)
}

// crash loses nothing but the process: what was written is there, the marks of a clean shutdown are not.
func (w *world) crash(t testing.TB, l *Log) *Log {
	t.Helper()
	c := *l.Config()
	if err := l.Dir().lock.Close(); err != nil {
		t.Fatal(err)
	}
	return w.openLog(t, c)
}

// smallConfig rolls often.
func smallConfig() Config {
	c := DefaultConfig()
	c.SegmentBytes = 1 << 20
	c.IndexIntervalBytes = 100
	return c
}

// client appends as a producer's request would.
func (w *world) client(l *Log, b []byte) (Appended, error) {
	return l.Append(b, AppendOptions{Origin: OriginClient, Now: w.now(), ProduceVersion: 9})
}

func (w *world) mustClient(t testing.TB, l *Log, specs ...batchSpec) Appended {
	t.Helper()
	var last Appended
	for _, s := range specs {
		if s.ts == 0 {
			s.ts = w.now()
		}
		if s.pid == 0 {
			s.pid = kafka.NoProducerID
		}
		var err error
		if last, err = w.client(l, s.build(t)); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// mustCoordinator appends as the broker itself would.
func (w *world) mustCoordinator(t testing.TB, l *Log, specs ...batchSpec) Appended {
	t.Helper()
	var all []byte
	for _, s := range specs {
		all = append(all, s.build(t)...)
	}
	a, err := l.Append(all, AppendOptions{Origin: OriginCoordinator, Now: w.now(), LeaderEpoch: l.LatestEpoch()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// seen is a batch as a reader sees it.
type seen struct {
	base, last kafka.Offset
	epoch      kafka.LeaderEpoch
	crc        uint32
}

var cmpSeen = cmp.Options{cmp.AllowUnexported(seen{}), cmpopts.EquateEmpty()}

// readAll reads the log from its start to end in steps of bytesMax.
func readAll(t testing.TB, l *Log, end kafka.Offset, bytesMax int) []seen {
	t.Helper()
	var all []seen
	for offset := l.LogStartOffset(); offset < end; {
		r, err := l.Read(offset, bytesMax, true, end)
		if err != nil {
			t.Fatalf("read at %d: %v", offset, err)
		}
		if r.Length() == 0 {
			break
		}
		for rest := r.Bytes(); len(rest) > 0; {
			b, after, err := record.Next(rest)
			if err != nil {
				t.Fatalf("read at %d: %v", offset, err)
			}
			if err := b.CheckCRC(); err != nil {
				t.Fatalf("read at %d: %v", offset, err)
			}
			all = append(all, seen{b.BaseOffset(), b.LastOffset(), b.LeaderEpoch(), b.CRC()})
			rest = after
		}
		offset = r.NextOffset
		r.Release()
	}
	return all
}

// wantOffsets compares start, flushed, high watermark and end.
func wantOffsets(t testing.TB, l *Log, start, flushed, highWatermark, end kafka.Offset) {
	t.Helper()
	got := [4]kafka.Offset{l.LogStartOffset(), l.FlushedOffset(), l.HighWatermark(), l.LogEndOffset()}
	if want := [4]kafka.Offset{start, flushed, highWatermark, end}; got != want {
		t.Errorf("log start, flushed, high watermark and log end are %v, want %v", got, want)
	}
}

// wantError wants an error that carries code.
func wantError(t testing.TB, err error, code *kafka.Error) {
	t.Helper()
	if !errors.Is(err, code) {
		t.Errorf("got error %v, want %v", err, code)
	}
}

// watcher is an observer that remembers.
type watcher struct {
	flushed []kafka.Offset
	failed  []error
}

func (w *watcher) Flushed(o kafka.Offset) { w.flushed = append(w.flushed, o) }
func (w *watcher) Failed(err error)       { w.failed = append(w.failed, err) }
