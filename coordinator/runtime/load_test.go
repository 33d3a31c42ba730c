package runtime_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/kafka"
	"spate/kafka/record"
)

// batchOf makes a batch of pairs, as in set.
func batchOf(t testing.TB, o record.BuilderOptions, list ...string) record.Batch {
	t.Helper()
	b := record.NewBuilder(o)
	for _, r := range pairs(list...) {
		value, kept := r.AppendValue(nil)
		if !kept {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		b.Append(5, r.AppendKey(nil), value)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func marker(t testing.TB, p record.Producer, kind record.ControlType) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderOptions{Producer: &p, Transactional: true, Control: true})
	b.AppendEndTxnMarker(5, kind, 0)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// Goal: a shard that loads sees every record in its place: of compressed batches, of transactions, and with the markers
// in between. Method: a log of such batches, and a machine that notes what it is given.
func TestLoadSeesEveryRecordInItsPlace(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	producer := record.Producer{ID: 7, Epoch: 2}
	log.Put(batchOf(t, record.BuilderOptions{}, "a=1", "b=2"))
	log.Put(batchOf(t, record.BuilderOptions{Codec: record.Zstd}, "c=3", "a", "?later=1"))
	log.Put(batchOf(t, record.BuilderOptions{Producer: &producer, Transactional: true}, "d=4"))
	log.Put(marker(t, producer, record.ControlCommit))
	log.Put(marker(t, record.Producer{ID: 8, Epoch: 1}, record.ControlAbort))
	log.Put(batchOf(t, record.BuilderOptions{Producer: &producer}, "e=5"))
	h.lead(log)
	want := []string{
		"0 a=1", "1 b=2", "2 c=3", "3 a deleted", "5 d=4 by 7/2", "marker of 7/2: true", "marker of 8/1: false",
		"8 e=5",
	}
	if got := h.made[0].applied; !slices.Equal(got, want) {
		t.Errorf("applied\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	s := h.Stats()
	if s.Replayed.Load() != 9 || s.Unknown.Load() != 1 || s.Loads.Load() != 1 {
		t.Errorf("%d records, %d unknown, %d loads", s.Replayed.Load(), s.Unknown.Load(), s.Loads.Load())
	}
	h.do("next", set{[]string{"f=6"}})
	h.settle()
	if got := h.made[0].applied; got[len(got)-1] != "9 f=6" {
		t.Errorf("the next record is %q", got[len(got)-1])
	}
}

func TestCommandsThatComeTooEarlyAreToldSo(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	log.Put(batchOf(t, record.BuilderOptions{}, "a=1"))
	h.SetPartitions(1)
	h.Lead(0, 0, log)
	h.do("early", get{"a"})
	h.expect("early: COORDINATOR_LOAD_IN_PROGRESS")
	h.settle()
	h.do("later", get{"a"})
	h.settle()
	h.expect("later: 1")
}

func TestARecordThatCannotBeReadIsNotServed(t *testing.T) {
	for name, spoil := range map[string]func(*runtimetest.Log){
		"the machine cannot decode it": func(log *runtimetest.Log) {
			log.Put(batchOf(t, record.BuilderOptions{}, "b=1", "!b=1"))
		},
		"the checksum is wrong": func(log *runtimetest.Log) {
			log.Put(batchOf(t, record.BuilderOptions{}, "b=1"))
			log.Spoil(1)
		},
		"the records end too early": func(log *runtimetest.Log) {
			b := batchOf(t, record.BuilderOptions{}, "b=1")
			b[60]++ // the count
			b.UpdateCRC()
			log.Put(b)
		},
		"the disk says so": func(log *runtimetest.Log) {
			log.FailReads(fmt.Errorf("%w: segment", runtime.ErrCorrupt))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, log := newHost(t), runtimetest.NewLog()
			log.Put(batchOf(t, record.BuilderOptions{}, "a=1"))
			spoil(log)
			h.lead(log)
			h.expectState(runtime.Corrupt)
			h.do("read", get{"a"})
			h.expect("read: COORDINATOR_NOT_AVAILABLE")
			if n := h.Stats().Corrupt.Load(); n != 1 || h.Stats().Loads.Load() != 0 {
				t.Errorf("%d corrupt, %d loads", n, h.Stats().Loads.Load())
			}
			if text := h.log.String(); !strings.Contains(text, "state-0") || !strings.Contains(text, "cannot be read") {
				t.Errorf("the log says\n%s", text)
			}
			h.clock.Advance(time.Hour)
			h.settle()
			h.expectState(runtime.Corrupt)
			h.Resign(0)
			h.settle()
		})
	}
}

func TestAReadThatFailsIsTriedAgain(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	log.Put(batchOf(t, record.BuilderOptions{}, "a=1"))
	log.FailReads(errors.New("offline"))
	h.lead(log)
	h.expectState(runtime.Fallen)
	log.FailReads(nil)
	h.clock.Advance(time.Second)
	h.settle()
	h.do("read", get{"a"})
	h.settle()
	h.expect("read: 1")
}

func TestARecordOfTheLoadThatCannotBeWrittenLoadsAgain(t *testing.T) {
	fresh := []string{"made=1"}
	h := newHost(t, func(o *runtime.Options, h *host) {
		o.NewMachine = func(kafka.PartitionIndex) runtime.Machine {
			h.made[0] = newMachine()
			h.made[0].onLoad = fresh
			return h.made[0]
		}
	})
	log := runtimetest.NewLog()
	log.Fail(1, kafka.KafkaStorageError)
	h.lead(log)
	h.expectState(runtime.Fallen)
	log.Fail(0, nil)
	h.clock.Advance(time.Second)
	h.settle()
	h.expectState(runtime.Serving)
	if len(log.Batches()) != 1 || h.made[0].values["made"] != "1" {
		t.Errorf("%d batches, %v", len(log.Batches()), h.made[0].values)
	}
}

// Goal: no more shards load at a time than allowed, those that give up make room, and all are loaded in the end.
// Method: logs of several chunks, one poll at a time.
func TestLoadsAreBounded(t *testing.T) {
	h := newHost(t, func(o *runtime.Options, _ *host) { o.LoadsMax = 2 })
	const partitions = 6
	h.SetPartitions(partitions)
	long := strings.Repeat("x", 3<<20)
	for p := range partitions {
		log := runtimetest.NewLog()
		for range 3 { // each is a chunk
			log.Put(batchOf(t, record.BuilderOptions{}, "a="+long))
		}
		h.Lead(kafka.PartitionIndex(p), 0, log)
	}
	h.Poll(h.clock.Now())
	if len(h.made) != 2 {
		t.Errorf("%d shards load", len(h.made))
	}
	h.Resign(0) // loads
	h.Resign(3) // waits
	h.Poll(h.clock.Now())
	if len(h.made) != 3 || h.made[2] == nil {
		t.Errorf("%d shards have begun to load", len(h.made))
	}
	h.settle()
	for _, s := range h.Shards() {
		if s.State != runtime.Serving {
			t.Errorf("partition %d is %s", s.Partition, s.State)
		}
	}
	if n := h.Stats().Loads.Load(); n != 4 {
		t.Errorf("%d loads", n)
	}
	if h.count[3] != 0 {
		t.Error("a shard that had resigned has loaded")
	}
}

func TestResignWhileLoading(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	for range 3 {
		log.Put(batchOf(t, record.BuilderOptions{}, "a="+strings.Repeat("x", 3<<20)))
	}
	h.SetPartitions(1)
	h.Lead(0, 0, log)
	h.Poll(h.clock.Now())
	h.Resign(0)
	h.settle()
	h.Lead(0, 1, log)
	h.settle()
	h.expectState(runtime.Serving)
}
