package controller

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: the machine's laws hold whatever the commands. Deciding changes nothing and gives the same answer twice; the
// records, replayed from the start, give the same state; epochs only rise; a partition is led by an active broker in
// its ISR or by none; only members of the replicas are in the ISR, and it is never empty. Method: random commands,
// also wrong ones.

func fingerprint(img *image.Image) string {
	var bytes []byte
	for r := range img.Records() {
		bytes = record.Append(bytes, r)
	}
	return fmt.Sprintf("%x at %d", bytes, img.EndOffset())
}

func drawCommand(t *rapid.T, c *Controller, step uint32) Command {
	broker := kafka.BrokerID(rapid.Int32Range(1, 4).Draw(t, "broker"))
	epoch := kafka.BrokerEpoch(0)
	if b := c.Image().Broker(broker); b != nil {
		epoch = b.Epoch
	}
	if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
		epoch--
	}
	switch rapid.IntRange(0, 15).Draw(t, "command") {
	case 0, 1:
		return RegisterBroker{BrokerID: broker, ClusterID: "cluster", Fenced: rapid.Bool().Draw(t, "fenced"),
			IncarnationID: number('p', uint32(broker)*2+rapid.Uint32Range(0, 1).Draw(t, "process")),
			LogDirs:       []kafka.UUID{number('d', uint32(broker))}}
	case 2:
		return FenceBroker{BrokerID: broker, BrokerEpoch: epoch}
	case 3, 4:
		return UnfenceBroker{BrokerID: broker, BrokerEpoch: epoch}
	case 5:
		return AllocateProducerIDs{BrokerID: broker, BrokerEpoch: epoch}
	case 6:
		var cmd DeleteTopics
		for range rapid.IntRange(1, 2).Draw(t, "deletions") {
			name := topicName(t)
			cmd.Topics = append(cmd.Topics, TopicRef{Name: &name})
		}
		return cmd
	case 7:
		return CreateInternalTopic{Name: kafka.ConsumerOffsetsTopic, ID: number('t', step*10),
			Partitions: 3, ReplicationFactor: 3, FewerReplicas: rapid.Bool().Draw(t, "fewer"),
			Configs: map[string]string{"cleanup.policy": "compact"}}
	case 8, 9:
		return drawAlteration(t)
	case 10, 11, 12:
		return drawAdministration(t)
	}
	cmd := CreateTopics{ValidateOnly: rapid.IntRange(0, 5).Draw(t, "validate") == 0}
	for i := range rapid.Uint32Range(1, 3).Draw(t, "topics") {
		topic := NewTopic{
			Name:              topicName(t),
			ID:                number('t', step*10+i),
			Partitions:        rapid.Int32Range(-2, 4).Draw(t, "partitions"),
			ReplicationFactor: rapid.Int16Range(-2, 4).Draw(t, "factor"),
		}
		if rapid.IntRange(0, 3).Draw(t, "by hand") == 0 {
			topic.Partitions, topic.ReplicationFactor = Default, Default
			topic.Assignments = []Assignment{{Replicas: []kafka.BrokerID{broker}}}
		}
		if rapid.IntRange(0, 3).Draw(t, "with a config") == 0 {
			value := "7"
			topic.Configs = []ConfigEntry{
				{Name: rapid.SampledFrom([]string{"retention.ms", "no"}).Draw(t, "config"), Value: &value},
			}
		}
		cmd.Topics = append(cmd.Topics, topic)
	}
	return cmd
}

func drawAlteration(t *rapid.T) Command {
	cmd := AlterConfigs{ValidateOnly: rapid.IntRange(0, 5).Draw(t, "validate") == 0,
		Replace: rapid.IntRange(0, 3).Draw(t, "replace") == 0}
	for range rapid.IntRange(1, 3).Draw(t, "resources") {
		a := AlteredResource{Resource: image.TopicResource(topicName(t))}
		names := []string{"retention.ms", "cleanup.policy", "no"}
		if rapid.Bool().Draw(t, "of a group") {
			a.Resource = image.GroupResource(rapid.SampledFrom([]string{"g", "h", ""}).Draw(t, "group"))
			names = []string{"consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"}
		}
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			change := ConfigChange{Name: rapid.SampledFrom(names).Draw(t, "config"),
				Op: ConfigOp(rapid.Int8Range(-1, 4).Draw(t, "op"))}
			if rapid.IntRange(0, 5).Draw(t, "null") > 0 {
				value := rapid.SampledFrom([]string{"50000", "7", "delete", "", "x"}).Draw(t, "value")
				change.Value = &value
			}
			a.Changes = append(a.Changes, change)
		}
		cmd.Resources = append(cmd.Resources, a)
	}
	return cmd
}

func topicName(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "a.b", "a_b", "", "c"}).Draw(t, "topic")
}

func TestTheLawsOfTheMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := New(settings(), image.Empty("cluster"))
		var log []record.Record
		for step := range rapid.Uint32Range(1, 40).Draw(t, "steps") {
			cmd := drawCommand(t, c, step+1)
			before, old := fingerprint(c.Image()), c.Image()
			o, again := c.Decide(cmd), c.Decide(cmd)
			if after := fingerprint(c.Image()); after != before || c.Image() != old {
				t.Fatalf("deciding %+v changed\n%s to\n%s", cmd, before, after)
			}
			if show(o.Records) != show(again.Records) || fmt.Sprint(o.Err) != fmt.Sprint(again.Err) {
				t.Fatalf("%+v was decided as\n%s, then as\n%s", cmd, show(o.Records), show(again.Records))
			}
			if o.Err != nil && (o.Reply != nil || o.Records != nil) {
				t.Fatalf("%+v was refused with %v, but has %+v, %s", cmd, o.Err, o.Reply, show(o.Records))
			}
			log = append(log, o.Records...)
			if _, err := c.Apply(o.Records, kafka.Offset(len(log)), 1); err != nil {
				t.Fatalf("%+v gave records that cannot be applied: %v\n%s", cmd, err, show(o.Records))
			}
			checkLaws(t, old, c.Image())
		}
		replayed := New(settings(), image.Empty("cluster"))
		if _, err := replayed.Apply(throughTheCodec(t, log), kafka.Offset(len(log)), 1); err != nil {
			t.Fatal(err)
		}
		if got, want := fingerprint(replayed.Image()), fingerprint(c.Image()); got != want {
			t.Fatalf("the log gives\n%s, the live machine has\n%s", got, want)
		}
	})
}

func throughTheCodec(t *rapid.T, log []record.Record) []record.Record {
	read := make([]record.Record, len(log))
	for i, r := range log {
		var err error
		if read[i], err = record.Decode(record.Append(nil, r)); err != nil {
			t.Fatal(err)
		}
	}
	return read
}

func checkLaws(t *rapid.T, old, img *image.Image) {
	for topic := range img.Topics() {
		for index, p := range topic.Partitions {
			where := fmt.Sprintf("%s-%d", topic.Name, index)
			if len(p.ISR) == 0 ||
				slices.ContainsFunc(p.ISR, func(id kafka.BrokerID) bool { return !slices.Contains(p.Replicas, id) }) {
				t.Fatalf("%s: isr %v of replicas %v", where, p.ISR, p.Replicas)
			}
			if p.Leader != kafka.NoBroker && (!slices.Contains(p.ISR, p.Leader) || !img.Broker(p.Leader).Active()) {
				t.Fatalf("%s: leader %d, isr %v", where, p.Leader, p.ISR)
			}
			if p.Leader == kafka.NoBroker &&
				slices.ContainsFunc(p.ISR, func(id kafka.BrokerID) bool { return img.Broker(id).Active() }) {
				t.Fatalf("%s: no leader, but isr %v", where, p.ISR)
			}
			if before := old.TopicByID(topic.ID); before != nil && index < len(before.Partitions) {
				was := before.Partitions[index]
				if p.LeaderEpoch < was.LeaderEpoch || p.PartitionEpoch < was.PartitionEpoch ||
					p.Leader != was.Leader && p.LeaderEpoch == was.LeaderEpoch {
					t.Fatalf("%s: %+v became %+v", where, was, p)
				}
			}
		}
	}
	for r, configs := range img.AllConfigs() {
		if err := settings().ValidateConfigs(img, r, configs); err != nil {
			t.Fatalf("%v has configs that are refused: %v", r, err)
		}
		if r.Type == image.ResourceTopic && img.Topic(r.Name) == nil || len(configs) == 0 {
			t.Fatalf("%v has configs %v and is not there", r, configs)
		}
	}
	for _, b := range img.Brokers() {
		if was := old.Broker(b.ID); was != nil &&
			(b.Epoch < was.Epoch || b.IncarnationID != was.IncarnationID && b.Epoch == was.Epoch) {
			t.Fatalf("broker %+v became %+v", was, b)
		}
	}
}
