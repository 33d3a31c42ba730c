package consumer

import (
	"testing"

	"github.com/zeebo/xxh3"

	"spate/kafka"
	"spate/metadata/image"
	metadata "spate/metadata/record"
)

// Goal: a metadata hash is the number that Kafka computes, so that a log can change hands without a rebalance. Method:
// the expected numbers were printed by the hash4j 0.22.0 that Kafka 4.3.1 ships, for the same bytes and topics.

func TestXXH3GivesTheNumbersOfKafkasLibrary(t *testing.T) {
	for n, want := range map[int]int64{
		0: 3244421341483603138, 1: -8493270429887581760, 2: 5883539415696731815, 3: -5196522179846320565,
		4: 4593888587910216996, 5: -7899449851132515238, 7: -4325470416312755752, 8: -8170224948760639806,
		9: -2915185350669362647, 15: 8104322065889074129, 16: 2474072703548717864, 17: -9211707022008503149,
		31: -7442402165469097862, 32: 1657010641411106130, 33: -5529143728950185849, 63: 656759443283993032,
		64: 7758729085987193627, 65: -416723471464116363, 96: 6401347979428694704, 97: -3121947428924952236,
		127: -3195584936999498217, 128: -6900825083790484029, 129: 4750240182213696247, 130: 1050317289062227014,
		143: 7951292678803529355, 144: -3294787432206919188, 160: -7918259789965907197, 200: 7426959652718778316,
		239: 7173655296790938567, 240: 4087432435989412883, 241: -6515206004548145498, 255: -68210487805550530,
		256: -6379259762424334274, 257: -3913290535596380994, 511: -5347503733937149439, 512: 3695997812725479153,
		513: -8897351700342423379, 1023: 6998194029958374925, 1024: -450072689269954909, 1025: 7437465983341293391,
		1026: -3486282885200931842, 1087: -3382211646143706940, 1088: -849240583371069168, 1089: 5339240038278947249,
		2047: 1385213161184945750, 2048: 5439976017471985724, 2049: 6951358840161928538, 5000: -1402924133985264137,
	} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*7 + 13)
		}
		if got := int64(xxh3.Hash(b)); got != want {
			t.Errorf("%d bytes: %d, want %d", n, got, want)
		}
	}
}

func TestTopicHashGivesKafkasNumbers(t *testing.T) {
	id := kafka.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	high := id
	high[8] |= 0x80
	for name, c := range map[string]struct {
		topic *image.Topic
		racks bool
		want  int64
	}{
		"no racks":       {&image.Topic{Name: "foo", ID: kafka.UUID{7: 1, 15: 2}}, false, -7733839198221838498},
		"two racks":      {&image.Topic{Name: "foo", ID: id}, true, 8635664951700964095},
		"100 partitions": {&image.Topic{Name: "longer.topic_name-x", ID: high}, true, -6805741914681498001},
	} {
		count := map[string]int{"no racks": 1, "two racks": 3, "100 partitions": 100}[name]
		for range count {
			c.topic.Partitions = append(c.topic.Partitions, &image.Partition{Replicas: []kafka.BrokerID{2, 1}})
		}
		world := newWorld()
		world.broker(1, nil)
		world.broker(2, nil)
		if c.racks {
			world.broker(1, new("r1"))
			world.broker(2, new("rack-2"))
		}
		if got := NewCluster(world.img).topicHash(c.topic); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestMetadataHashIsThatOfAKafkaLog(t *testing.T) {
	w := newWorld()
	w.broker(1, nil)
	add := func(name, id string, partitions int) {
		parsed, err := kafka.ParseUUID(id)
		if err != nil {
			t.Fatal(err)
		}
		w.change(&metadata.Topic{Name: name, ID: parsed})
		w.topic(name, partitions, 1)
	}
	add("foo-r2", "JVxhaNhFRaepgVUb4ap8uQ", 6)
	add("bar-r2", "bi_rW3jlTL6FH9LmwLU8yw", 2)
	// Both numbers were read from the __consumer_offsets of a Kafka 4.3.1 with these topics.
	if got, want := w.cluster.metadataHash([]string{"foo-r2", "nothing"}), int64(7365356409433147553); got != want {
		t.Errorf("one topic: %d, want %d", got, want)
	}
	if got, want := w.cluster.metadataHash([]string{"bar-r2", "foo-r2"}), int64(312851903784733771); got != want {
		t.Errorf("two topics: %d, want %d", got, want)
	}
	if got := w.cluster.metadataHash([]string{"nothing"}); got != 0 {
		t.Errorf("no topic that exists: %d", got)
	}
}

func TestClusterFollowsWhatChanges(t *testing.T) {
	w := newWorld()
	w.broker(1, nil)
	w.topic("t", 1, 1)
	w.topic("u", 1, 1)
	topics := []string{"t", "u"}
	for _, step := range []struct {
		name    string
		change  func()
		hash    bool // is another one
		version bool // groups look again
		created bool
	}{
		{"partitions are added", func() { w.topic("t", 2, 1) }, true, true, false},
		{"a topic is created that nobody reads", func() { w.topic("v", 1, 1) }, false, true, true},
		{"a broker gets a rack", func() { w.broker(1, new("r")) }, true, true, false},
		{"a topic is deleted", func() { w.drop("u") }, true, true, false},
		{"the topic comes back under another id", func() { w.topic("u", 1, 1) }, true, true, true},
		{"a config changes", func() {
			w.change(&metadata.Config{ResourceType: 2, ResourceName: "t", Name: "retention.ms", Value: new("1")})
		}, false, false, false},
		{"what changed is not known", func() { w.cluster.Follow(w.img, nil) }, false, true, false},
	} {
		hash, version, created := w.cluster.metadataHash(topics), w.cluster.version, w.cluster.topicsCreated
		step.change()
		if got := w.cluster.metadataHash(topics) != hash; got != step.hash {
			t.Errorf("%s: hash changed %v", step.name, got)
		}
		if got := w.cluster.version != version; got != step.version {
			t.Errorf("%s: version changed %v", step.name, got)
		}
		if got := w.cluster.topicsCreated != created; got != step.created && step.name != "what changed is not known" {
			t.Errorf("%s: topics created %v", step.name, got)
		}
	}
}
