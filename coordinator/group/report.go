package group

import (
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
)

// Report is how much a shard holds, for metrics.
type Report struct {
	Classic  [classic.Dead]int  // groups by state
	Consumer [consumer.Dead]int // groups by state
	Members  int
	Offsets  int
}

// Report counts what the shard holds. It looks at every group.
func (s *Shard) Report() any {
	var r Report
	known := 0 // groups of either kind that the table of offsets knows too
	for id, g := range s.classic {
		if state := g.State(); state != classic.Dead {
			r.Classic[state]++
		}
		r.Members += g.Size()
		if s.offsets.Knows(id) {
			known++
		}
	}
	for id, g := range s.consumer {
		if state := g.State(); state != consumer.Dead {
			r.Consumer[state]++
		}
		r.Members += g.MemberCount()
		if s.offsets.Knows(id) {
			known++
		}
	}
	r.Classic[classic.Empty] += s.offsets.GroupCount() - known
	r.Offsets = s.offsets.Count()
	return r
}
