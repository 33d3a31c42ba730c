package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"spate/bench/rate"
	"spate/bench/result"
	"spate/bench/verify"
	"spate/internal/task"
)

// step is a stretch of load: at a schedule, or as fast as it goes until a length or a count is reached.
type step struct {
	run      *run
	schedule *rate.Schedule // nil: as fast as it goes
	length   time.Duration
	records  int64 // 0: not bounded
	backlog  bool  // written to be read later
	// giveUp is how late a record may be before the step is given up; 0: whatever it takes, all are sent.
	giveUp time.Duration

	began    time.Time
	taken    atomic.Int64 // records that writers took, of those that are bounded
	hopeless atomic.Bool
}

// newStep makes a step at a rate, or between two; with 0 as fast as it goes.
func (r *run) newStep(from, to float64, length time.Duration) *step {
	s := &step{run: r, length: length}
	if to > 0 {
		s.schedule = &rate.Schedule{From: from, To: to, Length: length}
	}
	return s
}

// over reports whether writers are to stop before they are done.
func (s *step) over() bool {
	return s.run.soft.Err() != nil || s.run.sending.Err() != nil || s.hopeless.Load() || s.run.meter.tooMany()
}

// write lets the writers run the step, and returns when all is acknowledged or has failed.
func (s *step) write(writers []*writer) {
	s.began = time.Now()
	var running task.Group
	for n, w := range writers {
		running.Go("bench: writer", func() {
			switch {
			case w.run.w.Kind == "transactions":
				w.transact(s, n, len(writers))
			case s.schedule != nil:
				w.onSchedule(s, n, len(writers))
			default:
				w.asFast(s)
			}
			w.flush()
		})
	}
	running.Wait()
}

func (s *step) flags() uint32 {
	if s.backlog {
		return verify.Backlog
	}
	return 0
}

// asFast sends without a schedule: a record is due when there is a place for it, and it is handed to the client.
func (w *writer) asFast(s *step) {
	flags := s.flags()
	for !s.over() {
		if s.length > 0 && time.Since(s.began) >= s.length {
			return
		}
		if s.records > 0 && s.taken.Add(1) > s.records {
			return
		}
		w.send(time.Time{}, flags)
	}
}

// onSchedule sends every nth record of the schedule when it is due. Sleeping is too coarse for gaps of 100 µs, spinning
// would take a core: it sleeps a millisecond at most, then sends all that is due. What is late is sent late, and none
// is left out.
func (w *writer) onSchedule(s *step, first, every int) {
	m := w.run.meter
	count := s.schedule.Count()
	if s.records > 0 {
		count = min(count, s.records)
	}
	for n := int64(first); n < count; n += int64(every) {
		due := s.due(n)
		if !s.await(due) {
			return
		}
		w.send(due, s.flags())
		m.sent(due)
		if s.giveUp > 0 && time.Since(due) > s.giveUp {
			s.hopeless.Store(true)
		}
	}
}

// await waits for a moment; it reports whether the step goes on.
func (s *step) await(due time.Time) bool {
	for {
		left := time.Until(due)
		if s.over() {
			return false
		}
		if left <= 0 {
			return true
		}
		time.Sleep(min(left, time.Millisecond))
	}
}

// load runs warm-up and steps, and keeps the series.
func (r *run) load() {
	r.meter.start(result.PhaseWarmUp)
	defer r.meter.end()
	r.result.Began = r.meter.began
	if len(r.readers) > 0 {
		r.meter.lag = r.lag
	}
	for _, reader := range r.readers {
		reader.start()
	}
	if r.group != nil && r.w.Churn > 0 {
		ctx, cancel := context.WithCancel(r.soft)
		var churning task.Group
		churning.Go("bench: churn", func() { r.group.churn(ctx) })
		defer churning.Wait()
		defer cancel()
	}
	if r.w.WarmUp > 0 && len(r.writers) > 0 {
		r.progress.enter(result.PhaseWarmUp, r.w.WarmUp)
		first := r.w.Rate
		if len(r.w.Steps) > 0 {
			first = r.w.Steps[0]
		} else if r.w.RampFrom > 0 {
			first = r.w.RampFrom
		}
		r.runStep(r.newStep(first, first, r.w.WarmUp), result.PhaseWarmUp, 0)
	}
	began := time.Now()
	switch {
	case r.w.Kind == "consume":
		r.readAll()
	case r.w.Kind == "catch-up":
		r.catchUp()
	case r.w.Find != nil:
		r.search()
	case len(r.w.Steps) > 0:
		r.progress.enter(result.PhaseLoad, r.w.StepLength*time.Duration(len(r.w.Steps)))
		for n, rate := range r.w.Steps {
			if r.soft.Err() != nil {
				break
			}
			r.keepStep(r.runStep(r.newStep(rate, rate, r.w.StepLength), result.PhaseLoad, n+1))
		}
	default:
		r.steady()
	}
	r.result.LoadSeconds = time.Since(began).Seconds()
}

// steady is one stretch of load, at one rate or as it goes.
func (r *run) steady() {
	length := r.w.Length
	from := r.w.Rate
	if r.w.RampFrom > 0 {
		from = r.w.RampFrom
	}
	if length == 0 && r.w.Rate > 0 {
		length = time.Duration(float64(r.w.Records) / ((from + r.w.Rate) / 2) * float64(time.Second))
	}
	s := r.newStep(from, r.w.Rate, length)
	s.records = r.w.Records
	r.progress.enter(result.PhaseLoad, length)
	if length == 0 {
		before := r.meter.produced.Load()
		r.progress.counting(func() int64 { return r.meter.produced.Load() - before },
			func() int64 { return r.w.Records })
	}
	r.runStep(s, result.PhaseLoad, 0)
}

// runStep runs a step and waits until everybody has read it. It gives what it was like.
func (r *run) runStep(s *step, phase string, number int) (result.Step, map[string]*result.Histogram) {
	m := r.meter
	began := time.Now()
	m.enter(phase, number, func(now time.Time) float64 {
		if s.schedule == nil {
			return 0
		}
		return s.schedule.At(now.Sub(began))
	})
	before := m.produced.Load()
	s.write(r.writers)
	last := m.lastProduced.Load()
	if s.schedule != nil {
		last = m.lastOf(began.UnixNano())
	}
	seconds := time.Duration(last - began.UnixNano()).Seconds()
	if phase == result.PhaseLoad && number == 0 {
		r.progress.enter(result.PhaseDrain, 0)
	}
	r.drain()
	m.sample()
	out := result.Step{Seconds: max(0, seconds), Latencies: map[string]result.Percentiles{},
		BehindSeconds: time.Duration(m.behindMost.Load()).Seconds()}
	if !s.over() { // else it was shorter than planned
		out.Seconds = max(seconds, s.length.Seconds())
	}
	if s.schedule != nil {
		out.Rate = s.schedule.To
	}
	if out.Seconds > 0 {
		out.Achieved = float64(m.produced.Load()-before) / out.Seconds
	}
	latencies := m.stepLatencies()
	for name, h := range latencies {
		out.Latencies[name] = h.Percentiles()
	}
	if phase == result.PhaseLoad {
		r.result.Totals.BehindSeconds = max(r.result.Totals.BehindSeconds, out.BehindSeconds)
	}
	return out, latencies
}

func (r *run) keepStep(s result.Step, _ map[string]*result.Histogram) {
	r.result.Steps = append(r.result.Steps, s)
}

// hopelessAfter is how late a try of a search may be: then the rate is far above what the broker takes.
const hopelessAfter = 2 * time.Second

// search looks for the highest rate within the objective.
func (r *run) search() {
	find := r.w.Find
	s := rate.NewSearch(r.w.Rate, r.w.RateMax, r.w.Precision)
	r.progress.enter(result.PhaseLoad, 0)
	n := 0
	next, ok := s.Next()
	for ; ok && r.soft.Err() == nil && !r.meter.tooMany(); next, ok = s.Next() {
		n++
		try := r.newStep(next, next, r.w.StepLength)
		try.giveUp = max(hopelessAfter, 4*find.Below)
		failures := r.meter.failures.Load()
		step, latencies := r.runStep(try, result.PhaseLoad, n)
		if r.soft.Err() != nil {
			break // what was interrupted says nothing
		}
		step.Why = r.why(try, step, latencies[find.Latency], r.meter.failures.Load()-failures)
		met := step.Why == ""
		step.Met = &met
		r.result.Steps = append(r.result.Steps, step)
		s.Report(met)
	}
	met, failed := s.Best()
	r.result.Search = &result.Search{Objective: find.String(), Rate: met, Failed: failed, Whole: !ok}
}

// why says why a try did not meet the objective, or nothing.
func (r *run) why(s *step, step result.Step, h *result.Histogram, failures int64) string {
	find := r.w.Find
	switch {
	case failures > 0:
		return fmt.Sprintf("%d errors", failures)
	case s.hopeless.Load():
		return fmt.Sprintf("given up %.1f s behind the rate", step.BehindSeconds)
	case h == nil:
		return "nothing arrived"
	case h.At(find.Percent) >= find.Below:
		return fmt.Sprintf("%s is %v", percentText(find.Percent), h.At(find.Percent).Round(10*time.Microsecond))
	}
	return ""
}

func percentText(percent float64) string {
	if percent == 100 {
		return "the maximum"
	}
	return fmt.Sprintf("p%v", percent)
}
