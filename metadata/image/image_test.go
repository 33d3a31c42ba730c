package image

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
	"spate/metadata/record"
)

// Goal: records have the effect that Kafka gives them, the delta says what changed and no more, and looking up costs
// nothing. Method: small histories with whole values compared, and one image of 10,000 topics.

func id(n uint32) (u kafka.UUID) {
	binary.BigEndian.PutUint32(u[12:], n+1000)
	return u
}

func ids(all ...kafka.BrokerID) []kafka.BrokerID { return append([]kafka.BrokerID{}, all...) }

func pointer(s string) *string { return &s }

// applied gives the image after records, and the delta.
func applied(t testing.TB, base *Image, records ...record.Record) (*Image, *Delta) {
	t.Helper()
	b := NewBuilder(base)
	for _, r := range records {
		if err := b.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	b.AdvanceTo(base.EndOffset()+kafka.Offset(len(records)), 1)
	return b.Build()
}

func topic(name string, n uint32, partitions int) []record.Record {
	records := []record.Record{&record.Topic{Name: name, ID: id(n)}}
	for index := range partitions {
		records = append(records, &record.Partition{Index: kafka.PartitionIndex(index), TopicID: id(n),
			Replicas: ids(1, 2), ISR: ids(1, 2), Leader: 1, Directories: []kafka.UUID{id(91), id(92)}})
	}
	return records
}

func names(topics []*Topic) (all []string) {
	for _, t := range topics {
		all = append(all, t.Name)
	}
	return all
}

func TestATopicIsFoundByNameAndID(t *testing.T) {
	img, d := applied(t, Empty("c"), append(topic("b", 2, 2), topic("a", 1, 1)...)...)
	if got := names(d.TopicsCreated); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("created %v", got)
	}
	b := img.Topic("b")
	if b == nil || b != img.TopicByID(id(2)) || b != img.TopicView([]byte("b")) || len(b.Partitions) != 2 {
		t.Errorf("topic b is %+v", b)
	}
	if img.Topic("c") != nil || img.TopicView(nil) != nil || img.TopicByID(id(3)) != nil {
		t.Error("a topic is there that is not")
	}
	if p := img.Partition("b", 1); p == nil || p.Leader != 1 || p.Directory(2) != id(92) ||
		p.Directory(3) != kafka.ZeroUUID {
		t.Errorf("partition b-1 is %+v", p)
	}
	if img.Partition("b", 2) != nil || img.Partition("b", -1) != nil || img.Partition("x", 0) != nil {
		t.Error("a partition is there that is not")
	}
	if img.TopicCount() != 2 || img.PartitionCount() != 3 || img.EndOffset() != 5 || img.Epoch() != 1 ||
		img.ClusterID() != "c" {
		t.Errorf(
			"%d topics, %d partitions, end offset %d, epoch %d",
			img.TopicCount(),
			img.PartitionCount(),
			img.EndOffset(),
			img.Epoch(),
		)
	}
	if got := names(slices.Collect(img.TopicsFrom("aa"))); !slices.Equal(got, []string{"b"}) {
		t.Errorf("topics from aa: %v", got)
	}
}

func TestAChangedPartitionIsInTheDeltaAndTheOldImageStays(t *testing.T) {
	old, _ := applied(t, Empty("c"), topic("a", 1, 3)...)
	shrink := record.NewPartitionChange(id(1), 2)
	shrink.ISR = ids(2)
	elect := record.NewPartitionChange(id(1), 2)
	elect.Leader = 2
	next, d := applied(t, old, shrink, elect)
	want := &Partition{Leader: 2, LeaderEpoch: 1, PartitionEpoch: 2, Replicas: ids(1, 2), ISR: ids(2),
		Directories: []kafka.UUID{id(91), id(92)}}
	change := PartitionChange{Topic: next.Topic("a"), Index: 2, Old: old.Partition("a", 2), New: want}
	if diff := cmp.Diff(&Delta{PartitionsChanged: []PartitionChange{change}}, d); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
	if p := old.Partition("a", 2); p.Leader != 1 || p.LeaderEpoch != 0 || len(p.ISR) != 2 {
		t.Errorf("the old image has %+v", p)
	}
	if old.Partition("a", 1) != next.Partition("a", 1) {
		t.Error("a partition that did not change was copied")
	}
}

func TestEveryFieldOfAPartitionChangeCounts(t *testing.T) {
	old, _ := applied(t, Empty("c"), topic("a", 1, 1)...)
	next, _ := applied(
		t,
		old,
		&record.PartitionChange{TopicID: id(1), Leader: kafka.NoBroker, ISR: ids(), Replicas: ids(3),
			RemovingReplicas: ids(1), AddingReplicas: ids(3), LeaderRecoveryState: record.LeaderRecovering,
			Directories: []kafka.UUID{id(93)}, ELR: ids(2), LastKnownELR: ids(1)},
	)
	want := &Partition{Leader: kafka.NoBroker, LeaderEpoch: 1, PartitionEpoch: 1, ISR: ids(), Replicas: ids(3),
		RemovingReplicas: ids(1), AddingReplicas: ids(3), LeaderRecoveryState: record.LeaderRecovering,
		Directories: []kafka.UUID{id(93)}, ELR: ids(2), LastKnownELR: ids(1)}
	if diff := cmp.Diff(want, next.Partition("a", 0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestADeletedTopicTakesItsConfigsAlong(t *testing.T) {
	set := &record.Config{
		ResourceType: int8(ResourceTopic),
		ResourceName: "a",
		Name:         "retention.ms",
		Value:        pointer("1"),
	}
	old, d := applied(t, Empty("c"), append(topic("a", 1, 2), set)...)
	if !slices.Equal(d.ConfigsChanged, []Resource{TopicResource("a")}) {
		t.Errorf("configs changed: %v", d.ConfigsChanged)
	}
	next, d := applied(t, old, &record.RemoveTopic{ID: id(1)})
	if next.Topic("a") != nil || next.Configs(TopicResource("a")) != nil || next.PartitionCount() != 0 {
		t.Error("something of the topic is left")
	}
	want := &Delta{TopicsDeleted: []*Topic{old.Topic("a")}, ConfigsChanged: []Resource{TopicResource("a")}}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
	again, d := applied(t, old, append([]record.Record{&record.RemoveTopic{ID: id(1)}}, topic("a", 7, 1)...)...)
	if again.Topic("a").ID != id(7) || len(d.TopicsCreated) != 1 || len(d.TopicsDeleted) != 1 ||
		d.TopicsDeleted[0].ID != id(1) {
		t.Errorf("a topic of the same name gives %+v", d)
	}
}

func TestWhatComesAndGoesIsNotInTheDelta(t *testing.T) {
	set := &record.Config{ResourceType: int8(ResourceTopic), ResourceName: "a", Name: "n", Value: pointer("1")}
	records := append(topic("a", 1, 1), set, &record.RemoveTopic{ID: id(1)},
		&record.RegisterBroker{BrokerID: 4, BrokerEpoch: 9}, &record.UnregisterBroker{BrokerID: 4, BrokerEpoch: 9})
	if _, d := applied(t, Empty("c"), records...); !cmp.Equal(&Delta{}, d) {
		t.Errorf("delta is %+v", d)
	}
}

func TestNamesThatAMetricCannotTellApartCollide(t *testing.T) {
	img, _ := applied(
		t,
		Empty("c"),
		slices.Concat(topic("a.b", 1, 1), topic("a_b", 2, 1), topic("a-c", 3, 1), topic("ab", 4, 1))...)
	for name, want := range map[string]string{"a.b": "a.b", "a_b": "a.b", "a-b": "", "ab": "", "a.c": "", "a": ""} {
		if got, ok := img.CollidingTopic(name); got != want || ok != (want != "") {
			t.Errorf("%s collides with %q, want %q", name, got, want)
		}
	}
	img, _ = applied(t, img, &record.RemoveTopic{ID: id(1)})
	if got, _ := img.CollidingTopic("a.b"); got != "a_b" {
		t.Errorf("a.b collides with %q", got)
	}
	img, _ = applied(t, img, &record.RemoveTopic{ID: id(2)})
	if got, ok := img.CollidingTopic("a.b"); ok {
		t.Errorf("a.b collides with %q", got)
	}
}

func TestConfigsAreSetAndRemovedOneByOne(t *testing.T) {
	all := Resource{Type: ResourceBroker}
	set := func(name string, value *string) record.Record {
		return &record.Config{ResourceType: int8(ResourceBroker), Name: name, Value: value}
	}
	one, _ := applied(t, Empty("c"), set("a", pointer("1")), set("b", pointer("")))
	two, d := applied(t, one, set("a", nil), set("b", pointer("2")))
	if diff := cmp.Diff(map[string]string{"a": "1", "b": ""}, one.Configs(all)); diff != "" {
		t.Errorf("the first image (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"b": "2"}, two.Configs(all)); diff != "" {
		t.Errorf("the second image (-want +got):\n%s", diff)
	}
	if !slices.Equal(d.ConfigsChanged, []Resource{all}) {
		t.Errorf("configs changed: %v", d.ConfigsChanged)
	}
	three, _ := applied(t, two, set("b", nil), set("never set", nil))
	for r := range three.AllConfigs() {
		t.Errorf("%v has no configs but is listed", r)
	}
	if _, d := applied(t, two, set("b", pointer("2"))); len(d.ConfigsChanged) != 0 {
		t.Errorf("a config set to what it was is in the delta: %v", d.ConfigsChanged)
	}
}

func TestBrokersAreRegisteredChangedAndForgotten(t *testing.T) {
	register := func(broker kafka.BrokerID, epoch kafka.BrokerEpoch) *record.RegisterBroker {
		return &record.RegisterBroker{
			BrokerID:      broker,
			BrokerEpoch:   epoch,
			IncarnationID: id(1),
			Fenced:        true,
			Rack:          pointer("r"),
			Endpoints:     []record.Endpoint{{Name: "PLAINTEXT", Host: "h", Port: 9}},
			LogDirs:       []kafka.UUID{id(2)},
		}
	}
	img, d := applied(t, Empty("c"), register(3, 0), register(1, 1), register(2, 2))
	if !slices.Equal(d.BrokersChanged, ids(1, 2, 3)) || len(img.Brokers()) != 3 || img.Brokers()[0].ID != 1 ||
		img.Broker(4) != nil {
		t.Errorf("brokers changed %v, brokers %v", d.BrokersChanged, img.Brokers())
	}
	if e, ok := img.Broker(3).Endpoint("PLAINTEXT"); !ok || e.Port != 9 {
		t.Errorf("endpoint %v, %v", e, ok)
	}
	if _, ok := img.Broker(3).Endpoint("SSL"); ok {
		t.Error("an endpoint is there that is not")
	}
	next, d := applied(
		t,
		img,
		&record.BrokerRegistrationChange{
			BrokerID:    1,
			BrokerEpoch: 1,
			Fenced:      record.Unfence,
			LogDirs:     []kafka.UUID{id(5)},
		},
		&record.BrokerRegistrationChange{BrokerID: 1, BrokerEpoch: 1, CordonedLogDirs: []kafka.UUID{id(6)}},
		&record.UnfenceBroker{BrokerID: 2, BrokerEpoch: 2},
		&record.UnregisterBroker{BrokerID: 3, BrokerEpoch: 0},
	)
	want := *img.Broker(1)
	want.Fenced, want.LogDirs, want.CordonedLogDirs = false, []kafka.UUID{id(5)}, []kafka.UUID{id(6)}
	if diff := cmp.Diff(&want, next.Broker(1)); diff != "" || !next.Broker(1).Active() {
		t.Errorf("broker 1 (-want +got):\n%s", diff)
	}
	if next.Broker(2).Fenced || next.Broker(3) != nil || !slices.Equal(d.BrokersChanged, ids(1, 2, 3)) {
		t.Errorf("brokers changed %v", d.BrokersChanged)
	}
	last, _ := applied(t, next, &record.FenceBroker{BrokerID: 2, BrokerEpoch: 2},
		&record.BrokerRegistrationChange{BrokerID: 1, BrokerEpoch: 1, InControlledShutdown: record.ControlledShutdown})
	if !last.Broker(2).Fenced || last.Broker(1).Active() || last.Broker(1).Fenced || img.Broker(1).Fenced == false {
		t.Error("fencing or shutdown went wrong")
	}
}

func TestFeaturesAndProducerIDs(t *testing.T) {
	img, d := applied(
		t,
		Empty("c"),
		&record.FeatureLevel{Name: "z", Level: 2},
		&record.FeatureLevel{Name: "a", Level: 1},
		&record.FeatureLevel{Name: "z", Level: 3},
		&record.ProducerIDs{NextProducerID: 1000},
		&record.NoOp{},
	)
	if !d.FeaturesChanged || !d.ProducersChanged || img.NextProducerID() != 1000 || img.Feature("z") != 3 ||
		img.Feature("b") != 0 {
		t.Errorf("features %v, next producer id %d, delta %+v", img.Features(), img.NextProducerID(), d)
	}
	next, _ := applied(t, img, &record.FeatureLevel{Name: "a"}, &record.FeatureLevel{Name: "never"})
	if !slices.Equal(next.Features(), []Feature{{"z", 3}}) || len(img.Features()) != 2 {
		t.Errorf("features %v, before %v", next.Features(), img.Features())
	}
}

func TestRecordsThatDoNotFitAreRefused(t *testing.T) {
	base, _ := applied(t, Empty("c"), append(topic("a", 1, 1), &record.RegisterBroker{BrokerID: 1, BrokerEpoch: 5},
		&record.ProducerIDs{NextProducerID: 7})...)
	for want, r := range map[string]record.Record{
		"topic a exists already":                                 &record.Topic{Name: "a", ID: id(2)},
		fmt.Sprintf("topic id %s exists already", id(1)):         &record.Topic{Name: "b", ID: id(1)},
		fmt.Sprintf("there is no topic with id %s", id(3)):       &record.RemoveTopic{ID: id(3)},
		"partition 2 of topic a does not follow the 1":           &record.Partition{TopicID: id(1), Index: 2},
		"partition -1 of topic a does not follow":                &record.Partition{TopicID: id(1), Index: -1},
		"topic a has no partition 1":                             record.NewPartitionChange(id(1), 1),
		"apply PARTITION_CHANGE_RECORD at or after offset 4: th": record.NewPartitionChange(id(9), 0),
		"apply PARTITION_RECORD at or after offset 4: there is":  &record.Partition{TopicID: id(9)},
		"broker 2 is not registered":                             &record.UnfenceBroker{BrokerID: 2},
		"broker 1 has epoch 5, not 4":                            &record.FenceBroker{BrokerID: 1, BrokerEpoch: 4},
		"broker 1 has epoch 5, not 6":                            &record.UnregisterBroker{BrokerID: 1, BrokerEpoch: 6},
		"next producer id 7 is not above 7":                      &record.ProducerIDs{NextProducerID: 7},
	} {
		if err := NewBuilder(base).Apply(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func thousands(t testing.TB) *Image {
	var records []record.Record
	for n := range uint32(10_000) {
		records = append(records, topic(fmt.Sprintf("topic.%05d", n), n, 1)...)
	}
	img, _ := applied(t, Empty("c"), records...)
	return img
}

func TestLookupsDoNotAllocate(t *testing.T) {
	img := thousands(t)
	name, view, key := "topic.07777", []byte("topic.07777"), id(7777)
	resource := TopicResource(name)
	for what, f := range map[string]func(){
		"Topic":          func() { img.Topic(name) },
		"TopicView":      func() { img.TopicView(view) },
		"TopicByID":      func() { img.TopicByID(key) },
		"Partition":      func() { img.Partition(name, 0) },
		"Configs":        func() { img.Configs(resource) },
		"Broker":         func() { img.Broker(1) },
		"NextProducerID": func() { img.NextProducerID() },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

// TestOneTopicAmongThousandsIsCheap pins what a change copies: some tree nodes, not something for every topic.
func TestOneTopicAmongThousandsIsCheap(t *testing.T) {
	img := thousands(t)
	records := topic("one.more", 20_000, 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const rounds = 100
	for range rounds {
		applied(t, img, records...)
	}
	runtime.ReadMemStats(&after)
	if used := (after.TotalAlloc - before.TotalAlloc) / rounds; used > 32<<10 {
		t.Errorf("creating a topic among %d takes %d bytes", img.TopicCount(), used)
	}
}

func BenchmarkCreateOneTopicAmongThousands(b *testing.B) {
	img := thousands(b)
	records := topic("one.more", 20_000, 1)
	b.ReportAllocs()
	for b.Loop() {
		applied(b, img, records...)
	}
}

// The types of resources are named as Kafka names them, and count as configured while something is set for them.
func TestResources(t *testing.T) {
	for r, want := range map[Resource]string{
		TopicResource("a"): "TOPIC", GroupResource("a"): "GROUP", {Type: ResourceBroker}: "BROKER",
		{Type: ResourceBrokerLogger}: "BROKER_LOGGER", {Type: ResourceClientMetrics}: "CLIENT_METRICS", {}: "UNKNOWN",
	} {
		if got := r.Type.String(); got != want {
			t.Errorf("%d is %s, want %s", r.Type, got, want)
		}
	}
	value := "50000"
	set := &record.Config{ResourceType: 32, ResourceName: "g", Name: "consumer.session.timeout.ms", Value: &value}
	unset := *set
	unset.Value = nil
	b := NewBuilder(Empty("c"))
	for _, r := range []record.Record{set, set} {
		if err := b.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	img, d := b.Build()
	if img.ConfiguredCount() != 1 || img.Configs(GroupResource("g"))["consumer.session.timeout.ms"] != value {
		t.Errorf("%d resources, %v", img.ConfiguredCount(), img.Configs(GroupResource("g")))
	}
	if len(d.ConfigsChanged) != 1 || d.ConfigsChanged[0] != GroupResource("g") {
		t.Errorf("changed: %v", d.ConfigsChanged)
	}
	b = NewBuilder(img)
	if err := b.Apply(&unset); err != nil {
		t.Fatal(err)
	}
	if img, _ = b.Build(); img.ConfiguredCount() != 0 || img.Configs(GroupResource("g")) != nil {
		t.Errorf("%d resources are left", img.ConfiguredCount())
	}
}
