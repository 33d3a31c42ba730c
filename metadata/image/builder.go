package image

import (
	"fmt"
	"maps"
	"slices"

	"spate/internal/invariant"
	"spate/kafka"
	"spate/metadata/record"
)

// Builder applies records to an image and gives the image after them. It is the only writer of metadata: the live
// path and the replay after a restart both call Apply. It copies what it changes, once a run, and keeps the slices
// that the records point to, so a record must not be changed after Apply has seen it.
type Builder struct {
	base    *Image
	next    Image
	edit    *edit
	owned   map[kafka.UUID]*Topic // the topics of next that are not shared with older images
	topics  map[kafka.UUID]struct{}
	configs map[Resource]struct{}
	quotas  map[QuotaEntity]struct{}
	brokers map[kafka.BrokerID]struct{}
	changed struct{ features, producerIDs bool }
}

// NewBuilder starts from base, which stays as it is.
func NewBuilder(base *Image) *Builder {
	return &Builder{
		base: base, next: *base, edit: new(edit),
		owned: map[kafka.UUID]*Topic{}, topics: map[kafka.UUID]struct{}{},
		configs: map[Resource]struct{}{}, quotas: map[QuotaEntity]struct{}{}, brokers: map[kafka.BrokerID]struct{}{},
	}
}

// Apply makes the change that r records. It never refuses a record that a controller wrote for this state: an error
// means that the log is not the continuation of the image, and the builder is not to be used any further.
func (b *Builder) Apply(r record.Record) error {
	var err error
	switch r := r.(type) {
	case *record.Topic:
		err = b.applyTopic(r)
	case *record.Partition:
		err = b.applyPartition(r)
	case *record.PartitionChange:
		err = b.applyPartitionChange(r)
	case *record.RemoveTopic:
		err = b.applyRemoveTopic(r)
	case *record.Config:
		b.applyConfig(r)
	case *record.ClientQuota:
		err = b.applyClientQuota(r)
	case *record.RegisterBroker:
		b.applyRegisterBroker(r)
	case *record.UnregisterBroker:
		err = b.applyUnregisterBroker(r)
	case *record.BrokerRegistrationChange:
		err = b.applyRegistrationChange(r)
	case *record.FenceBroker:
		err = b.applyRegistrationChange(&record.BrokerRegistrationChange{
			BrokerID: r.BrokerID, BrokerEpoch: r.BrokerEpoch, Fenced: record.Fence})
	case *record.UnfenceBroker:
		err = b.applyRegistrationChange(&record.BrokerRegistrationChange{
			BrokerID: r.BrokerID, BrokerEpoch: r.BrokerEpoch, Fenced: record.Unfence})
	case *record.FeatureLevel:
		b.applyFeature(r)
	case *record.ProducerIDs:
		err = b.applyProducerIDs(r)
	case *record.NoOp:
	default:
		invariant.Check(false, "a %T has no meaning in an image", r)
	}
	if err != nil {
		return fmt.Errorf("apply %s at or after offset %d: %w", r.Type(), b.next.endOffset, err)
	}
	return nil
}

// AdvanceTo says that the records before offset have been applied, the last of them of that leader epoch.
func (b *Builder) AdvanceTo(offset kafka.Offset, epoch kafka.LeaderEpoch) {
	b.next.endOffset, b.next.epoch = offset, epoch
}

// Build gives the image and what changed since the base. The builder is used up.
func (b *Builder) Build() (*Image, *Delta) {
	next := b.next
	d := b.delta(&next)
	*b = Builder{}
	return &next, d
}

func (b *Builder) applyTopic(r *record.Topic) error {
	if b.next.Topic(r.Name) != nil {
		return fmt.Errorf("topic %s exists already", r.Name)
	}
	if b.next.TopicByID(r.ID) != nil {
		return fmt.Errorf("topic id %s exists already", r.ID)
	}
	b.putTopic(&Topic{Name: r.Name, ID: r.ID})
	if hasCollisionChars(r.Name) {
		unified := unifyCollisionChars(r.Name)
		names, _ := b.next.collisions.get(unified)
		at, _ := slices.BinarySearch(names, r.Name)
		b.next.collisions.set(b.edit, unified, slices.Insert(slices.Clone(names), at, r.Name))
	}
	return nil
}

// putTopic makes t, which no image has, a topic of the next image.
func (b *Builder) putTopic(t *Topic) {
	b.owned[t.ID] = t
	b.topics[t.ID] = struct{}{}
	b.next.names.set(b.edit, t.Name, t)
	b.next.ids.set(b.edit, t.ID, t)
}

// ownTopic gives a topic of the next image that may be changed.
func (b *Builder) ownTopic(id kafka.UUID) (*Topic, error) {
	if t, ok := b.owned[id]; ok {
		return t, nil
	}
	shared := b.next.TopicByID(id)
	if shared == nil {
		return nil, fmt.Errorf("there is no topic with id %s", id)
	}
	t := &Topic{Name: shared.Name, ID: shared.ID, Partitions: slices.Clone(shared.Partitions)}
	b.putTopic(t)
	return t, nil
}

func (b *Builder) applyPartition(r *record.Partition) error {
	t, err := b.ownTopic(r.TopicID)
	if err != nil {
		return err
	}
	p := &Partition{
		Leader: r.Leader, LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch,
		LeaderRecoveryState: r.LeaderRecoveryState, Replicas: r.Replicas, ISR: r.ISR,
		RemovingReplicas: r.RemovingReplicas, AddingReplicas: r.AddingReplicas, Directories: r.Directories,
		ELR: r.ELR, LastKnownELR: r.LastKnownELR,
	}
	switch at := int(r.Index); {
	case at == len(t.Partitions):
		t.Partitions = append(t.Partitions, p)
		b.next.partitions++
	case at >= 0 && at < len(t.Partitions):
		t.Partitions[at] = p
	default:
		return fmt.Errorf(
			"partition %d of topic %s does not follow the %d that it has",
			r.Index,
			t.Name,
			len(t.Partitions),
		)
	}
	return nil
}

func (b *Builder) applyPartitionChange(r *record.PartitionChange) error {
	t, err := b.ownTopic(r.TopicID)
	if err != nil {
		return err
	}
	old := t.partition(r.Index)
	if old == nil {
		return fmt.Errorf("topic %s has no partition %d", t.Name, r.Index)
	}
	t.Partitions[r.Index] = old.changed(r)
	return nil
}

// changed is the partition after a change.
func (p *Partition) changed(r *record.PartitionChange) *Partition {
	next := *p
	next.PartitionEpoch++
	if r.Leader != record.NoLeaderChange {
		next.Leader = r.Leader
		next.LeaderEpoch++
	}
	if r.LeaderRecoveryState != record.NoRecoveryChange {
		next.LeaderRecoveryState = r.LeaderRecoveryState
	}
	for _, field := range []struct {
		value *[]kafka.BrokerID
		by    []kafka.BrokerID
	}{
		{&next.ISR, r.ISR}, {&next.Replicas, r.Replicas}, {&next.RemovingReplicas, r.RemovingReplicas},
		{&next.AddingReplicas, r.AddingReplicas}, {&next.ELR, r.ELR}, {&next.LastKnownELR, r.LastKnownELR},
	} {
		if field.by != nil {
			*field.value = field.by
		}
	}
	if r.Directories != nil {
		next.Directories = r.Directories
	}
	return &next
}

func (b *Builder) applyRemoveTopic(r *record.RemoveTopic) error {
	t := b.next.TopicByID(r.ID)
	if t == nil {
		return fmt.Errorf("there is no topic with id %s", r.ID)
	}
	delete(b.owned, r.ID)
	b.topics[r.ID] = struct{}{}
	b.next.partitions -= len(t.Partitions)
	b.next.names.remove(b.edit, t.Name)
	b.next.ids.remove(b.edit, t.ID)
	if hasCollisionChars(t.Name) {
		b.removeCollision(t.Name)
	}
	if resource := TopicResource(t.Name); b.next.configs.remove(b.edit, resource) {
		b.configs[resource] = struct{}{}
	}
	return nil
}

func (b *Builder) removeCollision(name string) {
	unified := unifyCollisionChars(name)
	names, _ := b.next.collisions.get(unified)
	if len(names) == 1 {
		b.next.collisions.remove(b.edit, unified)
		return
	}
	left := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
	b.next.collisions.set(b.edit, unified, left)
}

func (b *Builder) applyConfig(r *record.Config) {
	resource := Resource{Type: ResourceType(r.ResourceType), Name: r.ResourceName}
	b.configs[resource] = struct{}{}
	configs := maps.Clone(b.next.Configs(resource))
	switch {
	case r.Value == nil:
		delete(configs, r.Name)
	case configs == nil:
		configs = map[string]string{r.Name: *r.Value}
	default:
		configs[r.Name] = *r.Value
	}
	if len(configs) == 0 {
		b.next.configs.remove(b.edit, resource)
		return
	}
	b.next.configs.set(b.edit, resource, configs)
}

func (b *Builder) applyFeature(r *record.FeatureLevel) {
	b.changed.features = true
	b.next.features = slices.Clone(b.next.features)
	at, found := b.next.findFeature(r.Name)
	if found {
		b.next.features = slices.Delete(b.next.features, at, at+1)
	}
	if r.Level != 0 {
		b.next.features = slices.Insert(b.next.features, at, Feature{Name: r.Name, Level: r.Level})
	}
}

func (b *Builder) applyProducerIDs(r *record.ProducerIDs) error {
	if r.NextProducerID <= b.next.producerID {
		return fmt.Errorf("next producer id %d is not above %d", r.NextProducerID, b.next.producerID)
	}
	b.next.producerID = r.NextProducerID
	b.changed.producerIDs = true
	return nil
}
