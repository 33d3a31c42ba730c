package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/internal/clock"
	"spate/kafka"
	"spate/kafka/record"
)

// Goal: commands are decided in order, and answered in order, when what they rest on is committed. Method: a machine of
// keys and values on a log whose high watermark the test moves.
func TestRepliesWaitForTheHighWatermark(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	log.Hold()
	h.do("before", get{"k"})
	h.do("write", set{[]string{"k=1"}})
	h.do("read", get{"k"})
	h.settle()
	h.expect("before: ")
	log.Commit(1)
	h.settle()
	h.expect("write: 1", "read: 1")
	h.do("late", get{"k"})
	h.settle()
	h.expect("late: 1")
}

func TestAQuestionThatSawNothingNewIsAnsweredAtOnce(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	h.do("write", set{[]string{"k=1"}})
	h.settle()
	log.Hold()
	h.do("first", get{"k"})
	h.do("write again", set{[]string{"k=2"}})
	h.do("second", get{"k"})
	h.settle()
	h.expect("write: 1", "first: 1")
	log.Commit(kafka.NoOffset)
	h.settle()
	h.expect("write again: 1", "second: 2")
}

func TestOneTurnIsOneBatch(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	for i := range 10 {
		h.do(fmt.Sprint(i), set{[]string{fmt.Sprintf("k%d=%d", i, i), "last"}})
	}
	h.settle()
	if batches := log.Batches(); len(batches) != 1 || batches[0].Count() != 20 {
		t.Errorf("%d batches, want one of 20 records", len(batches))
	}
	if applied := h.made[0].applied; applied[0] != "0 k0=0" || applied[19] != "19 last deleted" {
		t.Errorf("applied %q", applied)
	}
	if s := h.Stats(); s.Records.Load() != 20 || s.Batches.Load() != 1 || s.Commands.Load() != 10 {
		t.Errorf("stats: %d records, %d batches, %d commands", s.Records.Load(), s.Batches.Load(), s.Commands.Load())
	}
}

func TestATurnThatExceedsABatchIsSeveral(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	log.Limit(1000)
	h.lead(log)
	for i := range 10 {
		h.do(fmt.Sprint(i), fill{fmt.Sprint("k", i, "-"), 100, 3})
	}
	h.settle()
	n := int32(0)
	for _, b := range log.Batches() {
		n += b.Count()
		if len(b) > 1000 || b.Count()%3 != 0 {
			t.Errorf("a batch of %d bytes and %d records", len(b), b.Count())
		}
	}
	if n != 30 {
		t.Errorf("%d records", n)
	}
}

// Records that no longer go into the batch of their turn wait for the next one, however large they are.
func TestLargeRecordsGoIntoTheNextBatch(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	for i := range 4 {
		h.do(fmt.Sprint(i), fill{fmt.Sprint("k", i, "-"), 1000, 400})
	}
	h.settle()
	h.expect("0: filled", "1: filled", "2: filled", "3: filled")
	if n := len(log.Batches()); n != 2 {
		t.Errorf("they are %d batches, want 2", n)
	}
	live := h.made[0].values
	h.Resign(0)
	h.Lead(0, 1, log)
	h.settle()
	if len(live) != 1600 || !maps.Equal(h.made[0].values, live) {
		t.Errorf("%d values, and %d after loading, want 1600", len(live), len(h.made[0].values))
	}
}

func TestWhatCompressionMakesTooLargeStaysAsItIs(t *testing.T) {
	h := newHost(t, func(o *runtime.Options, _ *host) { o.Codec = record.Gzip })
	noise := make([]byte, 900) // that no codec makes smaller
	for i, seed := 0, uint32(1); i < len(noise); i++ {
		seed = seed*1664525 + 1013904223
		noise[i] = byte(seed >> 24)
	}
	log := runtimetest.NewLog()
	log.Limit(record.HeaderBytes + 1 + len(noise) + 23) // what the record may take at most
	h.lead(log)
	h.do("noise", set{[]string{"k=" + string(noise)}})
	h.settle()
	log.Limit(runtimetest.BatchBytesMax)
	h.do("zeros", set{[]string{"k=" + strings.Repeat("0", 900)}})
	h.settle()
	h.expect("noise: 1", "zeros: 1")
	if b := log.Batches(); b[0].Codec() != record.None || b[1].Codec() != record.Gzip {
		t.Errorf("the batches are %s and %s", b[0].Codec(), b[1].Codec())
	}
	again := newHost(t)
	again.lead(log.Clone())
	if again.made[0].values["k"] != strings.Repeat("0", 900) || len(again.made[0].applied) != 2 {
		t.Error("what is loaded is not what was written")
	}
}

func TestWhatDoesNotFitIsRefusedBeforeItIsApplied(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	log.Limit(1000)
	h.lead(log)
	h.do("fits", set{[]string{"a=1"}})
	h.do("too large", fill{"b", 500, 2})
	h.do("after", set{[]string{"c=1"}})
	h.do("has an end", begin{"d=1", 800})
	h.do("could not end", begin{"e=1", 950})
	h.settle()
	h.expect("fits: 1", "too large: RECORD_LIST_TOO_LARGE", "after: 1", "has an end: begun",
		"could not end: RECORD_LIST_TOO_LARGE")
	if got := h.made[0].applied; !slices.Equal(got, []string{"0 a=1", "1 c=1", "2 d=1"}) {
		t.Errorf("applied %q", got)
	}
	h.clock.Advance(time.Second)
	h.settle()
	if slices.Contains(h.made[0].notes, "fired b") {
		t.Error("a timer of the refused outcome was set")
	}
	if n := h.Stats().TooLarge.Load(); n != 2 {
		t.Errorf("%d counted", n)
	}
}

func TestAMachineIsToldWhatDidNotFit(t *testing.T) {
	h := newHost(t, func(o *runtime.Options, h *host) {
		o.NewMachine = func(kafka.PartitionIndex) runtime.Machine {
			h.made[0] = newMachine()
			return modest{h.made[0]}
		}
	})
	log := runtimetest.NewLog()
	log.Limit(200)
	h.lead(log)
	h.do("too large", fill{"b", 500, 2})
	h.settle()
	h.expect("too large: RECORD_LIST_TOO_LARGE")
	if got := h.made[0].applied; !slices.Equal(got, []string{"0 refused=2"}) {
		t.Errorf("applied %q", got)
	}
	log.Limit(64)
	h.do("everything is too large", fill{"b", 500, 2})
	h.settle()
	h.expect("everything is too large: NOT_COORDINATOR")
	h.expectState(runtime.Fallen)
}

// Goal: on a full disk only those who write are refused. What was decided before in the same turn is written, questions
// are answered, nobody else who waits is disturbed, and nothing is loaded again.
func TestAFullDiskRefusesWhoWrites(t *testing.T) {
	var lastMade *machine
	h := newHost(t, func(o *runtime.Options, h *host) {
		o.NewMachine = func(kafka.PartitionIndex) runtime.Machine {
			lastMade = newMachine()
			h.count[0]++
			return modest{lastMade}
		}
	})
	log := runtimetest.NewLog()
	h.lead(log)
	h.do("before", set{[]string{"k=1"}})
	h.do("waits", await{"x"})
	h.settle()
	h.expect("before: 1")
	log.Fill(runtime.ErrNoRoom)
	h.do("refused", set{[]string{"k=2"}})
	h.do("again", set{[]string{"k=3"}})
	h.do("read", get{"k"})
	h.settle()
	h.expect("refused: NOT_COORDINATOR", "again: NOT_COORDINATOR", "read: 1")
	h.expectState(runtime.Serving)
	log.Fill(nil)
	h.do("after", set{[]string{"k=4"}})
	h.do("frees", free{"x"})
	h.settle()
	h.expect("after: 1", "waits: freed", "frees: done")
	want := []string{"loaded", "1 refused: NOT_COORDINATOR", "1 refused: NOT_COORDINATOR"}
	if !slices.Equal(lastMade.notes, want) || h.count[0] != 1 || h.Stats().NoRoom.Load() != 2 {
		t.Errorf("%q after %d loads, %d counted", lastMade.notes, h.count[0], h.Stats().NoRoom.Load())
	}
	if n := strings.Count(h.log.String(), "refuses what it"); n != 1 {
		t.Errorf("it was said %d times\n%s", n, h.log.String())
	}
	log.Fill(runtime.ErrNoRoom)
	log.Lose(kafka.NotLeaderOrFollower) // another error than that of a full disk ends the shard's work
	h.do("moved", set{[]string{"k=5"}})
	h.settle()
	h.expect("moved: NOT_COORDINATOR")
	h.expectState(runtime.Fallen)
}

func TestWhoWaitsIsAnsweredByAnother(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	h.do("one", await{"x"})
	h.do("other", await{"y"})
	h.do("two", await{"x"})
	h.settle()
	h.expect()
	h.do("free", free{"x"})
	h.settle()
	h.expect("one: freed", "two: freed", "free: done")
	h.Resign(0)
	h.settle()
	h.expect("other: NOT_COORDINATOR")
}

func TestTimersFireInOrderAndMove(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	now := h.clock.Now()
	h.do("a", timer{"a", now.Add(3 * time.Second)})
	h.do("b", timer{"b", now.Add(2 * time.Second)})
	h.do("c", timer{"c", now.Add(time.Second)})
	h.do("d", timer{"d", now.Add(2 * time.Second)})
	h.settle()
	h.do("c moves", timer{"c", now.Add(4 * time.Second)})
	h.do("b is taken back", timer{"b", time.Time{}})
	h.settle()
	for range 5 {
		h.clock.Advance(time.Second)
		h.settle()
	}
	want := []string{"loaded", "fired d", "fired a", "fired c"}
	if got := h.made[0].notes; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := h.made[0].applied; !slices.Equal(got, []string{"0 d=fired", "1 a=fired", "2 c=fired"}) {
		t.Errorf("applied %q", got)
	}
}

// Goal: a machine that does long work in pieces, by a timer that is due at once, keeps nobody waiting for the whole.
// Method: each turn does one piece, and commands that come meanwhile are decided between two.
func TestATimerSetByATimerWaitsForTheNextTurn(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	now := h.clock.Now()
	h.do("begins", timer{"again xx", now})
	h.do("another", timer{"other", now})
	h.Poll(now)
	h.do("between", get{"again xx"})
	h.do("not yet", get{"again x"})
	h.Poll(now)
	h.expect("begins: set", "another: set", "between: fired", "not yet: ")
	h.settle()
	want := []string{"loaded", "fired again xx", "fired other", "fired again x", "fired again "}
	if got := h.made[0].notes; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAnAppendThatFailsLoadsTheShardAnew(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	h.do("kept", set{[]string{"k=1"}})
	h.do("waits", await{"x"})
	h.settle()
	h.expect("kept: 1")
	log.Fail(1, kafka.KafkaStorageError)
	h.do("lost", set{[]string{"k=2"}})
	h.do("read", get{"k"})
	h.settle()
	h.expect("lost: NOT_COORDINATOR", "read: NOT_COORDINATOR", "waits: NOT_COORDINATOR")
	h.expectState(runtime.Fallen)
	h.do("too early", get{"k"})
	h.expect("too early: NOT_COORDINATOR")

	h.clock.Advance(99 * time.Millisecond)
	h.settle()
	h.expectState(runtime.Fallen)
	h.clock.Advance(time.Millisecond)
	h.settle()
	h.expectState(runtime.Serving)
	h.do("read again", get{"k"})
	h.settle()
	h.expect("read again: 1")

	// While the disk stays full, the back-off doubles up to five seconds, and ends with the first append.
	wait := 100 * time.Millisecond
	for range 8 {
		h.do("lost", set{[]string{"k=2"}})
		h.settle()
		h.expect("lost: NOT_COORDINATOR")
		wait = min(2*wait, 5*time.Second)
		h.clock.Advance(wait - time.Millisecond)
		h.settle()
		h.expectState(runtime.Fallen)
		h.clock.Advance(time.Millisecond)
		h.settle()
		h.expectState(runtime.Serving)
	}
	if n := strings.Count(h.log.String(), "lost its state"); n != 7 {
		t.Errorf("it was said %d times", n)
	}
	log.Fail(0, nil)
	h.do("works", set{[]string{"k=3"}})
	h.settle()
	h.expect("works: 1")
	if h.made[0].values["k"] != "3" || h.count[0] != 10 {
		t.Errorf("k is %q after %d loads", h.made[0].values["k"], h.count[0])
	}
	log.Fail(1, kafka.KafkaStorageError)
	h.do("lost", set{[]string{"k=4"}})
	h.settle()
	h.clock.Advance(100 * time.Millisecond)
	h.settle()
	h.expectState(runtime.Serving)
}

func TestARecordOfAnotherWriterLoadsTheShardAnew(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	log.Put(batchOf(t, record.BuilderOptions{}, "k=foreign"))
	h.do("write", set{[]string{"l=1"}})
	h.settle()
	h.expect("write: NOT_COORDINATOR")
	h.clock.Advance(time.Second)
	h.settle()
	h.do("k", get{"k"})
	h.do("l", get{"l"})
	h.settle()
	h.expect("k: foreign", "l: 1")
}

func TestLosingTheLeadershipAnswersEverybody(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	log.Hold()
	h.do("parked", set{[]string{"k=1"}})
	h.do("waits", await{"x"})
	h.settle()
	log.Lose(kafka.NotLeaderOrFollower)
	h.settle()
	h.expect("parked: NOT_COORDINATOR", "waits: NOT_COORDINATOR")
	h.expectState(runtime.Fallen)
	if strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("a new leader is no error:\n%s", h.log.String())
	}
	h.Resign(0)
	h.do("gone", get{"k"})
	h.expect("gone: NOT_COORDINATOR")
	if led := h.Led(); len(led) != 0 {
		t.Errorf("still led: %v", led)
	}
}

func TestResignAnswersTheQueueToo(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	log.Hold()
	h.do("parked", set{[]string{"k=1"}})
	h.settle()
	h.do("queued", get{"k"})
	h.Resign(0)
	h.settle()
	h.expect("parked: NOT_COORDINATOR", "queued: NOT_COORDINATOR")
	if n := len(log.Batches()); n != 1 {
		t.Errorf("%d batches", n)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	h := newHost(t, func(o *runtime.Options, _ *host) { o.QueueMax = 3 })
	log := runtimetest.NewLog()
	h.lead(log)
	for i := range 4 {
		h.do(fmt.Sprint(i), get{"k"})
	}
	h.expect("3: COORDINATOR_NOT_AVAILABLE")
	if s := h.Shards()[0]; s.Queued != 3 {
		t.Errorf("%d queued", s.Queued)
	}
	h.settle()
	h.expect("0: ", "1: ", "2: ")
	h.do("room", get{"k"})
	h.settle()
	h.expect("room: ")
	if h.Stats().Overflows.Load() != 1 || h.Shards()[0].Queued != 0 {
		t.Errorf("%d overflows, %d queued", h.Stats().Overflows.Load(), h.Shards()[0].Queued)
	}
}

func TestBroadcastsAreMergedAndReachShardsThatLoad(t *testing.T) {
	h := newHost(t, func(o *runtime.Options, _ *host) {
		o.Merge = func(earlier, later any) any { return echo{earlier.(echo).news + "+" + later.(echo).news} }
	})
	log := runtimetest.NewLog()
	h.SetPartitions(1)
	h.Lead(0, 0, log)
	h.Broadcast(echo{"one"})
	h.Broadcast(echo{"two"})
	h.settle()
	h.Broadcast(echo{"three"})
	h.settle()
	if got := h.made[0].notes; !slices.Equal(got, []string{"loaded", "one+two", "three"}) {
		t.Errorf("%q", got)
	}
	if text := h.log.String(); !strings.Contains(text, "msg=three group=group partition=state-0") {
		t.Errorf("the note is not in the log:\n%s", text)
	}
}

func TestANewLeaderEpochLoadsAnewAfterTheOldEnds(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	h.do("waits", await{"x"})
	h.do("kept", set{[]string{"k=1"}})
	h.settle()
	h.Lead(0, 0, log) // the same epoch: nothing happens
	h.settle()
	h.expect("kept: 1")
	h.Lead(0, 1, log)
	h.settle()
	h.expect("waits: NOT_COORDINATOR")
	if h.count[0] != 2 || h.made[0].values["k"] != "1" {
		t.Errorf("made %d times, k is %q", h.count[0], h.made[0].values["k"])
	}
}

func TestReportsAreSpaced(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	if r := h.Shards()[0].Report; r != 0 {
		t.Errorf("the first report is %v", r)
	}
	h.do("write", set{[]string{"k=1", "l=1"}})
	h.settle()
	if r := h.Shards()[0].Report; r != 0 {
		t.Errorf("reported again at once: %v", r)
	}
	h.clock.Advance(time.Second)
	h.settle()
	if r := h.Shards()[0].Report; r != 2 {
		t.Errorf("the report is %v", r)
	}
}

func TestPartitionFor(t *testing.T) {
	h := newHost(t)
	if p := h.PartitionFor("g"); p != -1 {
		t.Errorf("without a topic: %d", p)
	}
	h.Submit("g", get{"k"}, h.answers.For("no topic"))
	h.expect("no topic: NOT_COORDINATOR")
	h.SetPartitions(50)
	for id, want := range map[string]kafka.PartitionIndex{
		"": 0, "console-consumer": 40, "my-group": 12, "test": 48, "größe": 7, "日本": 47, "😀": 49,
		"modern":             1, // as Kafka 4.3.1 has it; its hash is negative
		"polygenelubricants": 0, // its hash is the smallest number
	} {
		if got := h.PartitionFor(id); got != want {
			t.Errorf("%q belongs to %d, want %d", id, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.String().Draw(t, "id")
		hash := int64(javaHash(utf16.Encode([]rune(id)))) // never the smallest number: see above
		want := kafka.PartitionIndex(max(hash, -hash) % 50)
		if got := h.PartitionFor(id); got != want {
			t.Fatalf("%q belongs to %d, want %d", id, got, want)
		}
	})
}

// Goal: with goroutines, every command is answered exactly once, whatever happens to the shard meanwhile. Method: many
// callers, while the log fails, the leader epoch changes and the host is closed; run with -race.
func TestEveryCommandIsAnsweredOnce(t *testing.T) {
	var answers runtimetest.Answers
	host := runtime.NewHost(runtime.Options{
		Clock: clock.Real{}, Log: quiet(), Topic: "state",
		NewMachine: func(kafka.PartitionIndex) runtime.Machine { return newMachine() },
	})
	const partitions, callers, each = 4, 4, 250
	host.SetPartitions(partitions)
	logs := make([]*runtimetest.Log, partitions)
	for i := range logs {
		logs[i] = runtimetest.NewLog()
		logs[i].FailWhen(func(n int) error {
			if n%7 == 0 {
				return errors.New("no room")
			}
			return nil
		})
		host.Lead(kafka.PartitionIndex(i), 0, logs[i])
	}
	var callersDone sync.WaitGroup
	for c := range callers {
		callersDone.Go(func() {
			for i := range each {
				key := fmt.Sprintf("%d-%d", c, i)
				switch i % 3 {
				case 0:
					host.Submit(key, set{[]string{key + "=1"}}, answers.For(key))
				case 1:
					host.Submit(key, await{"never"}, answers.For(key))
				default:
					host.Submit(key, get{key}, answers.For(key))
				}
				if i%50 == 25 {
					host.Lead(kafka.PartitionIndex(c), kafka.LeaderEpoch(i), logs[c])
				}
			}
		})
	}
	callersDone.Wait()
	host.Close()
	host.Submit("closed", get{"k"}, answers.For("closed"))
	host.Lead(0, 1000, logs[0])
	if len(host.Led()) != 0 {
		t.Error("a closed host leads")
	}
	for c := range callers {
		for i := range each {
			if key := fmt.Sprintf("%d-%d", c, i); answers.Count(key) != 1 {
				t.Fatalf("%s was answered %d times", key, answers.Count(key))
			}
		}
	}
	if last := answers.Take(); last[len(last)-1] != "closed: NOT_COORDINATOR" {
		t.Errorf("after the end: %s", last[len(last)-1])
	}
}

// meddling is a log that calls a function once when it is asked for the high watermark.
type meddling struct {
	*runtimetest.Log
	then atomic.Pointer[func()]
}

func (l *meddling) HighWatermark() (kafka.Offset, error) {
	if f := l.then.Swap(nil); f != nil {
		(*f)()
	}
	return l.Log.HighWatermark()
}

// Goal: a shard that is told to resign during a turn in which it has nothing to do ends all the same. Method: the turn
// itself resigns, while a command waits.
func TestResignDuringAnIdleTurn(t *testing.T) {
	var answers runtimetest.Answers
	host := runtime.NewHost(runtime.Options{
		Clock: clock.Real{}, Log: quiet(), Topic: "state",
		NewMachine: func(kafka.PartitionIndex) runtime.Machine { return newMachine() },
	})
	log := &meddling{Log: runtimetest.NewLog()}
	host.Lead(0, 0, log)
	for host.Shards()[0].State != runtime.Serving {
		goruntime.Gosched()
	}
	host.SubmitTo(0, await{"never"}, answers.For("waits"))
	for host.Shards()[0].Queued > 0 || host.Stats().Commands.Load() == 0 {
		goruntime.Gosched()
	}
	resign := func() { host.Resign(0) }
	log.then.Store(&resign)
	log.Commit(0)
	for log.then.Load() != nil {
		goruntime.Gosched()
	}
	host.Close()
	if got := answers.Take(); !slices.Equal(got, []string{"waits: NOT_COORDINATOR"}) {
		t.Errorf("answers are %q", got)
	}
}

// sluggish is a log whose first append takes until the test lets it go on.
type sluggish struct {
	*runtimetest.Log
	begun, goOn chan struct{}
}

func (l *sluggish) Append(b record.Batch, terms coordinator.Terms, now kafka.Timestamp) (kafka.Offset, error) {
	close(l.begun)
	<-l.goOn
	return l.Log.Append(b, terms, now)
}

// Goal: a partition that is led again soon after it was given up has one coordinator at a time: the new one neither
// reads nor listens before the old one has ended, which would take the listening away. Method: the old one is in the
// middle of an append.
func TestLeadingAgainWaitsForWhoResigned(t *testing.T) {
	var answers runtimetest.Answers
	var made atomic.Int64
	host := runtime.NewHost(runtime.Options{
		Clock: clock.Real{}, Log: quiet(), Topic: "state",
		NewMachine: func(kafka.PartitionIndex) runtime.Machine { made.Add(1); return newMachine() },
	})
	defer host.Close()
	below := runtimetest.NewLog()
	log := &sluggish{Log: below, begun: make(chan struct{}), goOn: make(chan struct{})}
	host.Lead(0, 0, log)
	for host.Shards()[0].State != runtime.Serving {
		goruntime.Gosched()
	}
	host.SubmitTo(0, set{[]string{"k=1"}}, answers.For("old"))
	<-log.begun
	host.Resign(0)
	host.Lead(0, 1, below)
	for range 1000 {
		goruntime.Gosched()
	}
	if n := made.Load(); n != 1 || host.Shards()[0].State != runtime.Loading {
		t.Errorf("%d machines were made while the first one is at work", n)
	}
	close(log.goOn)
	for host.Shards()[0].State != runtime.Serving {
		goruntime.Gosched()
	}
	below.Hold()
	done := make(chan string, 1)
	host.SubmitTo(0, set{[]string{"k=2"}}, doneFunc(func(body any, err error) { done <- fmt.Sprint(body, err) }))
	for _, end, _ := below.Bounds(); end < 2; _, end, _ = below.Bounds() {
		goruntime.Gosched()
	}
	below.Commit(kafka.NoOffset)
	if got := <-done; got != "1 <nil>" {
		t.Errorf("the new one answers %s", got)
	}
}

type doneFunc func(body any, err error)

func (f doneFunc) Done(body any, err error) { f(body, err) }

// Goal: what was answered as done is there after any crash and any failed append, and the state that a shard serves is
// what its log says. Method: random commands, failures and moves of the high watermark; the acknowledged values are
// looked for in what is replayed from the committed part of the log.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHost(t, func(o *runtime.Options, _ *host) {
			o.Codec = rapid.SampledFrom([]record.Codec{record.None, record.Zstd}).Draw(rt, "codec")
		})
		log := runtimetest.NewLog()
		log.Limit(400)
		h.lead(log)
		log.Hold()
		written, committed := map[string]string{}, map[string]string{}
		for i := range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0, 1, 2:
				name := fmt.Sprintf("w%d", i)
				pair := fmt.Sprintf("k%d=%d", rapid.IntRange(0, 5).Draw(rt, "key"), i)
				written[name] = pair
				h.do(name, set{[]string{pair}})
			case 3:
				_, end, _ := log.Bounds()
				log.Commit(kafka.Offset(rapid.Int64Range(0, int64(end)).Draw(rt, "mark")))
			case 4:
				log.Fail(rapid.IntRange(1, 3).Draw(rt, "fail"), kafka.KafkaStorageError)
			case 5:
				log.Fail(0, nil)
				h.clock.Advance(10 * time.Second)
			case 6:
				h.Lead(0, kafka.LeaderEpoch(i+1), log)
			}
			h.settle()
			for _, line := range h.answers.Take() {
				if name, body, _ := strings.Cut(line, ": "); body == "1" {
					key, value, _ := strings.Cut(written[name], "=")
					committed[key] = value
				}
			}
		}
		mark, _ := log.HighWatermark()
		after := newHost(t)
		after.lead(log.CutTo(mark))
		for key, value := range committed {
			if got := after.made[0].values[key]; atoi(got) < atoi(value) {
				rt.Fatalf("%s=%s was acknowledged, %q is left", key, value, got)
			}
		}
		if h.Shards()[0].State == runtime.Serving {
			whole := newHost(t)
			whole.lead(log.Clone())
			if got, want := fmt.Sprint(whole.made[0].values), fmt.Sprint(h.made[0].values); got != want {
				rt.Fatalf("replayed %s, live %s", got, want)
			}
		}
	})
}

func atoi(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}

// Goal: who waits for the loads waits for every first load, however it ends, and no longer than it wants to.
func TestAwaitLoads(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		fault error
		want  runtime.State
	}{
		"it loads":            {nil, runtime.Serving},
		"it cannot be read":   {runtime.ErrCorrupt, runtime.Corrupt},
		"the log is not ours": {kafka.NotLeaderOrFollower, runtime.Fallen},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			if !h.AwaitLoads(over) {
				t.Error("somebody waits though there is no shard")
			}
			log := runtimetest.NewLog()
			log.Put(batchOf(t, record.BuilderOptions{}, "a=1"))
			if c.fault != nil {
				log.FailReads(c.fault)
			}
			h.SetPartitions(1)
			h.Lead(0, 0, log)
			if h.AwaitLoads(over) {
				t.Error("nobody waits though nothing has been loaded")
			}
			h.settle()
			h.expectState(c.want)
			if !h.AwaitLoads(over) {
				t.Error("the load has ended")
			}
		})
	}
}
