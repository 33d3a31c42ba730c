package bench

import (
	"sync"
	"time"

	"spate/bench/result"
	"spate/internal/task"
)

// Progress is how far a run is.
type Progress struct {
	Phase    string         // see package result
	Second   *result.Second // of the phases from warm-up to drain, once a second; else nil
	Fraction float64        // of the phase that is done, from 0 to 1; negative: unknown
	Left     time.Duration  // of the phase, as far as that is known; 0: unknown
}

// progress follows a run and tells the observer. Any goroutine may use it.
type progress struct {
	observe func(Progress) // nil: nobody looks

	mu    sync.Mutex
	phase string
	began time.Time
	ends  time.Time // as planned; zero: unknown
	done  func() int64
	due   func() int64
}

// enter begins a phase, of which the length is known or 0.
func (p *progress) enter(phase string, length time.Duration) {
	p.mu.Lock()
	p.phase, p.began, p.ends, p.done, p.due = phase, time.Now(), time.Time{}, nil, nil
	if length > 0 {
		p.ends = p.began.Add(length)
	}
	p.mu.Unlock()
	p.second(nil)
}

// counting makes the progress of the phase that of a count.
func (p *progress) counting(done, due func() int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.due = done, due
}

// second tells the observer how far the run is.
func (p *progress) second(s *result.Second) {
	if p.observe == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	told := Progress{Phase: p.phase, Second: s, Fraction: -1}
	passed := time.Since(p.began)
	switch {
	case p.done != nil:
		if due := p.due(); due > 0 {
			told.Fraction = min(1, float64(p.done())/float64(due))
		}
		if told.Fraction > 0 {
			told.Left = time.Duration(float64(passed) * (1 - told.Fraction) / told.Fraction)
		}
	case !p.ends.IsZero():
		whole := p.ends.Sub(p.began)
		told.Fraction = min(1, passed.Seconds()/whole.Seconds())
		told.Left = max(0, whole-passed)
	}
	p.observe(told)
}

// ticking tells the observer once a second of a phase that has no series, until the returned function is called.
func (p *progress) ticking() func() {
	done := make(chan struct{})
	var ticks task.Group
	ticks.Go("bench: progress", func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				p.second(nil)
			}
		}
	})
	return func() {
		close(done)
		ticks.Wait()
	}
}
