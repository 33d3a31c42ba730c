package image

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"spate/kafka"
	"spate/metadata/record"
)

// Goal: whatever the history, an image can be rebuilt from its records, an image never changes once it is built, how
// the history is cut into builders does not matter, and a delta is exactly the difference of two images. Method:
// random histories of records that fit.

// history draws one record after another, each fitting the image that the ones before have built.
type history struct {
	t     *rapid.T
	image *Image
	fresh uint32
}

func (h *history) draw() record.Record {
	topics := slices.Collect(h.image.Topics())
	kinds := []func() record.Record{h.newTopic, h.config, h.quota, h.feature, h.register, h.producers}
	if len(topics) > 0 {
		some := rapid.SampledFrom(topics).Draw(h.t, "topic")
		kinds = append(kinds, h.newTopic,
			func() record.Record { return &record.RemoveTopic{ID: some.ID} },
			func() record.Record {
				return &record.Partition{TopicID: some.ID, Index: kafka.PartitionIndex(len(some.Partitions)),
					Replicas: ids(1, 2), ISR: ids(1), Leader: 1, Directories: []kafka.UUID{}}
			})
		if len(some.Partitions) > 0 {
			kinds = append(
				kinds,
				func() record.Record { return h.change(some) },
				func() record.Record { return h.change(some) },
			)
		}
	}
	return rapid.SampledFrom(kinds).Draw(h.t, "kind")()
}

func (h *history) newTopic() record.Record {
	h.fresh++
	name := rapid.SampledFrom([]string{"a", "b", "a.b", "a_b", "c-d", "e"}).Draw(h.t, "name")
	if h.image.Topic(name) != nil {
		name = fmt.Sprintf("%s.%d", name, h.fresh)
	}
	return &record.Topic{Name: name, ID: id(h.fresh)}
}

func (h *history) change(topic *Topic) record.Record {
	c := record.NewPartitionChange(
		topic.ID,
		kafka.PartitionIndex(rapid.IntRange(0, len(topic.Partitions)-1).Draw(h.t, "index")),
	)
	if rapid.Bool().Draw(h.t, "new leader") {
		c.Leader = kafka.BrokerID(rapid.Int32Range(-1, 3).Draw(h.t, "leader"))
	}
	if rapid.Bool().Draw(h.t, "new isr") {
		c.ISR = rapid.SampledFrom([][]kafka.BrokerID{ids(), ids(1), ids(2, 1)}).Draw(h.t, "isr")
	}
	return c
}

func (h *history) config() record.Record {
	c := &record.Config{ResourceType: rapid.SampledFrom([]int8{2, 4}).Draw(h.t, "type"),
		ResourceName: rapid.SampledFrom([]string{"", "a", "b"}).Draw(h.t, "resource"),
		Name:         rapid.SampledFrom([]string{"x", "y"}).Draw(h.t, "config")}
	if rapid.IntRange(0, 2).Draw(h.t, "set") > 0 {
		c.Value = pointer(rapid.SampledFrom([]string{"", "1", "2"}).Draw(h.t, "value"))
	}
	return c
}

// quotaEntities is some entities that have quotas in these histories, in the order of an image.
func quotaEntities() (all []QuotaEntity) {
	names := []QuotaName{{}, QuotaDefault(), QuotaNamed("a"), QuotaNamed("b")}
	for _, user := range names {
		for _, client := range names {
			e := QuotaEntity{User: user, ClientID: client}
			if !user.Given && !client.Given {
				e.IP = QuotaNamed("127.0.0.1")
			}
			all = append(all, e)
		}
	}
	return all
}

func (h *history) quota() record.Record {
	e := rapid.SampledFrom(quotaEntities()).Draw(h.t, "entity")
	key := rapid.SampledFrom([]string{"x", "y"}).Draw(h.t, "key")
	if rapid.IntRange(0, 2).Draw(h.t, "remove") == 0 {
		return e.Record(key, nil)
	}
	value := float64(rapid.IntRange(1, 3).Draw(h.t, "quota"))
	return e.Record(key, &value)
}

func (h *history) feature() record.Record {
	return &record.FeatureLevel{Name: rapid.SampledFrom([]string{"f", "g"}).Draw(h.t, "feature"),
		Level: rapid.Int16Range(0, 3).Draw(h.t, "level")}
}

func (h *history) register() record.Record {
	broker := kafka.BrokerID(rapid.Int32Range(1, 3).Draw(h.t, "broker"))
	if b := h.image.Broker(broker); b != nil && rapid.Bool().Draw(h.t, "change") {
		return &record.BrokerRegistrationChange{BrokerID: broker, BrokerEpoch: b.Epoch,
			Fenced: rapid.Int8Range(-1, 1).Draw(h.t, "fenced")}
	}
	return &record.RegisterBroker{BrokerID: broker, BrokerEpoch: kafka.BrokerEpoch(h.image.EndOffset()),
		IncarnationID: id(h.fresh), Fenced: true}
}

func (h *history) producers() record.Record {
	return &record.ProducerIDs{NextProducerID: h.image.NextProducerID() + 1000}
}

// state is all that can be seen of an image: the bytes of its records, and its counts.
func state(img *Image) string {
	return fmt.Sprintf("%x %d %d %d %d %d", encoded(img), img.EndOffset(), img.TopicCount(), img.PartitionCount(),
		img.ids.count, img.collisions.count)
}

func encoded(img *Image) (bytes []byte) {
	for r := range img.Records() {
		bytes = record.Append(bytes, r)
	}
	return bytes
}

func build(t testing.TB, base *Image, records []record.Record) (*Image, *Delta) {
	t.Helper()
	return applied(t, base, records...)
}

func TestImagesAreImmutableAndRebuiltFromTheirRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{t: rt, image: Empty("c")}
		var records []record.Record
		images := []*Image{h.image}
		states := []string{state(h.image)}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			r := h.draw()
			next, d := build(t, h.image, []record.Record{r})
			checkDelta(rt, h.image, next, d)
			h.image, records = next, append(records, r)
			images, states = append(images, next), append(states, state(next))
		}
		for i, img := range images {
			if now := state(img); now != states[i] {
				rt.Fatalf("image %d changed after it was built, from\n%s\nto\n%s", i, states[i], now)
			}
		}
		from := rapid.IntRange(0, len(images)-1).Draw(rt, "from")
		atOnce, d := build(t, images[from], records[from:])
		if got := state(atOnce); got != states[len(states)-1] {
			rt.Fatalf("one builder gives\n%s\nmany give\n%s", got, states[len(states)-1])
		}
		checkDelta(rt, images[from], atOnce, d)
		rebuilt, _ := build(t, Empty("c"), slices.Collect(h.image.Records()))
		if got, want := encoded(rebuilt), encoded(h.image); !slices.Equal(got, want) {
			rt.Fatalf("the records of the image give\n%x\nnot\n%x", got, want)
		}
	})
}

// checkDelta compares the delta with the difference found by looking at everything.
func checkDelta(t *rapid.T, old, next *Image, d *Delta) {
	want := &Delta{ProducersChanged: old.NextProducerID() != next.NextProducerID(), FeaturesChanged: d.FeaturesChanged}
	for topic := range next.Topics() {
		if before := old.TopicByID(topic.ID); before == nil {
			want.TopicsCreated = append(want.TopicsCreated, topic)
		} else {
			for index, p := range topic.Partitions {
				if was := before.partition(kafka.PartitionIndex(index)); was != p {
					want.PartitionsChanged = append(want.PartitionsChanged,
						PartitionChange{Topic: topic, Index: kafka.PartitionIndex(index), Old: was, New: p})
				}
			}
		}
	}
	for topic := range old.Topics() {
		if next.TopicByID(topic.ID) == nil {
			want.TopicsDeleted = append(want.TopicsDeleted, topic)
		}
	}
	for broker := range kafka.BrokerID(5) {
		if old.Broker(broker) != next.Broker(broker) {
			want.BrokersChanged = append(want.BrokersChanged, broker)
		}
	}
	for _, resourceType := range []ResourceType{ResourceTopic, ResourceBroker} {
		for _, name := range []string{"", "a", "b"} {
			r := Resource{Type: resourceType, Name: name}
			if !cmp.Equal(old.Configs(r), next.Configs(r)) {
				want.ConfigsChanged = append(want.ConfigsChanged, r)
			}
		}
	}
	for _, e := range quotaEntities() {
		if !cmp.Equal(old.Quotas(e), next.Quotas(e)) {
			want.QuotasChanged = append(want.QuotasChanged, e)
		}
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Fatalf("delta (-want +got):\n%s", diff)
	}
	if !d.FeaturesChanged && !slices.Equal(old.Features(), next.Features()) {
		t.Fatalf("features changed unsaid: %v → %v", old.Features(), next.Features())
	}
}
