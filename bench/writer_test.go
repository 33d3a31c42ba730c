package bench

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/result"
)

// TestInFlight: without a rate a latency is that of the record alone, however few may be on their way. Method: on a
// clock that only waiting moves, a broker acknowledges each record ten milliseconds after it got it.
func TestInFlight(t *testing.T) {
	const records, takes = 50, 10 * time.Millisecond
	for inFlight, turns := range map[int64]time.Duration{1: 50, 3: 17} {
		synctest.Test(t, func(t *testing.T) {
			w := workload(t, "produce", fmt.Sprintf("records=%d duration=0s in-flight=%d", records, inFlight))
			r := &run{w: w, soft: t.Context(), sending: t.Context(), partitions: w.Partitions, topics: []string{"t"},
				meter: newMeter(0, nil)}
			most := int64(0)
			var broker sync.WaitGroup
			writer := r.writerBy(func(_ context.Context, record *kgo.Record, promise func(*kgo.Record, error)) {
				most = max(most, r.meter.out.Load())
				broker.Go(func() {
					<-time.After(takes)
					promise(record, nil)
				})
			}, 0)
			began := time.Now()
			step := r.newStep(0, 0, 0)
			step.records = w.Records
			writer.asFast(step)
			broker.Wait()
			acks := r.meter.recorders[result.LatencyAck].sample(true)
			if acks.Count != records || acks.Min/1000 != 10 || acks.Max/1000 != 10 || most != inFlight {
				t.Errorf("%d in flight, of %d: %+v", most, inFlight, acks)
			}
			if took := time.Since(began); took != turns*takes {
				t.Errorf("%d in flight: all took %v, want %v", inFlight, took, turns*takes)
			}
		})
	}
}

// TestInFlightEnds: who waits for a place does not wait for longer than anything is sent.
func TestInFlightEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := workload(t, "produce", "duration=1h in-flight=1")
		sending, stop := context.WithCancel(t.Context())
		r := &run{w: w, soft: t.Context(), sending: sending, partitions: w.Partitions, topics: []string{"t"},
			meter: newMeter(0, nil)}
		var writing sync.WaitGroup
		writing.Go(func() { // nothing is ever acknowledged
			r.writerBy(func(context.Context, *kgo.Record, func(*kgo.Record, error)) {}, 0).asFast(r.newStep(0, 0, 0))
		})
		synctest.Wait()
		stop()
		writing.Wait()
		if out := r.meter.out.Load(); out != 1 {
			t.Errorf("%d records on their way", out)
		}
	})
}
