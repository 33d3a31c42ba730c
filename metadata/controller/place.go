package controller

import (
	"encoding/binary"
	"slices"
	"strings"

	"spate/kafka"
	"spate/metadata/image"
)

// place spreads the replicas of a topic's partitions over the brokers:
//   - leaders go round the active brokers, so that each leads as many partitions as any other, give or take one;
//   - the replicas of one partition lie in as many racks as there are, each next one where the fewest are;
//   - who follows whom shifts with every round, so that the load of a failed broker falls on all the others;
//   - fenced brokers hold a replica only when the active ones do not suffice, and then as the last.
//
// Where the round begins depends on the topic's id, so that many topics of one partition do not all meet on the first
// broker; everything else follows from the arguments, so that the same command gives the same records.
func place(brokers []*image.Broker, partitions, factor int, topic kafka.UUID) ([][]kafka.BrokerID, error) {
	stripe := newStripe(brokers)
	switch {
	case factor <= 0:
		return nil, unable(factor, "Invalid replication factor %d: the replication factor must be positive.", factor)
	case len(stripe.active) == 0:
		return nil, unable(factor, "All brokers are currently fenced, or have all their log directories cordoned.")
	case factor > len(brokers):
		return nil, unable(
			factor,
			"The target replication factor of %d cannot be reached because only %d broker(s) are "+
				"registered or some brokers have all their log directories cordoned.",
			factor,
			len(brokers),
		)
	}
	if partitions <= 0 {
		return nil, refuse(
			kafka.InvalidPartitions,
			"Invalid number of partitions %d: there must be at least one.",
			partitions,
		)
	}
	first := int(binary.BigEndian.Uint32(topic[:]) % uint32(len(stripe.active)))
	placed := make([][]kafka.BrokerID, partitions)
	for i := range placed {
		placed[i] = stripe.replicas(first+i, factor)
	}
	return placed, nil
}

func unable(factor int, format string, args ...any) error {
	why := refuse(kafka.InvalidReplicationFactor, format, args...)
	return refuse(kafka.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): %s", factor, why)
}

// stripe is the brokers in an order in which neighbours are in different racks, as far as possible.
type stripe struct {
	active []spot
	fenced []spot
}

// spot is a broker and the number of its rack; brokers without a rack share one.
type spot struct {
	broker kafka.BrokerID
	rack   int
}

func newStripe(brokers []*image.Broker) stripe {
	racks := map[string][]*image.Broker{}
	var names []string
	for _, b := range brokers {
		name := ""
		if b.Rack != nil {
			name = *b.Rack
		}
		if racks[name] == nil {
			names = append(names, name)
		}
		racks[name] = append(racks[name], b)
	}
	slices.SortFunc(names, strings.Compare)
	var s stripe
	for row, left := 0, len(brokers); left > 0; row++ {
		for rack, name := range names {
			if row >= len(racks[name]) {
				continue
			}
			left--
			b := racks[name][row]
			if b.Active() {
				s.active = append(s.active, spot{b.ID, rack})
			} else {
				s.fenced = append(s.fenced, spot{b.ID, rack})
			}
		}
	}
	return s
}

// replicas gives the brokers of the partition that is the n-th from the start of the round.
func (s stripe) replicas(n, factor int) []kafka.BrokerID {
	count := len(s.active)
	start, round := n%count, n/count
	taken := make([]bool, count)
	taken[start] = true
	chosen := []kafka.BrokerID{s.active[start].broker}
	inRack := map[int]int{s.active[start].rack: 1}
	for len(chosen) < min(factor, count) {
		best := -1
		for step := range count {
			at := (start + 1 + (round+step)%count) % count
			if !taken[at] && (best < 0 || inRack[s.active[at].rack] < inRack[s.active[best].rack]) {
				best = at
			}
		}
		taken[best] = true
		inRack[s.active[best].rack]++
		chosen = append(chosen, s.active[best].broker)
	}
	for i := 0; len(chosen) < factor; i++ {
		chosen = append(chosen, s.fenced[(n+i)%len(s.fenced)].broker)
	}
	return chosen
}
