package bench

import (
	"fmt"
	"time"

	"spate/bench/result"
)

// catchUp is a load at a rate, of which the first half runs alone, and the second one beside readers that read
// everything from the start of the filled topic. What they do to the latencies shows in the two steps.
func (r *run) catchUp() {
	r.progress.enter(result.PhaseLoad, r.w.Length)
	half := r.w.Length / 2
	for n, name := range []string{"alone", "beside readers that catch up"} {
		if n == 1 {
			if r.soft.Err() != nil {
				return // nobody needs to catch up any more
			}
			if err := r.addCatchUp(); err != nil {
				r.meter.failed(err)
				return
			}
		}
		before := r.meter.consumed.Load()
		began := time.Now()
		step, _ := r.runStep(r.newStep(r.w.Rate, r.w.Rate, half), result.PhaseLoad, n+1)
		step.Name = name
		r.result.Steps = append(r.result.Steps, step)
		if n == 1 {
			took := time.Since(began).Seconds()
			read := r.meter.consumed.Load() - before
			r.note("Beside the load, %d records/s were read on average in the %.1f s until everybody had read all.",
				int64(float64(read)/took), took)
		}
	}
}

// addCatchUp starts the readers of everything.
func (r *run) addCatchUp() error {
	from := append(append([]*writer{}, r.fillers...), r.writers...)
	for n := range r.w.CatchUp {
		reader, err := r.newReader(fmt.Sprintf("catch-up reader %d", n+1), from, r.starts)
		if err != nil {
			return err
		}
		reader.timed = false
		r.meter.sampling.Lock() // the meter looks at the lag of all readers
		r.readers = append(r.readers, reader)
		r.meter.sampling.Unlock()
		reader.start()
	}
	return nil
}
