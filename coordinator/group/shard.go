// Package group is the coordinator of groups for one partition of __consumer_offsets: the machine that decides about
// joins, heartbeats, committed offsets and the administration of groups.
//
// A Shard holds the groups whose ids hash to its partition. It owns which kind of group an id stands for (classic,
// consumer, or one that merely has offsets) and hands commands on to the machines of the packages classic, consumer and
// offsets. It never writes or sends anything itself: see coordinator.Outcome. coordinator/runtime drives each shard on
// one goroutine.
//
//tidy:pure
package group

import (
	"errors"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/group/record"
	"spate/kafka"
	"spate/metadata/image"
)

// The shard's own timers. The kinds below 20 belong to the groups, see packages classic and consumer.
const (
	timerExpiry uint8 = 20 // the next search for expired offsets and groups begins
	timerSweep  uint8 = 21 // a search goes on with its next turn
)

// The timers of a classic group have kinds up to this, those of a consumer group the next ones.
const timerClassicLast uint8 = 9

// retryInterval is how long a timer waits whose records could not be written; the value is Kafka's.
const retryInterval = 500 * time.Millisecond

// Settings are the limits of one group: the broker's, with what is set for the group itself.
type Settings struct {
	Classic  classic.Settings
	Consumer consumer.Settings
}

// Options is what a shard needs to know.
type Options struct {
	// Settings gives the limits of a group for which these configs are set; nil is none.
	Settings func(overrides map[string]string) Settings
	Offsets  offsets.Settings
	// ExpiryInterval is offsets.retention.check.interval.ms.
	ExpiryInterval time.Duration
	// Image is the cluster as it is now. A NewImage follows it.
	Image *image.Image
}

// Shard is the coordinator of one partition's groups; it is a machine of coordinator/runtime.
type Shard struct {
	options  Options
	cluster  *consumer.Cluster
	decoder  record.Decoder
	classic  map[string]*classic.Group
	consumer map[string]*consumer.Group // no id is in both maps
	offsets  *offsets.Table
	sweeps   sweeps
	fired    coordinator.TimerKey // what was decided last followed from this timer; its zero value is none
}

// NewShard makes a shard without groups, ready for the records of its partition.
func NewShard(o Options) *Shard {
	return &Shard{
		options:  o,
		cluster:  consumer.NewCluster(o.Image),
		classic:  map[string]*classic.Group{},
		consumer: map[string]*consumer.Group{},
		offsets:  offsets.NewTable(o.Offsets),
		sweeps:   sweeps{recordsMax: sweepRecordsMax},
	}
}

// Decode decodes a record of the partition.
func (s *Shard) Decode(key, value []byte) (coordinator.Record, error) {
	return s.decoder.Decode(key, value)
}

// Apply makes a record part of the state.
func (s *Shard) Apply(r coordinator.Record, at coordinator.Place) {
	switch r := r.(type) {
	case *record.OffsetCommit:
		s.offsets.Apply(r, at)
	case *record.Group:
		s.applyClassic(r)
	case *record.ConsumerGroup:
		s.applyConsumer(r.Group, r, r.Deleted)
		if r.Deleted {
			s.offsets.Forget(r.Group)
		}
	case *record.PartitionMetadata:
		s.applyConsumer(r.Group, r, true) // says nothing about the group
	case *record.Member:
		s.applyConsumer(r.Group, r, r.Deleted)
	case *record.Target:
		s.applyConsumer(r.Group, r, r.Deleted)
	case *record.TargetMember:
		s.applyConsumer(r.Group, r, r.Deleted)
	case *record.CurrentMember:
		s.applyConsumer(r.Group, r, r.Deleted)
	case *record.RegularExpression:
		s.applyConsumer(r.Group, r, r.Deleted)
	}
}

func (s *Shard) applyClassic(r *record.Group) {
	g := s.classic[r.Group]
	if r.Deleted {
		if g != nil {
			g.Apply(r)
			delete(s.classic, r.Group)
		}
		s.offsets.Forget(r.Group)
		return
	}
	if g == nil {
		delete(s.consumer, r.Group)
		g = classic.New(r.Group, s.settings(r.Group).Classic)
		s.classic[r.Group] = g
	}
	g.Apply(r)
}

// applyConsumer applies a record of a consumer group, which it makes if there is none and the record is no tombstone.
func (s *Shard) applyConsumer(id string, r coordinator.Record, isTombstone bool) {
	g := s.consumer[id]
	if g == nil {
		if isTombstone {
			return
		}
		delete(s.classic, id)
		g = consumer.New(id, s.settings(id).Consumer)
		s.consumer[id] = g
	}
	g.Apply(r)
	if !g.Exists() {
		delete(s.consumer, id)
	}
}

// ApplyMarker ends the transaction of a producer.
func (s *Shard) ApplyMarker(producer kafka.ProducerID, _ kafka.ProducerEpoch, committed bool) {
	s.offsets.ApplyMarker(producer, committed)
}

// Loaded starts the sessions of all members and the search for what has expired.
func (s *Shard) Loaded(now time.Time) coordinator.Outcome {
	s.decoder = record.Decoder{} // the names that it keeps are of use while the log is read
	var out coordinator.Outcome
	for _, id := range sortedIDs(s.classic) {
		out.Join(s.classic[id].Loaded(now))
	}
	for _, id := range sortedIDs(s.consumer) {
		out.Join(s.consumer[id].Loaded(now))
	}
	out.SetTimer(coordinator.TimerKey{Kind: timerExpiry}, now.Add(s.options.ExpiryInterval))
	return out
}

// Fired carries out what a timer was set for.
func (s *Shard) Fired(now time.Time, key coordinator.TimerKey) coordinator.Outcome {
	var out coordinator.Outcome
	s.sweeps.isTurn, s.fired = false, key
	switch {
	case key.Kind == timerExpiry:
		s.beginExpiry(&out, now)
	case key.Kind == timerSweep:
		s.sweep(&out, now)
	case key.Kind == consumer.TimerDowngraded:
		out = s.downgraded(now, key)
	case key.Kind <= timerClassicLast:
		if g := s.classic[key.Group]; g != nil {
			out = g.Fired(now, key)
			s.forgetUnused(key.Group, &out)
		}
	default:
		if g := s.consumer[key.Group]; g != nil {
			out = g.Fired(now, s.cluster, key)
			s.forgetUnused(key.Group, &out)
		}
	}
	return out
}

// downgraded starts the sessions of a classic group that was a consumer group, and asks its members to join again if
// one of them has gone.
func (s *Shard) downgraded(now time.Time, key coordinator.TimerKey) coordinator.Outcome {
	g := s.classic[key.Group]
	if g == nil {
		return coordinator.Outcome{}
	}
	out := g.Loaded(now)
	if key.Member == consumer.RebalanceDowngraded {
		out.Join(g.Rebalance(now, "the last member of the consumer protocol has left"))
	}
	return out
}

// Refused takes back what a group meant to happen with records that do not fit into a batch, or on the disk.
func (s *Shard) Refused(now time.Time, records []coordinator.Record, why error) coordinator.Outcome {
	var out coordinator.Outcome
	tooLarge := errors.Is(why, kafka.RecordListTooLarge)
	if s.sweeps.isTurn {
		s.sweeps.retry(&out, now, tooLarge)
		return out
	}
	id, ok := groupOf(records)
	if !ok {
		return out
	}
	switch g := s.classic[id]; {
	case g == nil:
	case s.consumer[id] != nil: // which was to make way for it
		out = g.Release(now)
		delete(s.classic, id)
	default:
		out = g.Refused(now, !tooLarge)
	}
	if s.fired.Kind > timerClassicLast {
		out.SetTimer(s.fired, now.Add(retryInterval)) // nothing else would come back to it
	}
	s.forgetUnused(id, &out)
	return out
}

// groupOf is the group whose existence or members the records are about.
func groupOf(records []coordinator.Record) (id string, ok bool) {
	for _, r := range records {
		switch r := r.(type) {
		case *record.Group:
			return r.Group, true
		case *record.ConsumerGroup:
			return r.Group, true
		case *record.Member:
			return r.Group, true
		}
	}
	return "", false
}

// forgetUnused drops a group that was made to decide about a command and has come to nothing: it has no record, and
// nobody has joined or is about to.
func (s *Shard) forgetUnused(id string, out *coordinator.Outcome) {
	if len(out.Records) > 0 {
		return
	}
	if g := s.classic[id]; g != nil && !g.HasRecord() && g.IsSimple() && g.Size() == 0 {
		delete(s.classic, id)
	}
	if g := s.consumer[id]; g != nil && !g.Exists() {
		delete(s.consumer, id)
	}
}

// settings are the limits of a group.
func (s *Shard) settings(id string) Settings {
	return s.options.Settings(s.cluster.Image().Configs(image.Resource{Type: image.ResourceGroup, Name: id}))
}
