package consumer

import (
	"bytes"
	"slices"

	"spate/coordinator/group/assignor"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// owned are partitions with the epoch at which each was assigned: sorted by topic id and partition, no topic without
// partitions, and as many epochs as partitions. A list is never changed once it is in a member.
type owned []record.TopicPartitions

func compareIDs(a, b kafka.UUID) int { return bytes.Compare(a[:], b[:]) }

// topic gives the part of the list that is about one topic.
func (o owned) topic(id kafka.UUID) record.TopicPartitions {
	at, ok := slices.BinarySearchFunc(o, id, func(t record.TopicPartitions, id kafka.UUID) int {
		return compareIDs(t.TopicID, id)
	})
	if !ok {
		return record.TopicPartitions{TopicID: id}
	}
	return o[at]
}

// epoch is the epoch at which the partition was assigned; ok says whether it is in the list.
func (o owned) epoch(id kafka.UUID, partition int32) (epoch int32, ok bool) {
	t := o.topic(id)
	at, ok := slices.BinarySearch(t.Partitions, partition)
	if !ok {
		return 0, false
	}
	return t.AssignmentEpochs[at], true
}

// equal compares the epochs too.
func (o owned) equal(other owned) bool { return slices.EqualFunc(o, other, equalTopic) }

func equalTopic(a, b record.TopicPartitions) bool {
	return a.TopicID == b.TopicID && slices.Equal(a.Partitions, b.Partitions) &&
		slices.Equal(a.AssignmentEpochs, b.AssignmentEpochs)
}

// add appends a partition of a topic that does not sort before the last one.
func (o owned) add(id kafka.UUID, partition, epoch int32) owned {
	if len(o) == 0 || o[len(o)-1].TopicID != id {
		o = append(o, record.TopicPartitions{TopicID: id})
	}
	last := &o[len(o)-1]
	last.Partitions = append(last.Partitions, partition)
	last.AssignmentEpochs = append(last.AssignmentEpochs, epoch)
	return o
}

// merge is the union of two lists that have no partition in common.
func (o owned) merge(other owned) owned {
	if len(o) == 0 {
		return other
	}
	return normalize(append(slices.Clone(o), other...), 0)
}

// withEpoch gives the same partitions, all with one epoch.
func (o owned) withEpoch(epoch int32) owned {
	all := slices.Clone(o)
	for i := range all {
		all[i].AssignmentEpochs = slices.Repeat([]int32{epoch}, len(all[i].Partitions))
	}
	return all
}

// bare gives the partitions without epochs, as answers have them; it is never nil.
func (o owned) bare() []TopicPartitions {
	all := make([]TopicPartitions, len(o))
	for i, t := range o {
		all[i] = TopicPartitions{TopicID: t.TopicID, Partitions: t.Partitions}
	}
	return all
}

// normalize makes a list out of what a record holds: another program may have written it in any order, and before
// Kafka 4.3 without epochs, which are then taken to be that of the member.
func normalize(list []record.TopicPartitions, epoch int32) owned {
	if isNormal(list) {
		return list
	}
	epochs := map[kafka.UUID]map[int32]int32{}
	for _, t := range list {
		known := len(t.AssignmentEpochs) == len(t.Partitions)
		for i, partition := range t.Partitions {
			if epochs[t.TopicID] == nil {
				epochs[t.TopicID] = map[int32]int32{}
			}
			epochs[t.TopicID][partition] = max(epoch, 0)
			if known {
				epochs[t.TopicID][partition] = t.AssignmentEpochs[i]
			}
		}
	}
	var o owned
	for _, id := range sortedIDs(epochs) {
		for _, partition := range sortedKeys(epochs[id]) {
			o = o.add(id, partition, epochs[id][partition])
		}
	}
	return o
}

func isNormal(list []record.TopicPartitions) bool {
	for i, t := range list {
		if i > 0 && compareIDs(list[i-1].TopicID, t.TopicID) >= 0 {
			return false
		}
		if len(t.Partitions) == 0 || len(t.AssignmentEpochs) != len(t.Partitions) {
			return false
		}
		for j := 1; j < len(t.Partitions); j++ {
			if t.Partitions[j-1] >= t.Partitions[j] {
				return false
			}
		}
	}
	return true
}

// listTarget is a target assignment as its record holds it.
func listTarget(p assignor.Partitions) []record.TopicPartitions {
	list := make([]record.TopicPartitions, 0, len(p))
	for _, id := range sortedIDs(p) {
		list = append(list, record.TopicPartitions{TopicID: id, Partitions: p[id]})
	}
	return list
}

// mapTarget is the target assignment that a record holds.
func mapTarget(list []record.TopicPartitions) assignor.Partitions {
	p := make(assignor.Partitions, len(list))
	for _, t := range list {
		if len(t.Partitions) == 0 {
			continue
		}
		partitions := t.Partitions
		if _, twice := p[t.TopicID]; twice || !slices.IsSorted(partitions) {
			partitions = slices.Concat(p[t.TopicID], partitions)
			slices.Sort(partitions)
		}
		p[t.TopicID] = slices.Compact(partitions)
	}
	return p
}

// equalTargets compares two target assignments. An assignor shares the maps of members for whom nothing changed.
func equalTargets(a, b assignor.Partitions) bool {
	if len(a) != len(b) {
		return false
	}
	for id, partitions := range a {
		if !slices.Equal(partitions, b[id]) {
			return false
		}
	}
	return true
}

func sortedIDs[V any](m map[kafka.UUID]V) []kafka.UUID {
	ids := make([]kafka.UUID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}
