package image

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"strings"
	"unsafe"

	"spate/kafka"
	"spate/metadata/record"
)

// Image is the cluster's metadata at one offset of the metadata log. Nothing in it is ever changed: neither by this
// package nor, by agreement, by those who read the slices and maps that it hands out.
type Image struct {
	clusterID  string
	endOffset  kafka.Offset
	epoch      kafka.LeaderEpoch
	names      tree[string, *Topic]
	ids        tree[kafka.UUID, *Topic]
	collisions tree[string, []string] // unified name → the topics with '.' or '_' that unify to it
	configs    tree[Resource, map[string]string]
	quotas     tree[QuotaEntity, map[string]float64]
	brokers    []*Broker // by id
	features   []Feature // by name
	partitions int
	producerID kafka.ProducerID
}

// Empty is the image before the first record of a cluster's metadata log.
func Empty(clusterID string) *Image {
	return &Image{
		clusterID: clusterID, epoch: kafka.NoLeaderEpoch,
		names:      tree[string, *Topic]{compare: strings.Compare},
		ids:        tree[kafka.UUID, *Topic]{compare: func(a, b kafka.UUID) int { return bytes.Compare(a[:], b[:]) }},
		collisions: tree[string, []string]{compare: strings.Compare},
		configs:    tree[Resource, map[string]string]{compare: Resource.compare},
		quotas:     tree[QuotaEntity, map[string]float64]{compare: QuotaEntity.compare},
	}
}

// Topic is one topic of an image.
type Topic struct {
	Name       string
	ID         kafka.UUID
	Partitions []*Partition // by kafka.PartitionIndex, without gaps
}

// Partition is the state of one partition.
type Partition struct {
	Leader              kafka.BrokerID // or kafka.NoBroker
	LeaderEpoch         kafka.LeaderEpoch
	PartitionEpoch      int32 // counts the changes of this struct
	LeaderRecoveryState int8
	Replicas            []kafka.BrokerID // in preferred order
	ISR                 []kafka.BrokerID
	RemovingReplicas    []kafka.BrokerID
	AddingReplicas      []kafka.BrokerID
	Directories         []kafka.UUID     // the log directory of each replica, in the order of Replicas
	ELR                 []kafka.BrokerID // eligible leader replicas
	LastKnownELR        []kafka.BrokerID
}

// Directory is the log directory that replica is assigned to, kafka.ZeroUUID when it is unassigned or no replica.
func (p *Partition) Directory(replica kafka.BrokerID) kafka.UUID {
	if at := slices.Index(p.Replicas, replica); at >= 0 && at < len(p.Directories) {
		return p.Directories[at]
	}
	return kafka.ZeroUUID
}

// Broker is the registration of one broker.
type Broker struct {
	ID                   kafka.BrokerID
	Epoch                kafka.BrokerEpoch // the offset of the record that registered this incarnation
	IncarnationID        kafka.UUID
	Endpoints            []record.Endpoint
	Features             []record.FeatureRange
	Rack                 *string // nil: none
	Fenced               bool    // leads nothing and is not shown to clients
	InControlledShutdown bool
	LogDirs              []kafka.UUID
	CordonedLogDirs      []kafka.UUID // nil: not told yet
}

// Active says whether the broker may lead and be in an ISR.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// Endpoint is the broker's listener of that name.
func (b *Broker) Endpoint(listener string) (record.Endpoint, bool) {
	at := slices.IndexFunc(b.Endpoints, func(e record.Endpoint) bool { return e.Name == listener })
	if at < 0 {
		return record.Endpoint{}, false
	}
	return b.Endpoints[at], true
}

// ResourceType is the kind of thing that a config belongs to, as on the wire.
type ResourceType int8

// The resource types of Kafka.
const (
	ResourceTopic         ResourceType = 2
	ResourceBroker        ResourceType = 4
	ResourceBrokerLogger  ResourceType = 8
	ResourceClientMetrics ResourceType = 16
	ResourceGroup         ResourceType = 32
)

// String is the type as Kafka's messages have it.
func (t ResourceType) String() string {
	switch t {
	case ResourceTopic:
		return "TOPIC"
	case ResourceBroker:
		return "BROKER"
	case ResourceBrokerLogger:
		return "BROKER_LOGGER"
	case ResourceClientMetrics:
		return "CLIENT_METRICS"
	case ResourceGroup:
		return "GROUP"
	}
	return "UNKNOWN"
}

// Resource is something that has configs. The broker with the empty name stands for all brokers.
type Resource struct {
	Type ResourceType
	Name string
}

// TopicResource is the topic of that name.
func TopicResource(name string) Resource { return Resource{Type: ResourceTopic, Name: name} }

// GroupResource is the group of that id, which need not exist.
func GroupResource(id string) Resource { return Resource{Type: ResourceGroup, Name: id} }

// BrokerResource is the broker of that id, or all brokers for the empty name.
func BrokerResource(name string) Resource { return Resource{Type: ResourceBroker, Name: name} }

func (r Resource) compare(other Resource) int {
	return cmp.Or(cmp.Compare(r.Type, other.Type), strings.Compare(r.Name, other.Name))
}

// Feature is a finalized feature and its level, which is never 0.
type Feature struct {
	Name  string
	Level int16
}

// ClusterID is the cluster's id.
func (i *Image) ClusterID() string { return i.clusterID }

// EndOffset is the offset after the last record that the image holds.
func (i *Image) EndOffset() kafka.Offset { return i.endOffset }

// Epoch is the leader epoch of the last record that the image holds, NoLeaderEpoch before the first.
func (i *Image) Epoch() kafka.LeaderEpoch { return i.epoch }

// Topic is the topic of that name, nil if there is none.
func (i *Image) Topic(name string) *Topic {
	t, _ := i.names.get(name)
	return t
}

// TopicView is Topic for a name that lies in a buffer; it allocates nothing and keeps nothing of name.
func (i *Image) TopicView(name []byte) *Topic {
	return i.Topic(unsafe.String(unsafe.SliceData(name), len(name)))
}

// TopicByID is the topic with that id, nil if there is none.
func (i *Image) TopicByID(id kafka.UUID) *Topic {
	t, _ := i.ids.get(id)
	return t
}

// Partition is the partition of a topic, nil if there is none.
func (i *Image) Partition(topic string, index kafka.PartitionIndex) *Partition {
	return i.Topic(topic).partition(index)
}

// partition is nil if there is no topic or no such partition.
func (t *Topic) partition(index kafka.PartitionIndex) *Partition {
	if t == nil || index < 0 || int(index) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[index]
}

// TopicCount is the number of topics.
func (i *Image) TopicCount() int { return i.names.count }

// PartitionCount is the number of partitions of all topics.
func (i *Image) PartitionCount() int { return i.partitions }

// Topics gives all topics by name.
func (i *Image) Topics() iter.Seq[*Topic] { return i.TopicsFrom("") }

// TopicsFrom gives the topics whose names are not below name, by name.
func (i *Image) TopicsFrom(name string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		for _, t := range i.names.from(name) {
			if !yield(t) {
				return
			}
		}
	}
}

// CollidingTopic is the first topic whose name would be the same as name in a metric, where '.' and '_' are one; a
// name without either of the two collides with none.
func (i *Image) CollidingTopic(name string) (string, bool) {
	if !hasCollisionChars(name) {
		return "", false
	}
	names, ok := i.collisions.get(unifyCollisionChars(name))
	if !ok {
		return "", false
	}
	return names[0], true
}

func hasCollisionChars(name string) bool     { return strings.ContainsAny(name, "._") }
func unifyCollisionChars(name string) string { return strings.ReplaceAll(name, ".", "_") }

// Broker is the registration of that broker, nil if there is none.
func (i *Image) Broker(id kafka.BrokerID) *Broker {
	at, ok := i.findBroker(id)
	if !ok {
		return nil
	}
	return i.brokers[at]
}

func (i *Image) findBroker(id kafka.BrokerID) (int, bool) {
	return slices.BinarySearchFunc(
		i.brokers,
		id,
		func(b *Broker, id kafka.BrokerID) int { return cmp.Compare(b.ID, id) },
	)
}

// Brokers is all brokers by id, fenced ones too. The slice belongs to the image.
func (i *Image) Brokers() []*Broker { return i.brokers }

// Configs is what is set for a resource, nil if nothing. The map belongs to the image.
func (i *Image) Configs(r Resource) map[string]string {
	configs, _ := i.configs.get(r)
	return configs
}

// ConfiguredCount is the number of resources that have any configs.
func (i *Image) ConfiguredCount() int { return i.configs.count }

// AllConfigs gives the configs of every resource that has any, by type and name of the resource.
func (i *Image) AllConfigs() iter.Seq2[Resource, map[string]string] { return i.configs.all() }

// Feature is the finalized level of a feature, 0 if it is not finalized.
func (i *Image) Feature(name string) int16 {
	at, ok := i.findFeature(name)
	if !ok {
		return 0
	}
	return i.features[at].Level
}

func (i *Image) findFeature(name string) (int, bool) {
	return slices.BinarySearchFunc(i.features, name, func(f Feature, name string) int {
		return strings.Compare(f.Name, name)
	})
}

// Features is the finalized features by name. The slice belongs to the image.
func (i *Image) Features() []Feature { return i.features }

// NextProducerID is the first producer id that no broker has been given.
func (i *Image) NextProducerID() kafka.ProducerID { return i.producerID }
