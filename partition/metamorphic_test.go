package partition

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"spate/kafka"
)

// TestMetamorphic runs the same operations against logs with different segment sizes, index densities, flushes, idle
// files that are closed, restarts and crashes in between, and wants the same answers from all of them. What a log does
// must not depend on how its bytes lie on the disk.
func TestMetamorphic(t *testing.T) {
	seeds := uint64(40)
	if testing.Short() || raceEnabled {
		seeds = 6
	}
	for seed := range seeds {
		operations := drawOperations(rand.New(rand.NewPCG(seed, 1)), 120)
		want := (&meta{t: t, w: newWorld(), config: smallConfig()}).run(operations)
		for variant := range uint64(6) {
			draw := rand.New(rand.NewPCG(seed, 100+variant))
			m := &meta{t: t, w: newWorld(), config: drawConfig(draw), disturb: draw}
			got := m.run(operations)
			for i := range want {
				if got[i] != want[i] {
					t.Fatalf("seed %d, variant %d (%+v), operation %d, %s:\n%s\nwant\n%s",
						seed, variant, m.config, i, operations[i].name, got[i], want[i])
				}
			}
		}
	}
}

// operation is one call and how to describe its answer.
type operation struct {
	name string
	do   func(m *meta) string
}

// meta is one run.
type meta struct {
	t       testing.TB
	w       *world
	l       *Log
	config  Config
	disturb *rand.Rand // nil for the undisturbed run
}

func drawConfig(draw *rand.Rand) Config {
	c := smallConfig()
	c.SegmentBytes = []int64{2000, 3000, 10_000, 1 << 20}[draw.IntN(4)]
	c.IndexIntervalBytes = []int{1, 100, 1000, 1 << 20}[draw.IntN(4)]
	c.IndexBytesMax = []int{24, 100, 1000, 10 << 20}[draw.IntN(4)]
	c.SegmentAge = []time.Duration{time.Millisecond, time.Second, Forever}[draw.IntN(3)]
	c.FlushRecords = []int64{1, 7, 1 << 40}[draw.IntN(3)]
	return c
}

func (m *meta) run(operations []operation) []string {
	m.l = m.w.openLog(m.t, m.config)
	var answers []string
	for _, o := range operations {
		if m.disturb != nil {
			m.interfere()
		}
		answers = append(answers, o.do(m))
	}
	must(m.l.Dir().Close(1))
	return answers
}

// interfere does something that must not be seen.
func (m *meta) interfere() {
	m.w.clock.Advance(time.Duration(m.disturb.IntN(100)) * time.Microsecond)
	switch m.disturb.IntN(15) {
	case 12, 13, 14:
		closeFiles(m.t, m.l.Dir())
	case 0:
		m.l.AwaitFlush()
		m.l.Dir().PollFlush()
	case 1:
		must(m.l.Flush())
	case 2:
		m.l.Dir().Poll(m.w.clock.Now())
	case 3:
		must(m.l.Dir().checkpointAll())
	case 4, 5:
		// What a restart does forget: high watermark and log start offset since the last checkpoint, by design.
		must(m.l.Dir().checkpointAll())
		// And a crash forgets a producer whose records were all deleted.
		if m.disturb.IntN(2) == 0 || m.l.LogStartOffset() > 0 {
			m.l = m.w.restart(m.t, m.l)
		} else {
			m.l = m.w.crash(m.t, m.l)
		}
	}
}

func errorName(err error) string {
	var known *kafka.Error
	if errors.As(err, &known) {
		return known.Name
	}
	return err.Error()
}

func drawOperations(draw *rand.Rand, n int) []operation {
	var all []operation
	ts := kafka.Timestamp(1_699_999_000_000)
	epoch := kafka.LeaderEpoch(0)
	for range n {
		ts += kafka.Timestamp(draw.IntN(100) - 20)
		switch k := draw.IntN(100); {
		case k < 40:
			all = append(all, drawAppend(draw, ts, epoch))
		case k < 45:
			epoch += kafka.LeaderEpoch(draw.IntN(3))
			all = append(all, drawEpoch(epoch))
		case k < 50:
			all = append(all, drawMarker(draw, ts))
		case k < 55:
			share := draw.Float64()
			all = append(all, operation{"advance the high watermark", func(m *meta) string {
				m.l.AdvanceHighWatermark(kafka.Offset(share * float64(m.l.LogEndOffset())))
				return fmt.Sprint(m.l.HighWatermark())
			}})
		case k < 57:
			share := draw.Float64()
			all = append(all, operation{"delete records", func(m *meta) string {
				to := m.l.LogStartOffset() + kafka.Offset(share*float64(m.l.HighWatermark()-m.l.LogStartOffset()))
				must(m.l.DeleteTo(to))
				return fmt.Sprint(m.l.LogStartOffset())
			}})
		case k < 60:
			back := kafka.Offset(draw.IntN(8))
			all = append(all, operation{"truncate", func(m *meta) string {
				if m.l.LogStartOffset() > 0 {
					return "" // may forget a producer whose records were all deleted
				}
				must(m.l.TruncateTo(max(m.l.LogStartOffset(), m.l.LogEndOffset()-back)))
				return fmt.Sprint(m.l.LogEndOffset(), m.l.LatestEpoch())
			}})
		default:
			all = append(all, drawQuestion(draw, ts))
		}
	}
	return all
}

// drawAppend is a client's append: idempotent or not, transactional or not, some of them copies, some out of order.
func drawAppend(draw *rand.Rand, ts kafka.Timestamp, epoch kafka.LeaderEpoch) operation {
	pid := kafka.ProducerID(draw.IntN(4) - 1)
	spec := batchSpec{pid: pid, count: 1 + draw.IntN(4), ts: ts, value: make([]byte, draw.IntN(300))}
	slip := []kafka.Sequence{0, 0, 0, 0, 0, 0, -1, 1}[draw.IntN(8)]
	again := draw.IntN(3) == 0
	return operation{fmt.Sprintf("append %+v", spec), func(m *meta) string {
		for _, p := range m.l.Producers() {
			if p.ID == spec.pid {
				spec.epoch, spec.sequence = p.Epoch, max(0, p.LastSequence+1+slip)
				spec.transactional = p.TxnFirstOffset != kafka.NoOffset
			}
		}
		if spec.pid == 2 { // the transactional one
			spec.transactional = true
		}
		var out strings.Builder
		for range 1 + map[bool]int{true: 1}[again] {
			a, err := m.l.Append(spec.build(m.t), AppendOptions{Now: m.w.now(), ProduceVersion: 9, LeaderEpoch: epoch})
			if err != nil {
				fmt.Fprintln(&out, errorName(err))
				continue
			}
			// Not LogAppendTime: a snapshot has one time for the last batch and a marker behind it, as in Kafka.
			fmt.Fprintln(&out, a.BaseOffset, a.EndOffset, a.Duplicate)
		}
		return out.String()
	}}
}

func drawEpoch(epoch kafka.LeaderEpoch) operation {
	return operation{"become leader", func(m *meta) string {
		// An epoch without a record does not survive a restart; give it one.
		m.l.AssignEpoch(epoch)
		b := batchSpec{pid: kafka.NoProducerID, ts: 1_699_999_000_000}.build(m.t)
		_, err := m.l.Append(b, AppendOptions{Origin: OriginCoordinator, Now: m.w.now(), LeaderEpoch: epoch})
		must(err)
		return fmt.Sprint(m.l.LatestEpoch())
	}}
}

func drawMarker(draw *rand.Rand, ts kafka.Timestamp) operation {
	commit := draw.IntN(2) == 0
	return operation{"end the transaction", func(m *meta) string {
		spec := batchSpec{pid: 2, sequence: kafka.NoSequence, ts: ts, marker: &marker{commit: commit}}
		for _, p := range m.l.Producers() {
			if p.ID == spec.pid {
				spec.epoch = p.Epoch
			}
		}
		o := AppendOptions{Origin: OriginCoordinator, Now: m.w.now(), LeaderEpoch: m.l.LatestEpoch()}
		a, err := m.l.Append(spec.build(m.t), o)
		must(err)
		m.l.AdvanceHighWatermark(a.EndOffset) // a restart forgets that a marker is not committed yet, as Kafka's does
		return fmt.Sprint(a.BaseOffset, m.l.LastStableOffset())
	}}
}

func drawQuestion(draw *rand.Rand, ts kafka.Timestamp) operation {
	share, other, bytesMax := draw.Float64(), draw.Float64(), 1+draw.IntN(3000)
	within := func(l *Log, share float64) kafka.Offset {
		return l.LogStartOffset() + kafka.Offset(share*float64(l.LogEndOffset()-l.LogStartOffset()+1))
	}
	switch draw.IntN(8) {
	case 0:
		return operation{"read everything", func(m *meta) string {
			return fmt.Sprintf("%v", readAll(m.t, m.l, m.l.LogEndOffset(), bytesMax))
		}}
	case 1:
		return operation{"read the first batch", func(m *meta) string {
			r, err := m.l.Read(within(m.l, share), 1, true, within(m.l, other))
			must(err)
			defer r.Release()
			return fmt.Sprint(r.Length(), r.NextOffset)
		}}
	case 2:
		at := ts - kafka.Timestamp(draw.IntN(500))
		return operation{"look a time up", func(m *meta) string {
			found, err := m.l.OffsetForTimestamp(at)
			must(err)
			return fmt.Sprintf("%+v", found)
		}}
	case 3:
		return operation{"look the largest time up", func(m *meta) string {
			if m.l.LogStartOffset() > 0 {
				return "" // the largest time may be in a segment that holds no more than that
			}
			found, err := m.l.MaxTimestampOffset()
			must(err)
			return fmt.Sprintf("%+v", found)
		}}
	case 4:
		epoch := kafka.LeaderEpoch(draw.IntN(8) - 1)
		return operation{"ask for the end of an epoch", func(m *meta) string {
			of, end := m.l.EpochEndOffset(epoch)
			return fmt.Sprint(of, end, m.l.EpochForOffset(within(m.l, share)))
		}}
	case 5:
		return operation{"list the aborted transactions", func(m *meta) string {
			from, to := within(m.l, share), within(m.l, other)
			list, err := m.l.AbortedTransactions(nil, from, to)
			must(err)
			var out strings.Builder
			for _, a := range list {
				if a.LastOffset >= from { // of older ones a segment may tell or not
					fmt.Fprintln(&out, a.ProducerID, a.FirstOffset, a.LastOffset)
				}
			}
			return out.String()
		}}
	case 6:
		return operation{"list the producers", func(m *meta) string { return fmt.Sprintf("%+v", m.l.Producers()) }}
	default:
		return operation{"read out of range", func(m *meta) string {
			_, below := m.l.Read(m.l.LogStartOffset()-1, bytesMax, true, m.l.LogEndOffset())
			_, above := m.l.Read(m.l.LogEndOffset()+1, bytesMax, true, m.l.LogEndOffset())
			return errorName(below) + " " + errorName(above)
		}}
	}
}
