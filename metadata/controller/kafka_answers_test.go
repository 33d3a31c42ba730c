package controller

import (
	"fmt"
	"strings"
	"testing"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: refusals are Kafka's, code and words. Method: requests that were sent to a real Kafka 4.3.1 with one broker, 1,
// and the topics orders and a.b, with the answers that it gave.

func oneBroker(t testing.TB, topics ...string) *Controller {
	c := New(settings(), image.Empty("cluster"))
	perform(t, c, RegisterBroker{BrokerID: 1, ClusterID: "cluster", LogDirs: []kafka.UUID{number('d', 1)}})
	for i, name := range topics {
		perform(t, c, CreateTopics{Topics: []NewTopic{
			{Name: name, ID: number('t', uint32(i+1)), Partitions: 1, ReplicationFactor: 1}}})
	}
	return c
}

// perform decides and applies a command that must succeed.
func perform(t testing.TB, c *Controller, cmd Command) Reply {
	t.Helper()
	o := c.Decide(cmd)
	if o.Err != nil {
		t.Fatal(o.Err)
	}
	if _, err := c.Apply(o.Records, c.Image().EndOffset()+kafka.Offset(len(o.Records)), 1); err != nil {
		t.Fatal(err)
	}
	return o.Reply
}

func TestRefusalsOfCreateTopicsAreKafkas(t *testing.T) {
	long := strings.Repeat("x", 250)
	assigned := func(a ...Assignment) NewTopic {
		return NewTopic{Partitions: Default, ReplicationFactor: Default, Assignments: a}
	}
	on := func(partition kafka.PartitionIndex, replicas ...kafka.BrokerID) Assignment {
		return Assignment{Partition: partition, Replicas: replicas}
	}
	configs := func(topic NewTopic, names ...string) NewTopic {
		for _, name := range names {
			topic.Configs = append(topic.Configs, ConfigEntry{Name: name})
		}
		return topic
	}
	value := "1"
	unknown := sized(1, 1)
	unknown.Configs = []ConfigEntry{{Name: "nope", Value: &value}}
	unknownAndBad := unknown
	unknownAndBad.Partitions = 0
	for _, c := range []struct {
		name  string
		topic NewTopic
		code  *kafka.Error
		want  string
	}{
		{"", sized(1, 1), kafka.InvalidTopicException, "Topic name is invalid: the empty string is not allowed"},
		{".", sized(1, 1), kafka.InvalidTopicException, "Topic name is invalid: '.' is not allowed"},
		{"..", sized(1, 1), kafka.InvalidTopicException, "Topic name is invalid: '..' is not allowed"},
		{long, sized(1, 1), kafka.InvalidTopicException,
			"Topic name is invalid: the length of '" + long + "' is longer than the max allowed length 249"},
		{"a b", sized(1, 1), kafka.InvalidTopicException, "Topic name is invalid: 'a b' contains one or more " +
			"characters other than ASCII alphanumerics, '.', '_' and '-'"},
		{"ä", sized(1, 1), kafka.InvalidTopicException, "Topic name is invalid: 'ä' contains one or more characters " +
			"other than ASCII alphanumerics, '.', '_' and '-'"},
		{"orders", sized(0, 1), kafka.TopicAlreadyExists, "Topic 'orders' already exists."},
		{"a.b", sized(1, 1), kafka.TopicAlreadyExists, "Topic 'a.b' already exists."},
		{"a_b", sized(1, 1), kafka.InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b"},
		{"__cluster_metadata", sized(1, 1), kafka.InvalidRequest,
			"Creation of internal topic __cluster_metadata is prohibited."},
		{"p", sized(0, 1), kafka.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{"p", sized(-2, 1), kafka.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		{"p", sized(1, 0), kafka.InvalidReplicationFactor,
			"Replication factor must be larger than 0, or -1 to use the default value."},
		{"p", sized(1, -2), kafka.InvalidReplicationFactor,
			"Replication factor must be larger than 0, or -1 to use the default value."},
		{"p", sized(0, 0), kafka.InvalidReplicationFactor,
			"Replication factor must be larger than 0, or -1 to use the default value."},
		{"p", sized(1, 2), kafka.InvalidReplicationFactor, "Unable to replicate the partition 2 time(s): The target " +
			"replication factor of 2 cannot be reached because only 1 broker(s) are registered or some brokers have " +
			"all their log directories cordoned."},
		{"p", sized(1, 32767), kafka.InvalidReplicationFactor, "Unable to replicate the partition 32767 time(s): The " +
			"target replication factor of 32767 cannot be reached because only 1 broker(s) are registered or some " +
			"brokers have all their log directories cordoned."},
		{"p", with(assigned(on(0, 1)), 1, Default), kafka.InvalidRequest,
			"A manual partition assignment was specified, but numPartitions was not set to -1."},
		{"p", with(assigned(on(0, 1)), Default, 1), kafka.InvalidRequest,
			"A manual partition assignment was specified, but replication factor was not set to -1."},
		{"p", assigned(on(0, 2)), kafka.InvalidReplicaAssignment,
			"The manual partition assignment includes broker 2, but no such broker is registered."},
		{"p", assigned(on(0, 1, 1)), kafka.InvalidReplicaAssignment,
			"The manual partition assignment includes the broker 1 more than once."},
		{"p", assigned(on(0)), kafka.InvalidReplicaAssignment,
			"The manual partition assignment includes an empty replica list."},
		{"p", assigned(on(0, 1), on(0, 1)), kafka.InvalidReplicaAssignment,
			"Found multiple manual partition assignments for partition 0"},
		{"p", assigned(on(0, 1), on(2, 1)), kafka.InvalidReplicaAssignment,
			"partitions should be a consecutive 0-based integer sequence"},
		{"p", assigned(on(-1, 1)), kafka.InvalidReplicaAssignment,
			"partitions should be a consecutive 0-based integer sequence"},
		{"p", assigned(on(0, 1), on(1, 1, 2)), kafka.InvalidReplicaAssignment,
			"The manual partition assignment includes broker 2, but no such broker is registered."},
		{"p", unknown, kafka.InvalidConfig, "Unknown topic config name: nope"},
		{"p", unknownAndBad, kafka.InvalidConfig, "Unknown topic config name: nope"},
		{"p", configs(sized(1, 1), "retention.ms", "segment.ms"), kafka.InvalidConfig,
			"Null value not supported for topic configs: retention.ms,segment.ms"},
	} {
		t.Run(c.want, func(t *testing.T) {
			topic := c.topic
			topic.Name, topic.ID = c.name, number('t', 99)
			o := oneBroker(t, "orders", "a.b").Decide(CreateTopics{Topics: []NewTopic{topic}})
			if o.Err != nil || len(o.Records) != 0 {
				t.Fatalf("%v, %d records", o.Err, len(o.Records))
			}
			got := o.Reply.(CreateTopicsReply).Topics[0]
			if got.Name != c.name || kafka.CodeOf(got.Err) != c.code.Code || got.Err.Error() != c.want {
				t.Errorf("%q: %s, want %s: %s", got.Name, failed(got.Err), c.code.Name, c.want)
			}
		})
	}
}

func sized(partitions int32, factor int16) NewTopic {
	return NewTopic{Partitions: partitions, ReplicationFactor: factor}
}

func with(t NewTopic, partitions int32, factor int16) NewTopic {
	t.Partitions, t.ReplicationFactor = partitions, factor
	return t
}

func TestARequestForTooMuchIsRefusedAsAWhole(t *testing.T) {
	const partitions, records = "Excessively large number of partitions per request.",
		"Unable to perform excessively large batch operation."
	for name, refused := range map[string]struct {
		sizes []int32
		want  string
	}{
		"one topic":                                  {[]int32{10_001, 1}, partitions},
		"one topic of billions":                      {[]int32{1<<31 - 1, 1}, partitions},
		"two topics of billions":                     {[]int32{1<<31 - 1, 1<<31 - 1}, partitions},
		"two topics":                                 {[]int32{6000, 6000}, partitions},
		"one too many, and one below nothing":        {[]int32{10_001, -1 << 31}, partitions},
		"the default is one too many":                {[]int32{10_000, Default}, partitions},
		"the limit, but for the topics' own records": {[]int32{9999, 1}, records},
		"the limit in one topic":                     {[]int32{10_000}, records},
	} {
		var cmd CreateTopics
		for i, size := range refused.sizes {
			topic := sized(size, 1)
			topic.Name, topic.ID = fmt.Sprint("t", i), number('t', uint32(i+1))
			cmd.Topics = append(cmd.Topics, topic)
		}
		o := oneBroker(t).Decide(cmd)
		if kafka.CodeOf(o.Err) != kafka.PolicyViolation.Code || len(o.Records) != 0 ||
			o.Err.Error() != refused.want {
			t.Errorf("%s: %v, %d records", name, o.Err, len(o.Records))
		}
	}
	topic := sized(9999, 1) // with the topic's own record, 10,000
	topic.Name, topic.ID = "t", number('t', 1)
	if o := oneBroker(t).Decide(CreateTopics{Topics: []NewTopic{topic}}); o.Err != nil || len(o.Records) != 10_000 {
		t.Errorf("the limit itself: %v, %d records", o.Err, len(o.Records))
	}
}

func TestAConfigValueIsBounded(t *testing.T) {
	value := strings.Repeat("x", 1<<15)
	topic := sized(1, 1)
	topic.Name, topic.ID, topic.Configs = "t", number('t', 1), []ConfigEntry{{Name: "retention.ms", Value: &value}}
	got := oneBroker(t).Decide(CreateTopics{Topics: []NewTopic{topic}}).Reply.(CreateTopicsReply).Topics[0].Err
	if kafka.CodeOf(got) != kafka.InvalidConfig.Code || !strings.Contains(got.Error(), "32767 bytes") {
		t.Errorf("%v", got)
	}
}

func TestAnswersOfDeleteTopicsAreKafkas(t *testing.T) {
	named := func(name string) TopicRef { return TopicRef{Name: &name} }
	by := func(n uint32) TopicRef { return TopicRef{ID: number('t', n)} }
	both := TopicRef{Name: named("d1").Name, ID: number('t', 1)}
	c := oneBroker(t, "d1", "d2", "d3", "d4", "d5")
	reply := perform(t, c, DeleteTopics{Topics: []TopicRef{
		named("nope"), named("nope"), named("missing"), by(99), {}, both, named(""), named("a b"),
		named("d1"), named("d1"), by(2), by(2), named("d3"), by(3), named("d4"), by(5),
	}}).(DeleteTopicsReply)
	want := []string{
		"nope INVALID_REQUEST: Duplicate topic name.",
		"missing UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.",
		"- UNKNOWN_TOPIC_ID: This server does not host this topic ID.",
		"- INVALID_REQUEST: Neither topic name nor id were specified.",
		"d1 INVALID_REQUEST: You may not specify both topic name and topic id.",
		" UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.",
		"a b UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.",
		"d1 INVALID_REQUEST: Duplicate topic name.",
		"- INVALID_REQUEST: Duplicate topic id.",
		"d3 INVALID_REQUEST: The provided topic name maps to an ID that was already supplied.",
		"d4 deleted", "d5 deleted",
	}
	for i, topic := range reply.Topics {
		got := "- "
		if topic.Name != nil {
			got = *topic.Name + " "
		}
		if topic.Err != nil {
			got += failed(topic.Err)
		} else {
			got += "deleted"
		}
		if i >= len(want) || got != want[i] {
			t.Errorf("answer %d: %s", i, got)
		}
	}
	var left []string
	for topic := range c.Image().Topics() {
		left = append(left, topic.Name)
	}
	if strings.Join(left, " ") != "d1 d2 d3" {
		t.Errorf("left are %v", left)
	}
}

func TestProducerIDsRunOut(t *testing.T) {
	c := oneBroker(t)
	nearTheEnd := []record.Record{&record.ProducerIDs{NextProducerID: 1<<63 - 500}}
	if _, err := c.Apply(nearTheEnd, c.Image().EndOffset()+1, 1); err != nil {
		t.Fatal(err)
	}
	o := c.Decide(AllocateProducerIDs{BrokerID: 1, BrokerEpoch: c.Image().Broker(1).Epoch})
	if kafka.CodeOf(o.Err) != kafka.UnknownServerError.Code || len(o.Records) != 0 {
		t.Errorf("%v, %d records", o.Err, len(o.Records))
	}
}

func TestRecordsThatDoNotFitLeaveTheControllerAsItWas(t *testing.T) {
	c := oneBroker(t, "a")
	before := c.Image()
	records := []record.Record{
		&record.Topic{Name: "b", ID: number('t', 2)},
		&record.Topic{Name: "a", ID: number('t', 3)},
	}
	if _, err := c.Apply(records, before.EndOffset()+2, 1); err == nil || c.Image() != before {
		t.Errorf("%v", err)
	}
}
