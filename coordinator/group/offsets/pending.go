package offsets

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"spate/coordinator/group/record"
	"spate/kafka"
)

// key names the offset of a group for a partition.
type key struct {
	group     string
	topic     string
	partition kafka.PartitionIndex
}

func (k key) compare(other key) int {
	return cmp.Or(strings.Compare(k.group, other.group), strings.Compare(k.topic, other.topic),
		cmp.Compare(k.partition, other.partition))
}

// pendingCommit is an offset whose transaction is open.
type pendingCommit struct {
	record *record.OffsetCommit
	at     kafka.Offset
}

// pending is the offsets of open transactions: few, for a short time.
type pending struct {
	producers map[kafka.ProducerID]map[key]pendingCommit
	open      map[key][]kafka.ProducerID // those that have the offset pending, in the order they came
	groups    map[string]int             // how many keys of open each group has
}

func newPending() pending {
	return pending{
		producers: map[kafka.ProducerID]map[key]pendingCommit{},
		open:      map[key][]kafka.ProducerID{},
		groups:    map[string]int{},
	}
}

func (p *pending) has(group string) bool { return p.groups[group] > 0 }

func (p *pending) hasKey(k key) bool { return len(p.open) > 0 && len(p.open[k]) > 0 }

func (p *pending) add(producer kafka.ProducerID, r *record.OffsetCommit, at kafka.Offset) {
	k := key{r.Group, r.Topic, r.Partition}
	commits := p.producers[producer]
	if commits == nil {
		commits = map[key]pendingCommit{}
		p.producers[producer] = commits
	}
	commits[k] = pendingCommit{r, at}
	if slices.Contains(p.open[k], producer) {
		return
	}
	if len(p.open[k]) == 0 {
		p.groups[k.group]++
	}
	p.open[k] = append(p.open[k], producer)
}

// clear forgets the offset in all transactions.
func (p *pending) clear(k key) {
	for _, producer := range p.open[k] {
		delete(p.producers[producer], k)
		if len(p.producers[producer]) == 0 {
			delete(p.producers, producer)
		}
	}
	p.close(k)
}

// close forgets that anybody has the offset pending.
func (p *pending) close(k key) {
	if len(p.open[k]) == 0 {
		return
	}
	delete(p.open, k)
	if p.groups[k.group]--; p.groups[k.group] == 0 {
		delete(p.groups, k.group)
	}
}

// end takes out what a producer has pending, by key.
func (p *pending) end(producer kafka.ProducerID) []pendingCommit {
	commits := p.producers[producer]
	delete(p.producers, producer)
	ended := make([]pendingCommit, 0, len(commits))
	for _, k := range slices.SortedFunc(maps.Keys(commits), key.compare) {
		ended = append(ended, commits[k])
		left := slices.DeleteFunc(p.open[k], func(other kafka.ProducerID) bool { return other == producer })
		if len(left) == 0 {
			p.close(k)
			continue
		}
		p.open[k] = left
	}
	return ended
}

// keys are the pending offsets of a group, sorted.
func (p *pending) keys(group string) []key {
	if !p.has(group) {
		return nil
	}
	var keys []key
	for k := range p.open {
		if k.group == group {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, key.compare)
	return keys
}
