package consumer

import (
	"encoding/binary"
	"slices"
	"unicode/utf16"

	"github.com/zeebo/xxh3"

	"spate/coordinator/group/assignor"
	"spate/kafka"
	"spate/metadata/image"
)

// Cluster is what the groups of one shard know of the cluster's topics. It is shared by the groups, so that a topic
// which many of them read is hashed once.
type Cluster struct {
	img *image.Image
	// version counts the images in which topics changed; a group that has seen the current one has nothing to refresh.
	version uint64
	// topicsCreated is the version of the last image that had new topics: regular expressions that were resolved
	// before it may match more now.
	topicsCreated int64
	hashes        map[string]int64 // of topics by name, as far as they were asked for since they changed
}

// NewCluster makes the view of an image.
func NewCluster(img *image.Image) *Cluster {
	return &Cluster{img: img, version: 1, topicsCreated: int64(img.EndOffset()), hashes: map[string]int64{}}
}

// Image is the current image.
func (c *Cluster) Image() *image.Image { return c.img }

// Follow takes the next image. The delta says what changed; nil stands for not known.
func (c *Cluster) Follow(img *image.Image, delta *image.Delta) {
	c.img = img
	if delta == nil {
		c.version++
		c.topicsCreated = int64(img.EndOffset())
		clear(c.hashes)
		return
	}
	if len(delta.TopicsCreated) > 0 {
		c.topicsCreated = int64(img.EndOffset())
	}
	if len(delta.BrokersChanged) > 0 { // racks are part of the hashes
		c.version++
		clear(c.hashes)
		return
	}
	if len(delta.TopicsCreated)+len(delta.TopicsDeleted)+len(delta.PartitionsChanged) > 0 {
		c.version++
	}
	for _, t := range delta.TopicsCreated {
		delete(c.hashes, t.Name)
	}
	for _, t := range delta.TopicsDeleted {
		delete(c.hashes, t.Name)
	}
	for _, p := range delta.PartitionsChanged {
		delete(c.hashes, p.Topic.Name)
	}
}

// racks are the racks of the brokers that hold a replica, sorted, one for each replica.
func (c *Cluster) racks(p *image.Partition) []string {
	var racks []string
	for _, replica := range p.Replicas {
		if b := c.img.Broker(replica); b != nil && b.Rack != nil {
			racks = append(racks, *b.Rack)
		}
	}
	slices.Sort(racks)
	return racks
}

// metadataHash is Kafka's hash of those of the topics that exist: of their hashes, in the order of their names, which
// is the order that they have to come in (KIP-1101).
func (c *Cluster) metadataHash(topics []string) int64 {
	var joined []byte
	for _, name := range topics {
		topic := c.img.Topic(name)
		if topic == nil {
			continue
		}
		hash, ok := c.hashes[name]
		if !ok {
			hash = c.topicHash(topic)
			c.hashes[name] = hash
		}
		joined = binary.LittleEndian.AppendUint64(joined, uint64(hash))
	}
	if len(joined) == 0 {
		return 0
	}
	return int64(xxh3.Hash(joined))
}

// assignable is a topic as assignors see it, with the racks of its replicas if they are asked for.
func (c *Cluster) assignable(id kafka.UUID, racks bool) assignor.Topic {
	partitions := c.img.TopicByID(id).Partitions
	t := assignor.Topic{Partitions: len(partitions)}
	if racks {
		t.Racks = make([][]string, len(partitions))
		for i := range partitions {
			t.Racks[i] = c.racks(partitions[i])
		}
	}
	return t
}

// topicHash is the hash of a topic's id, name, partitions and racks, in the byte format of the library that Kafka uses:
// numbers are little endian, a string is its UTF-16 code units and their count.
func (c *Cluster) topicHash(t *image.Topic) int64 {
	const version = 0 // the magic byte of the format
	b := []byte{version}
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[8:]))
	b = appendHashed(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Partitions)))
	for i, p := range t.Partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		for _, rack := range c.racks(p) {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(utf16.Encode([]rune(rack)))))
			b = appendHashed(b, rack)
		}
	}
	return int64(xxh3.Hash(b))
}

func appendHashed(dst []byte, s string) []byte {
	units := utf16.Encode([]rune(s))
	for _, unit := range units {
		dst = binary.LittleEndian.AppendUint16(dst, unit)
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(len(units)))
}

// topicIDs are the ids of those of the topics that exist, sorted.
func (c *Cluster) topicIDs(names []string) []kafka.UUID {
	ids := make([]kafka.UUID, 0, len(names))
	for _, name := range names {
		if t := c.img.Topic(name); t != nil {
			ids = append(ids, t.ID)
		}
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}
