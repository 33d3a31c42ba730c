package controller

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"spate/kafka"
	"spate/metadata/image"
)

// Goal: replicas are spread as place promises, whatever the cluster looks like. Method: random clusters.

func cluster(t *rapid.T) []*image.Broker {
	racks := rapid.IntRange(0, 4).Draw(t, "racks")
	var brokers []*image.Broker
	for i := range rapid.IntRange(1, 12).Draw(t, "brokers") {
		b := &image.Broker{ID: kafka.BrokerID(i * 3), Fenced: rapid.IntRange(0, 4).Draw(t, "fenced") == 0}
		if racks > 0 {
			rack := fmt.Sprint("rack", rapid.IntRange(1, racks).Draw(t, "rack"))
			b.Rack = &rack
		}
		brokers = append(brokers, b)
	}
	return brokers
}

func TestReplicasAreSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		brokers := cluster(t)
		active := slices.DeleteFunc(slices.Clone(brokers), func(b *image.Broker) bool { return !b.Active() })
		partitions := rapid.IntRange(1, 60).Draw(t, "partitions")
		factor := rapid.IntRange(1, len(brokers)).Draw(t, "factor")
		topic := number('t', uint32(rapid.IntRange(0, 1000).Draw(t, "topic")))
		placed, err := place(brokers, partitions, factor, topic)
		if len(active) == 0 {
			if kafka.CodeOf(err) != kafka.InvalidReplicationFactor.Code {
				t.Fatalf("without an active broker: %v", err)
			}
			return
		}
		if err != nil || len(placed) != partitions {
			t.Fatalf("%d partitions, %v", len(placed), err)
		}
		leads := map[kafka.BrokerID]int{}
		for i, replicas := range placed {
			checkReplicas(t, i, replicas, brokers, active, factor)
			leads[replicas[0]]++
		}
		for _, b := range active {
			if n := leads[b.ID]; n < partitions/len(active) || n > (partitions+len(active)-1)/len(active) {
				t.Fatalf("broker %d leads %d of %d partitions among %d brokers", b.ID, n, partitions, len(active))
			}
		}
		again, _ := place(brokers, partitions, factor, topic)
		if fmt.Sprint(again) != fmt.Sprint(placed) {
			t.Fatalf("the same arguments give\n%v, then\n%v", placed, again)
		}
	})
}

func checkReplicas(t *rapid.T, i int, replicas []kafka.BrokerID, brokers, active []*image.Broker, factor int) {
	if sorted := slices.Compact(slices.Sorted(slices.Values(replicas))); len(sorted) != factor ||
		len(replicas) != factor {
		t.Fatalf("partition %d has replicas %v, want %d different ones", i, replicas, factor)
	}
	rackOf := func(id kafka.BrokerID) string {
		b := brokers[slices.IndexFunc(brokers, func(b *image.Broker) bool { return b.ID == id })]
		if b.Rack == nil {
			return ""
		}
		return *b.Rack
	}
	here, there := map[string]bool{}, map[string]bool{}
	for _, b := range active {
		there[rackOf(b.ID)] = true
	}
	for n, id := range replicas {
		isActive := slices.ContainsFunc(active, func(b *image.Broker) bool { return b.ID == id })
		if isActive != (n < min(factor, len(active))) {
			t.Fatalf(
				"partition %d: replica %d of %v is active: %v; active are %d brokers",
				i,
				n,
				replicas,
				isActive,
				len(active),
			)
		}
		if isActive {
			here[rackOf(id)] = true
		}
	}
	if want := min(factor, len(there)); len(here) != want && factor <= len(active) {
		t.Fatalf("partition %d: replicas %v lie in %d racks, want %d", i, replicas, len(here), want)
	}
}

func TestAFailedBrokersLoadFallsOnAllOthers(t *testing.T) {
	var brokers []*image.Broker
	for id := range kafka.BrokerID(6) {
		brokers = append(brokers, &image.Broker{ID: id})
	}
	placed, err := place(brokers, 60, 2, number('t', 1))
	if err != nil {
		t.Fatal(err)
	}
	next := map[kafka.BrokerID]int{}
	for _, replicas := range placed {
		if replicas[0] == 0 {
			next[replicas[1]]++
		}
	}
	if len(next) != 5 {
		t.Errorf("the partitions that broker 0 leads have their second replica on %v", next)
	}
}

func TestTopicsBeginOnDifferentBrokers(t *testing.T) {
	brokers := []*image.Broker{{ID: 1}, {ID: 2}, {ID: 3}}
	leads := map[kafka.BrokerID]int{}
	for n := range byte(99) {
		placed, err := place(brokers, 1, 1, kafka.UUID{3: n})
		if err != nil {
			t.Fatal(err)
		}
		leads[placed[0][0]]++
	}
	if leads[1] != 33 || leads[2] != 33 || leads[3] != 33 {
		t.Errorf("99 topics of one partition are led by %v", leads)
	}
}

func TestDefaultsThatMakeNoSenseAreRefused(t *testing.T) {
	brokers := []*image.Broker{{ID: 1}}
	if _, err := place(brokers, 0, 1, kafka.UUID{}); kafka.CodeOf(err) != kafka.InvalidPartitions.Code {
		t.Errorf("num.partitions=0: %v", err)
	}
	if _, err := place(brokers, 1, 0, kafka.UUID{}); kafka.CodeOf(err) != kafka.InvalidReplicationFactor.Code {
		t.Errorf("default.replication.factor=0: %v", err)
	}
}
