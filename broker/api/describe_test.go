package api

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/metrics"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/metadata/image"
	"spate/metadata/record"
)

// The ids of the log directories of the brokers below.
var dirOne, dirTwo = kafka.UUID{0: 0xaa, 15: 1}, kafka.UUID{0: 0xaa, 15: 2}

// clusterOf builds an image of three brokers, the second fenced and the third without the listener CLIENTS, and of
// topic t, whose partitions are those given.
func clusterOf(t *testing.T, partitions ...*record.Partition) *image.Image {
	t.Helper()
	endpoint := func(name, host string) []record.Endpoint {
		return []record.Endpoint{{Name: name, Host: host, Port: 9092}}
	}
	rack := "b"
	features := []record.FeatureRange{{Name: "kraft.version", Max: 1}, {Name: "metadata.version", Min: 7, Max: 30}}
	records := []record.Record{
		&record.RegisterBroker{BrokerID: 1, Endpoints: endpoint("CLIENTS", "one"), LogDirs: []kafka.UUID{dirOne},
			Features: features},
		&record.RegisterBroker{BrokerID: 2, Endpoints: endpoint("CLIENTS", "two"), LogDirs: []kafka.UUID{dirTwo},
			Fenced: true, Rack: &rack},
		&record.RegisterBroker{BrokerID: 3, Endpoints: endpoint("OTHERS", "three")},
		&record.FeatureLevel{Name: "metadata.version", Level: 30},
		&record.Topic{Name: "t", ID: kafka.UUID{1}},
	}
	for i, p := range partitions {
		p.Index, p.TopicID, p.LeaderEpoch = kafka.PartitionIndex(i), kafka.UUID{1}, 7
		records = append(records, p)
	}
	b := image.NewBuilder(image.Empty("the-cluster"))
	for _, r := range records {
		if err := b.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	b.AdvanceTo(kafka.Offset(len(records)), 1)
	img, _ := b.Build()
	return img
}

func ids(list ...kafka.BrokerID) []kafka.BrokerID { return list }

// Goal: a client learns what is wrong with a partition, in the way that its version knows. Method: partitions of a
// cluster in trouble, described at the versions where the answer changes.
func TestMetadataOfPartitionsInTrouble(t *testing.T) {
	type told struct {
		Code                   int16
		Leader                 int32
		Replicas, ISR, Offline []int32
	}
	cases := []struct {
		name    string
		p       record.Partition
		version int16
		want    told
	}{
		{"all is well", record.Partition{Leader: 1, Replicas: ids(1), ISR: ids(1)}, 13,
			told{0, 1, []int32{1}, []int32{1}, nil}},
		{"nobody leads", record.Partition{Leader: -1, Replicas: ids(1, 2), ISR: ids(2)}, 13,
			told{5, -1, []int32{1, 2}, []int32{2}, []int32{2}}},
		{"the leader is not registered", record.Partition{Leader: 9, Replicas: ids(9, 1), ISR: ids(9)}, 13,
			told{5, -1, []int32{9, 1}, []int32{9}, []int32{9}}},
		{"the leader lacks the listener", record.Partition{Leader: 3, Replicas: ids(3, 1), ISR: ids(3)}, 6,
			told{72, -1, []int32{3, 1}, []int32{3}, []int32{3}}},
		{"the leader lacks the listener, for an old client",
			record.Partition{Leader: 3, Replicas: ids(3, 1), ISR: ids(3)}, 5,
			told{5, -1, []int32{3, 1}, []int32{3}, []int32{3}}},
		{"a replica is out of reach", record.Partition{Leader: 1, Replicas: ids(1, 3, 9), ISR: ids(1)}, 1,
			told{0, 1, []int32{1, 3, 9}, []int32{1}, []int32{3, 9}}},
		{"a replica is out of reach, for version 0", record.Partition{Leader: 1, Replicas: ids(1, 3), ISR: ids(1)}, 0,
			told{9, 1, []int32{1}, []int32{1}, []int32{3}}},
		{"a replica in sync is out of reach, for version 0",
			record.Partition{Leader: 1, Replicas: ids(1), ISR: ids(1, 9)}, 0,
			told{9, 1, []int32{1}, []int32{1}, nil}},
		{"a log directory is offline", record.Partition{Leader: 1, Replicas: ids(1), ISR: ids(1),
			Directories: []kafka.UUID{dirTwo}}, 13, told{0, 1, []int32{1}, []int32{1}, []int32{1}}},
		{"a log directory is online", record.Partition{Leader: 1, Replicas: ids(1), ISR: ids(1),
			Directories: []kafka.UUID{dirOne}}, 13, told{0, 1, []int32{1}, []int32{1}, nil}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			request := kmsg.NewPtrMetadataRequest()
			request.Version = c.version
			header := wire.RequestHeader{Key: wire.KeyMetadata}
			d := topicDescriber{
				c:     &Context{Node: &Node{Meters: NewMeters(metrics.New())}, Header: header},
				image: clusterOf(t, &c.p), request: request, listener: "CLIENTS",
			}
			p := d.topics()[0].Partitions[0]
			got := told{p.ErrorCode, p.Leader, p.Replicas, p.ISR, nilIfEmpty(p.OfflineReplicas)}
			if diff := cmp.Diff(c.want, got); diff != "" || p.LeaderEpoch != 7 {
				t.Fatal(diff, p.LeaderEpoch)
			}
		})
	}
}

func nilIfEmpty(list []int32) []int32 {
	if len(list) == 0 {
		return nil
	}
	return list
}

func TestNodesAreThoseOfTheListener(t *testing.T) {
	img := clusterOf(t)
	rack := "b"
	one, two := node{1, "one", 9092, nil, false}, node{2, "two", 9092, &rack, true}
	cases := []struct {
		name     string
		listener string
		fenced   bool
		want     []node
	}{
		{"fenced brokers are left out", "CLIENTS", false, []node{one}},
		{"fenced brokers are asked for", "CLIENTS", true, []node{one, two}},
		{"another listener", "OTHERS", false, []node{{3, "three", 9092, nil, false}}},
		{"no such listener", "NOBODY", true, nil},
	}
	for _, c := range cases {
		if diff := cmp.Diff(c.want, nodes(img, c.listener, c.fenced), cmp.AllowUnexported(node{})); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestControllerIsABrokerThatIsAlive(t *testing.T) {
	cases := []struct {
		name string
		img  *image.Image
		self kafka.BrokerID
		want int32
	}{
		{"this one", clusterOf(t), 3, 3},
		{"another, if this one is fenced", clusterOf(t), 2, 1},
		{"nobody", image.Empty("c"), 1, -1},
	}
	for _, c := range cases {
		if got := controllerOf(c.img, c.self); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Features with a lowest level of 0 are kept from clients that would give up on them.
func TestFeaturesByVersion(t *testing.T) {
	img := clusterOf(t)
	for version, want := range map[int16]string{
		3: "[{metadata.version 7 30}]",
		4: "[{kraft.version 0 1} {metadata.version 7 30}]",
	} {
		response := kmsg.NewPtrApiVersionsResponse()
		response.Version = version
		tellFeatures(response, img, 1)
		var got []string
		for _, f := range response.SupportedFeatures {
			got = append(got, fmt.Sprintf("{%s %d %d}", f.Name, f.MinVersion, f.MaxVersion))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("v%d: %s, want %s", version, got, want)
		}
		f := response.FinalizedFeatures
		if len(f) != 1 || f[0].Name != "metadata.version" || f[0].MinVersionLevel != 30 || f[0].MaxVersionLevel != 30 {
			t.Errorf("v%d: %+v", version, f)
		}
		if response.FinalizedFeaturesEpoch != int64(img.EndOffset())-1 {
			t.Errorf("v%d: epoch %d", version, response.FinalizedFeaturesEpoch)
		}
	}
	none := kmsg.NewPtrApiVersionsResponse()
	tellFeatures(none, image.Empty("c"), 1)
	if none.FinalizedFeaturesEpoch != -1 || none.SupportedFeatures != nil {
		t.Errorf("%+v", none)
	}
}
