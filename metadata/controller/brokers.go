package controller

import (
	"slices"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// RegisterBroker registers a broker process. Its epoch is the offset of the record, so that a later process of the
// same broker always has a higher one. The same incarnation may register again to amend its registration, and keeps
// its epoch.
//
// Sessions, by which Kafka refuses a second process with the id of a live one, come with the brokers' heartbeats;
// until then the latest registration wins and fences the one before by its epoch.
type RegisterBroker struct {
	BrokerID      kafka.BrokerID
	ClusterID     string
	IncarnationID kafka.UUID // drawn by the process when it starts
	Endpoints     []record.Endpoint
	Features      []record.FeatureRange // what the broker supports
	Rack          *string               // nil: none
	LogDirs       []kafka.UUID
	Fenced        bool // false: the broker may lead as soon as the registration commits
}

// RegisterBrokerReply is the epoch that the broker has to name in its requests.
type RegisterBrokerReply struct {
	Epoch kafka.BrokerEpoch
}

func (RegisterBrokerReply) reply() {}

func (cmd RegisterBroker) decide(c *Controller) Outcome {
	if err := cmd.check(c.image); err != nil {
		return Outcome{Err: err}
	}
	epoch := kafka.BrokerEpoch(c.image.EndOffset())
	existing := c.image.Broker(cmd.BrokerID)
	amended := existing != nil && existing.IncarnationID == cmd.IncarnationID
	if amended {
		epoch = existing.Epoch
	}
	records := []record.Record{&record.RegisterBroker{
		BrokerID: cmd.BrokerID, IncarnationID: cmd.IncarnationID, BrokerEpoch: epoch, Endpoints: cmd.Endpoints,
		Features: cmd.Features, Rack: cmd.Rack, Fenced: cmd.Fenced, LogDirs: cmd.LogDirs,
	}}
	e := election{image: c.image, subject: cmd.BrokerID, leaves: !amended || cmd.Fenced, joins: !cmd.Fenced}
	records = append(e.appendChanges(records), cmd.newFeatures(c.image)...)
	return Outcome{Records: records, Reply: RegisterBrokerReply{Epoch: epoch}}
}

func (cmd RegisterBroker) check(now *image.Image) error {
	if cmd.ClusterID != now.ClusterID() {
		return refuse(kafka.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s",
			now.ClusterID(), cmd.ClusterID)
	}
	if len(cmd.LogDirs) == 0 {
		return refuse(kafka.InvalidRequest, "No directories specified in request")
	}
	for i, dir := range cmd.LogDirs {
		if reservedDirectory(dir) {
			return refuse(kafka.InvalidRequest, "Reserved directory ID in request")
		}
		if slices.Contains(cmd.LogDirs[:i], dir) {
			return refuse(kafka.InvalidRequest, "Duplicate directory ID in request")
		}
		for _, b := range now.Brokers() {
			if b.ID != cmd.BrokerID && slices.Contains(b.LogDirs, dir) {
				return refuse(kafka.InvalidRequest, "Broker %d is already registered with directory %s", b.ID, dir)
			}
		}
	}
	for _, finalized := range now.Features() {
		at := slices.IndexFunc(cmd.Features, func(f record.FeatureRange) bool { return f.Name == finalized.Name })
		supported := record.FeatureRange{}
		if at >= 0 {
			supported = cmd.Features[at]
		}
		if finalized.Level < supported.Min || finalized.Level > supported.Max {
			return refuse(kafka.UnsupportedVersion, "Unable to register because the broker does not support finalized "+
				"version %d of %s. The broker wants a version between %d and %d, inclusive.",
				finalized.Level, finalized.Name, supported.Min, supported.Max)
		}
	}
	return nil
}

// reservedDirectory says whether an id stands for a state (unassigned, lost, migrating) and not for a directory.
// Kafka sets the first hundred ids aside.
func reservedDirectory(id kafka.UUID) bool {
	for _, b := range id[:15] {
		if b != 0 {
			return false
		}
	}
	return id[15] < 100
}

// broker is the registration that has this epoch.
func (c *Controller) broker(id kafka.BrokerID, epoch kafka.BrokerEpoch) (*image.Broker, error) {
	b := c.image.Broker(id)
	if b == nil {
		return nil, refuse(kafka.BrokerIDNotRegistered, "No broker registration found for broker id %d", id)
	}
	if b.Epoch != epoch {
		return nil, refuse(kafka.StaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.Epoch, epoch)
	}
	return b, nil
}

// FenceBroker takes leadership from a broker and hides it from clients.
type FenceBroker struct {
	BrokerID    kafka.BrokerID
	BrokerEpoch kafka.BrokerEpoch
}

// FenceBrokerReply is the reply to FenceBroker.
type FenceBrokerReply struct{}

func (FenceBrokerReply) reply() {}

func (cmd FenceBroker) decide(c *Controller) Outcome {
	b, err := c.broker(cmd.BrokerID, cmd.BrokerEpoch)
	if err != nil {
		return Outcome{Err: err}
	}
	if b.Fenced {
		return Outcome{Reply: FenceBrokerReply{}}
	}
	records := []record.Record{&record.BrokerRegistrationChange{
		BrokerID: cmd.BrokerID, BrokerEpoch: cmd.BrokerEpoch, Fenced: record.Fence}}
	e := election{image: c.image, subject: cmd.BrokerID, leaves: true}
	return Outcome{Records: e.appendChanges(records), Reply: FenceBrokerReply{}}
}

// UnfenceBroker lets a broker that has caught up lead.
type UnfenceBroker struct {
	BrokerID    kafka.BrokerID
	BrokerEpoch kafka.BrokerEpoch
}

// UnfenceBrokerReply is the reply to UnfenceBroker.
type UnfenceBrokerReply struct{}

func (UnfenceBrokerReply) reply() {}

func (cmd UnfenceBroker) decide(c *Controller) Outcome {
	b, err := c.broker(cmd.BrokerID, cmd.BrokerEpoch)
	if err != nil {
		return Outcome{Err: err}
	}
	if !b.Fenced {
		return Outcome{Reply: UnfenceBrokerReply{}}
	}
	records := []record.Record{&record.BrokerRegistrationChange{
		BrokerID: cmd.BrokerID, BrokerEpoch: cmd.BrokerEpoch, Fenced: record.Unfence}}
	e := election{image: c.image, subject: cmd.BrokerID, joins: true}
	return Outcome{Records: e.appendChanges(records), Reply: UnfenceBrokerReply{}}
}

// election finds the leaders and in-sync replicas after one broker left, joined, or did both at once: a new process
// took the place of the old one.
type election struct {
	image   *image.Image
	subject kafka.BrokerID
	leaves  bool
	joins   bool
}

// appendChanges adds a record for every partition whose leader or ISR changes, by topic and index.
func (e election) appendChanges(records []record.Record) []record.Record {
	for t := range e.image.Topics() {
		for index, p := range t.Partitions {
			change := record.NewPartitionChange(t.ID, kafka.PartitionIndex(index))
			if e.decide(p, change) {
				records = append(records, change)
			}
		}
	}
	return records
}

// decide fills in the change and reports whether there is one. A leader that is the same broker in a new process is
// a change too: it raises the leader epoch, so that what the old process may have lost shows as a new epoch.
func (e election) decide(p *image.Partition, change *record.PartitionChange) bool {
	isr, leader := p.ISR, p.Leader
	if e.leaves {
		if left := without(isr, e.subject); len(left) > 0 {
			isr = left // the last in-sync replica stays: only it has all that was acknowledged
		}
		if leader == e.subject {
			leader = kafka.NoBroker
		}
	}
	if leader == kafka.NoBroker {
		leader = e.elect(p.Replicas, isr)
	}
	if len(isr) != len(p.ISR) {
		change.ISR = isr
	}
	renewed := e.leaves && p.Leader == e.subject
	if leader != p.Leader || renewed {
		change.Leader = leader
	}
	return change.ISR != nil || change.Leader != record.NoLeaderChange
}

// elect takes the first replica that is in sync and active. None is elected from outside the ISR.
func (e election) elect(replicas, isr []kafka.BrokerID) kafka.BrokerID {
	for _, id := range replicas {
		if slices.Contains(isr, id) && e.active(id) {
			return id
		}
	}
	return kafka.NoBroker
}

func (e election) active(id kafka.BrokerID) bool {
	if id == e.subject {
		return e.joins
	}
	b := e.image.Broker(id)
	return b != nil && b.Active()
}

func without(ids []kafka.BrokerID, id kafka.BrokerID) []kafka.BrokerID {
	if !slices.Contains(ids, id) {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), func(other kafka.BrokerID) bool { return other == id })
}
