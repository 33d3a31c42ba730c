package broker

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"spate/broker/purgatory"
	"spate/coordinator"
	"spate/coordinator/group"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/runtime"
	"spate/internal/config"
	"spate/internal/invariant"
	"spate/internal/metrics"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/image"
	"spate/partition"
	"spate/replica"
	"spate/segment"
)

// coordinators are what this broker does for groups: it runs a coordinator for each partition of __consumer_offsets
// that it leads.
type coordinators struct {
	settings config.Groups
	leading
}

func newCoordinators(b *Broker) (*coordinators, error) {
	c := &coordinators{
		settings: b.config.Get().Groups(), leading: leading{broker: b, topic: kafka.ConsumerOffsetsTopic},
	}
	codec, err := record.ParseCodec(c.settings.OffsetsTopicCompression)
	if err != nil {
		return nil, err
	}
	c.host = runtime.NewHost(runtime.Options{
		Clock: b.env.Clock, Log: b.env.Log, Topic: kafka.ConsumerOffsetsTopic, Codec: codec,
		NewMachine: c.newMachine, Merge: mergeImages,
		LoadTime:   b.registry.Histogram(metrics.CoordinatorLoadTime, ofGroups),
		CommitTime: b.registry.Histogram(metrics.CoordinatorTime, ofGroups),
	})
	return c, nil
}

// mergeImages makes one notice of two. What changed from the image before the earlier one is not known then.
func mergeImages(_, later any) any { return group.NewImage{Image: later.(group.NewImage).Image} }

// start follows all images that come from now on, and then the one that there is.
func (c *coordinators) start() { c.leading.start(c.news) }

// news tells the shards about what they care for in a new image.
func (c *coordinators) news(next *image.Image, d *image.Delta) {
	if len(d.TopicsCreated)+len(d.TopicsDeleted)+len(d.PartitionsChanged)+len(d.ConfigsChanged)+
		len(d.BrokersChanged) > 0 {
		c.host.Broadcast(group.NewImage{Image: next, Delta: d})
	}
}

// leading runs a coordinator for each partition of a topic that this broker leads.
type leading struct {
	broker *Broker
	topic  string
	host   *runtime.Host

	following sync.Mutex // held while the host is told who leads
}

// start follows all images that come from now on, and then the one that there is: leading twice is leading once. news
// is told of each image, after the host.
func (l *leading) start(news func(next *image.Image, d *image.Delta)) {
	l.broker.metadata.Subscribe(func(_, next *image.Image, d *image.Delta) { l.follow(next, d, news) })
	l.following.Lock()
	defer l.following.Unlock()
	l.lead(l.broker.metadata.Image())
}

// follow brings the coordinators to a new image: on the metadata goroutine, after the replicas have followed it.
func (l *leading) follow(next *image.Image, d *image.Delta, news func(next *image.Image, d *image.Delta)) {
	l.following.Lock()
	defer l.following.Unlock()
	isIt := func(t *image.Topic) bool { return t.Name == l.topic }
	if slices.ContainsFunc(d.TopicsDeleted, isIt) {
		for _, p := range l.host.Led() {
			l.host.Resign(p)
		}
		l.lead(next)
	} else if slices.ContainsFunc(d.TopicsCreated, isIt) ||
		slices.ContainsFunc(d.PartitionsChanged, func(p image.PartitionChange) bool { return isIt(p.Topic) }) {
		l.lead(next)
	}
	news(next, d)
}

// lead begins or ends the coordinators of the partitions whose leader the image tells.
func (l *leading) lead(img *image.Image) {
	topic := img.Topic(l.topic)
	if topic == nil {
		l.host.SetPartitions(0)
		return
	}
	l.host.SetPartitions(len(topic.Partitions))
	for i, p := range topic.Partitions {
		index := kafka.PartitionIndex(i)
		if p.Leader == l.broker.node.ID {
			l.host.Lead(index, p.LeaderEpoch, &coordinatorLog{
				replicas: l.broker.replicas, topic: topic.ID, index: index, epoch: p.LeaderEpoch,
			})
		} else {
			l.host.Resign(index)
		}
	}
}

// newMachine makes the machine of one partition.
func (c *coordinators) newMachine(kafka.PartitionIndex) runtime.Machine {
	return group.NewShard(group.Options{
		Settings: c.groupSettings,
		Offsets: offsets.Settings{
			MetadataMax: c.settings.OffsetMetadataBytesMax, Retention: c.settings.OffsetRetention,
		},
		ExpiryInterval: c.settings.OffsetRetentionCheck,
		Image:          c.broker.metadata.Image(),
	})
}

// groupSettings are the limits of a group for which these configs are set, which the controller has validated.
func (c *coordinators) groupSettings(overrides map[string]string) group.Settings {
	g, err := c.broker.config.Get().Group(overrides)
	invariant.Check(err == nil, "configs of a group that were accepted are wrong: %v", err)
	s := &c.settings
	members := classic.Settings{
		SessionTimeoutMin: s.SessionTimeoutMin, SessionTimeoutMax: s.SessionTimeoutMax,
		InitialRebalanceDelay: s.InitialRebalanceDelay, SizeMax: s.ClassicSizeMax,
	}
	return group.Settings{
		Classic: members,
		Consumer: consumer.Settings{
			SessionTimeout: g.ConsumerSessionTimeout, HeartbeatInterval: g.ConsumerHeartbeatInterval,
			AssignmentInterval: g.ConsumerAssignmentInterval, RegexRefreshInterval: s.RegexRefreshInterval,
			SizeMax: s.ConsumerSizeMax, Assignors: s.Assignors, Upgrade: s.Upgrade, Downgrade: s.Downgrade,
			Classic: members,
		},
	}
}

// report is how much all coordinators here hold.
func (c *coordinators) report() group.Report {
	var sum group.Report
	for _, s := range c.host.Shards() {
		r, ok := s.Report.(group.Report)
		if !ok {
			continue // it loads
		}
		for state, n := range r.Classic {
			sum.Classic[state] += n
		}
		for state, n := range r.Consumer {
			sum.Consumer[state] += n
		}
		sum.Members += r.Members
		sum.Offsets += r.Offsets
	}
	return sum
}

// coordinatorLog is a partition of __consumer_offsets as its coordinator sees it. The shard's goroutine owns it.
type coordinatorLog struct {
	replicas *replica.Set
	topic    kafka.UUID
	index    kafka.PartitionIndex
	epoch    kafka.LeaderEpoch
	replica  *replica.Replica // as found last; one that had found no room is replaced by another
}

// lead gives the log, while this broker leads the partition in the epoch.
func (l *coordinatorLog) lead() (*partition.Log, error) {
	if l.replica == nil {
		return nil, kafka.NotLeaderOrFollower
	}
	v, err := l.replica.Lead(l.epoch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.replica.TopicPartition(), err)
	}
	return v.Log, nil
}

// Bounds looks the replica up anew.
func (l *coordinatorLog) Bounds() (start, end kafka.Offset, err error) {
	if t := l.replicas.TopicByID(l.topic); t != nil {
		l.replica = t.Partition(l.index)
	}
	log, err := l.lead()
	if err != nil {
		return 0, 0, err
	}
	return log.LogStartOffset(), log.LogEndOffset(), nil
}

// BatchBytesMax is max.message.bytes, or less where a segment holds less.
func (l *coordinatorLog) BatchBytesMax() int {
	log := l.replica.View().Log
	if log == nil {
		return 0
	}
	c := log.Config()
	return int(min(int64(c.BatchBytesMax), c.SegmentBytes))
}

// Reserve makes room in the log.
func (l *coordinatorLog) Reserve(bytes, records int, now kafka.Timestamp) error {
	log, err := l.lead()
	if err != nil {
		return err
	}
	err = log.Reserve(bytes, records, now)
	if errors.Is(err, partition.ErrMoved) && l.replica.View().Log != log {
		return l.Reserve(bytes, records, now)
	}
	if vfs.Exhausted(err) {
		err = fmt.Errorf("%w: %w", runtime.ErrNoRoom, err)
	}
	return err
}

// Append appends with acks=all, whatever the number of those in sync.
func (l *coordinatorLog) Append(
	batch record.Batch, terms coordinator.Terms, now kafka.Timestamp,
) (kafka.Offset, error) {
	appended, err := l.replica.AppendIn(l.epoch, batch, replica.AppendOptions{
		Acks: replica.AcksAll, Origin: partition.OriginCoordinator, Now: now,
		Verification: partition.Verification(terms.Verification), TxnVersion: terms.TxnVersion,
	})
	return appended.BaseOffset, err
}

// HighWatermark is the replica's.
func (l *coordinatorLog) HighWatermark() (kafka.Offset, error) {
	log, err := l.lead()
	if err != nil {
		return kafka.NoOffset, err
	}
	return log.HighWatermark(), nil
}

// Read reads from the mapping, up to the log end offset.
func (l *coordinatorLog) Read(from kafka.Offset, bytesMax int, visit func([]byte) error) (kafka.Offset, error) {
	log, err := l.lead()
	if err != nil {
		return from, err
	}
	found, err := log.Read(from, bytesMax, true, log.LogEndOffset())
	if errors.Is(err, partition.ErrMoved) && l.replica.View().Log != log {
		return l.Read(from, bytesMax, visit)
	}
	if err != nil {
		var corrupt *segment.CorruptError
		if errors.As(err, &corrupt) {
			err = fmt.Errorf("%w: %w", runtime.ErrCorrupt, err)
		}
		return from, err
	}
	defer found.Release()
	if found.Length() == 0 {
		return from, nil
	}
	return found.NextOffset, vfs.Guard(func() error { return visit(found.Bytes()) })
}

// Watch listens to the replica that Bounds has found.
func (l *coordinatorLog) Watch(changed func()) {
	if l.replica != nil {
		l.replica.Watcher().(*purgatory.List).Listen(changed)
	}
}
