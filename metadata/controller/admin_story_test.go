package controller

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"spate/kafka"
	"spate/metadata/record"
)

// Steps of stories about topics that exist:
//
//	grow [validate]          one topic a line: NAME to=COUNT [assign=1,2/2,1]
//	elect preferred|unclean|type=N [all]   one topic a line: NAME PARTITION...
//	reassign [keeps-factor]  one partition a line: NAME PARTITION REPLICA,...|none|cancel

func (s *story) administer(t *testing.T, d *datadriven.TestData) Command {
	switch d.Cmd {
	case "grow":
		cmd := CreatePartitions{ValidateOnly: d.HasArg("validate")}
		for line := range strings.Lines(d.Input) {
			cmd.Topics = append(cmd.Topics, grownTopic(t, strings.Fields(line)))
		}
		return cmd
	case "elect":
		return electionOf(t, d)
	case "reassign":
		cmd := AlterReassignments{KeepsFactor: d.HasArg("keeps-factor")}
		for line := range strings.Lines(d.Input) {
			cmd.Topics = append(cmd.Topics, reassignment(t, strings.Fields(line)))
		}
		return cmd
	case "quota":
		cmd := AlterClientQuotas{ValidateOnly: d.HasArg("validate")}
		for line := range strings.Lines(d.Input) {
			cmd.Entries = append(cmd.Entries, quotasOf(t, strings.Fields(line)))
		}
		return cmd
	}
	t.Fatalf("%s: no such step", d.Cmd)
	return nil
}

// quotasOf reads an entity, its kinds and names joined by commas, and what to change: user:ann,client-id x=1 y=-.
func quotasOf(t *testing.T, words []string) AlteredQuotas {
	var altered AlteredQuotas
	for part := range strings.SplitSeq(words[0], ",") {
		kind, name, named := strings.Cut(part, ":")
		p := record.QuotaEntity{Type: kind}
		if named {
			p.Name = &name
		}
		if part != "-" {
			altered.Entity = append(altered.Entity, p)
		}
	}
	for _, word := range words[1:] {
		key, number, _ := strings.Cut(word, "=")
		change := QuotaChange{Key: key}
		if number != "-" {
			value, err := strconv.ParseFloat(number, 64)
			if err != nil {
				t.Fatal(err)
			}
			change.Value = &value
		}
		altered.Changes = append(altered.Changes, change)
	}
	return altered
}

func grownTopic(t *testing.T, words []string) GrownTopic {
	topic := GrownTopic{Name: words[0]}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if key == "to" {
			topic.Count = int32(integer(t, value))
			continue
		}
		topic.Assignments = [][]kafka.BrokerID{}
		for list := range strings.SplitSeq(value, "/") {
			topic.Assignments = append(topic.Assignments, replicas(t, list))
		}
	}
	return topic
}

func replicas(t *testing.T, list string) (ids []kafka.BrokerID) {
	for broker := range strings.SplitSeq(list, ",") {
		ids = append(ids, kafka.BrokerID(integer(t, broker)))
	}
	return ids
}

func electionOf(t *testing.T, d *datadriven.TestData) Command {
	cmd := ElectLeaders{}
	if d.HasArg("unclean") {
		cmd.Type = ElectUnclean
	}
	var number int
	if d.MaybeScanArgs(t, "type", &number) {
		cmd.Type = ElectionType(number)
	}
	if d.HasArg("all") {
		return cmd
	}
	cmd.Topics = []TopicPartitions{}
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		topic := TopicPartitions{Topic: words[0]}
		for _, word := range words[1:] {
			topic.Partitions = append(topic.Partitions, kafka.PartitionIndex(integer(t, word)))
		}
		cmd.Topics = append(cmd.Topics, topic)
	}
	return cmd
}

func reassignment(t *testing.T, words []string) ReassignedTopic {
	r := Reassignment{Partition: kafka.PartitionIndex(integer(t, words[1]))}
	switch words[2] {
	case "cancel":
	case "none":
		r.Replicas = []kafka.BrokerID{}
	default:
		r.Replicas = replicas(t, words[2])
	}
	return ReassignedTopic{Topic: words[0], Partitions: []Reassignment{r}}
}

// showResults prints the replies of these commands.
func showResults(r Reply) (string, bool) {
	var out strings.Builder
	tell := func(name string, err error) {
		if err != nil {
			fmt.Fprintf(&out, "%s: %s\n", name, failed(err))
			return
		}
		fmt.Fprintf(&out, "%s: done\n", name)
	}
	var topics []PartitionResults
	switch r := r.(type) {
	case AlterClientQuotasReply:
		for _, e := range r.Entries {
			tell(showEntity(e.Entity), e.Err)
		}
		return out.String(), true
	case CreatePartitionsReply:
		for _, t := range r.Topics {
			tell(t.Name, t.Err)
		}
		return out.String(), true
	case ElectLeadersReply:
		topics = r.Topics
	case AlterReassignmentsReply:
		topics = r.Topics
	default:
		return "", false
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			tell(fmt.Sprintf("%s-%d", t.Topic, p.Partition), p.Err)
		}
	}
	return out.String(), true
}

// drawAdministration draws a command for topics that may exist.
func drawAdministration(t *rapid.T) Command {
	index := func() kafka.PartitionIndex {
		return kafka.PartitionIndex(rapid.Int32Range(-1, 4).Draw(t, "partition"))
	}
	brokers := func() []kafka.BrokerID {
		ids := rapid.SliceOfN(rapid.Int32Range(1, 4), 0, 3).Draw(t, "brokers")
		list := make([]kafka.BrokerID, len(ids))
		for i, id := range ids {
			list[i] = kafka.BrokerID(id)
		}
		return list
	}
	switch rapid.IntRange(0, 3).Draw(t, "administration") {
	case 0:
		cmd := CreatePartitions{ValidateOnly: rapid.IntRange(0, 5).Draw(t, "validate") == 0}
		for range rapid.IntRange(1, 2).Draw(t, "topics") {
			g := GrownTopic{Name: topicName(t), Count: rapid.Int32Range(-1, 7).Draw(t, "count")}
			if rapid.IntRange(0, 3).Draw(t, "by hand") == 0 {
				g.Assignments = [][]kafka.BrokerID{brokers()}
			}
			cmd.Topics = append(cmd.Topics, g)
		}
		return cmd
	case 1:
		cmd := ElectLeaders{Type: ElectionType(rapid.Int8Range(0, 2).Draw(t, "type"))}
		if rapid.Bool().Draw(t, "some") {
			topic := TopicPartitions{Topic: topicName(t), Partitions: []kafka.PartitionIndex{index(), index()}}
			cmd.Topics = []TopicPartitions{topic}
		}
		return cmd
	case 2:
		return drawQuotas(t)
	}
	r := Reassignment{Partition: index()}
	if rapid.IntRange(0, 3).Draw(t, "cancel") > 0 {
		r.Replicas = brokers()
	}
	return AlterReassignments{KeepsFactor: rapid.Bool().Draw(t, "keeps factor"),
		Topics: []ReassignedTopic{{Topic: topicName(t), Partitions: []Reassignment{r}}}}
}

// drawQuotas draws changes of quotas, also of entities and to values that are none.
func drawQuotas(t *rapid.T) Command {
	cmd := AlterClientQuotas{ValidateOnly: rapid.IntRange(0, 5).Draw(t, "validate") == 0}
	for range rapid.IntRange(1, 3).Draw(t, "entities") {
		var altered AlteredQuotas
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			part := record.QuotaEntity{
				Type: rapid.SampledFrom([]string{"user", "client-id", "ip", "planet"}).Draw(t, "kind")}
			if name := rapid.SampledFrom([]string{"", "a", "127.0.0.1", "none"}).Draw(t, "name"); name != "none" {
				part.Name = &name
			}
			altered.Entity = append(altered.Entity, part)
		}
		for range rapid.IntRange(0, 3).Draw(t, "quotas") {
			keys := []string{"producer_byte_rate", "request_percentage", "connection_creation_rate"}
			change := QuotaChange{Key: rapid.SampledFrom(keys).Draw(t, "key")}
			if rapid.IntRange(0, 3).Draw(t, "remove") > 0 {
				value := rapid.SampledFrom([]float64{-1, 0.5, 1, 2, 1e30, math.Inf(1)}).Draw(t, "value")
				change.Value = &value
			}
			altered.Changes = append(altered.Changes, change)
		}
		cmd.Entries = append(cmd.Entries, altered)
	}
	return cmd
}
