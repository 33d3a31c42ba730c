package rate

// Search looks for the highest rate that meets an objective: it doubles the rate until one fails, then halves the gap
// between the highest that met it and the lowest that did not. A rate that fails is tried again once before that is
// believed, as a machine hiccups; the answer met the objective whenever it was tried last.
//
//	for rate, ok := s.Next(); ok; rate, ok = s.Next() { s.Report(try(rate)) }
type Search struct {
	max       float64
	precision float64 // the gap at which it ends, as a share of the highest rate that met the objective
	rate      float64 // to try now
	again     bool    // it has failed once
	met       float64 // the highest that did; 0: none yet
	failed    float64 // the lowest that did not; 0: none yet
	tries     int
	done      bool
}

// triesMax bounds a search: from 1 to 2^20 and twenty halvings, each tried twice, is less.
const triesMax = 100

// NewSearch begins at a rate, and never tries more than a maximum (0: whatever is reached). The precision is a share,
// such as 0.05.
func NewSearch(start, max, precision float64) *Search {
	s := &Search{max: max, precision: precision, rate: start}
	if max > 0 && start > max {
		s.rate = max
	}
	return s
}

// Next is the rate to try, unless the search is over.
func (s *Search) Next() (rate float64, ok bool) {
	return s.rate, !s.done
}

// Report says whether the rate of Next met the objective.
func (s *Search) Report(met bool) {
	s.tries++
	switch {
	case met:
		s.met, s.again = s.rate, false
	case !s.again:
		s.again = true
		s.done = s.tries >= triesMax
		return
	default:
		s.failed, s.again = s.rate, false
	}
	switch {
	case s.failed == 0 && s.max > 0 && s.met >= s.max:
		s.done = true
	case s.failed == 0:
		s.rate = s.met * 2
		if s.max > 0 {
			s.rate = min(s.rate, s.max)
		}
	case s.failed-s.met <= s.precision*s.failed, s.failed < 2:
		s.done = true
	default:
		s.rate = (s.met + s.failed) / 2
	}
	s.done = s.done || s.tries >= triesMax
}

// Best is the highest rate that met the objective, and the lowest that did not; 0: none.
func (s *Search) Best() (met, failed float64) { return s.met, s.failed }
