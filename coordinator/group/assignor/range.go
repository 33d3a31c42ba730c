package assignor

import "spate/kafka"

// dealt is how far the partitions of one topic are given out by range.
type dealt struct {
	partitions  int
	subscribers int
	served      int   // members that have had their turn
	next        int32 // the first partition not given out
}

// assignRange gives each topic's subscribers, static ones first, consecutive partitions: as many to each, and one more
// to the first ones where they do not come out even. What members had before does not matter, as in Kafka.
func assignRange(spec Spec) Assignment {
	topics := make(map[kafka.UUID]*dealt)
	for i := range spec.Members {
		for _, topic := range spec.Members[i].Topics {
			d := topics[topic]
			if d == nil {
				d = &dealt{partitions: spec.Topics[topic].Partitions}
				topics[topic] = d
			}
			d.subscribers++
		}
	}
	assignment := make(Assignment, len(spec.Members))
	for _, m := range staticFirst(spec.Members) {
		parts := make(Partitions, len(m.Topics))
		for _, topic := range m.Topics {
			if run := topics[topic].deal(); len(run) > 0 {
				parts[topic] = run
			}
		}
		assignment[m.ID] = parts
	}
	return assignment
}

// deal gives the next member its run of partitions.
func (d *dealt) deal() []int32 {
	count := d.partitions / d.subscribers
	if d.served < d.partitions%d.subscribers {
		count++
	}
	d.served++
	run := make([]int32, count)
	for i := range run {
		run[i] = d.next
		d.next++
	}
	return run
}
