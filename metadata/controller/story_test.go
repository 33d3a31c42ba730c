package controller

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"spate/internal/config"
	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: what each command does can be read aloud. Method: stories in testdata, run with -rewrite after a change that
// is meant. A story is a cluster from its first record on; each step prints the records, the reply, and what changed.
//
//	register broker=1 [rack=a] [dirs=2] [process=2] [fenced] [cluster=x] [groups]
//	fence|unfence broker=1 [epoch=9]
//	create [validate]      one topic a line: NAME [partitions=3] [rf=1] [assign=1,2/2,1] [CONFIG=VALUE]... [id=7]
//	delete                 one topic a line: NAME, #ID or both
//	create-internal [fewer]  a topic as in create, with partitions and rf
//	alter [validate] [replace]  one resource a line: TYPE:NAME and its changes, SET NAME=VALUE, DELETE NAME, APPEND
//	                       NAME=VALUE, SUBTRACT NAME=VALUE; SET NAME without a value is one with null
//	features [validate]    one feature a line: NAME=LEVEL and the number of the upgrade type
//	producer-ids broker=1
//	state

func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{controller: New(settings(), image.Empty("cluster"))}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return s.step(t, d)
		})
	})
}

func settings() Settings {
	return Settings{
		PartitionsDefault:        2,
		ReplicationFactorDefault: 1,
		NodeID:                   1,
		Features: []record.FeatureRange{
			{Name: "metadata.version", Min: 30, Max: 30}, {Name: "group.version", Max: 1},
		},
		ValidateConfigs: func(_ *image.Image, r image.Resource, c map[string]string) error {
			switch r.Type {
			case image.ResourceGroup:
				return groupRules.ValidateGroup(c)
			case image.ResourceClientMetrics:
				var invalid *config.RequestError
				err := config.ValidateClientMetrics(r.Name, c)
				if errors.As(err, &invalid) {
					return &Refusal{Code: kafka.InvalidRequest, Message: invalid.Message}
				}
				return err
			case image.ResourceBroker:
				err := groupRules.ValidateDynamic(config.Dynamic{Broker: c}, true)
				if err != nil {
					return &Refusal{Code: kafka.InvalidRequest, Message: err.Error()}
				}
				return nil
			}
			return config.ValidateTopic(c)
		},
		ListDefault: func(t image.ResourceType, name string) (string, ConfigKind) {
			scope := config.TopicScope
			switch t {
			case image.ResourceGroup:
				scope = config.GroupScope
			case image.ResourceBroker:
				scope = config.BrokerScope
			}
			text, isList, known := scope.ListDefault(name)
			switch {
			case isList:
				return text, ListConfig
			case known:
				return "", PlainConfig
			}
			return "", UnknownConfig
		},
	}
}

// groupRules is a configuration without settings.
var groupRules = func() *config.Config {
	c, _, err := config.Load(config.Sources{})
	if err != nil {
		panic(err)
	}
	return c
}()

type story struct {
	controller *Controller
	topics     uint32
}

// number makes an id out of a number, which name shows again.
func number(kind byte, n uint32) (u kafka.UUID) {
	u[0] = kind
	binary.BigEndian.PutUint32(u[12:], n)
	return u
}

func name(u kafka.UUID) string {
	if u == kafka.ZeroUUID {
		return "-"
	}
	return fmt.Sprintf("%c%d", u[0], binary.BigEndian.Uint32(u[12:]))
}

func (s *story) step(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "register":
		return s.run(s.register(t, d))
	case "fence":
		id, epoch := s.brokerOf(t, d)
		return s.run(FenceBroker{BrokerID: id, BrokerEpoch: epoch})
	case "unfence":
		id, epoch := s.brokerOf(t, d)
		return s.run(UnfenceBroker{BrokerID: id, BrokerEpoch: epoch})
	case "create":
		cmd := CreateTopics{ValidateOnly: d.HasArg("validate")}
		for line := range strings.Lines(d.Input) {
			cmd.Topics = append(cmd.Topics, s.newTopic(t, strings.Fields(line)))
		}
		return s.run(cmd)
	case "delete":
		var cmd DeleteTopics
		for line := range strings.Lines(d.Input) {
			cmd.Topics = append(cmd.Topics, topicRef(t, strings.Fields(line)))
		}
		return s.run(cmd)
	case "create-internal":
		topic := s.newTopic(t, strings.Fields(d.Input))
		cmd := CreateInternalTopic{Name: topic.Name, ID: topic.ID, Partitions: topic.Partitions,
			ReplicationFactor: topic.ReplicationFactor, FewerReplicas: d.HasArg("fewer"), Configs: map[string]string{}}
		for _, c := range topic.Configs {
			cmd.Configs[c.Name] = *c.Value
		}
		return s.run(cmd)
	case "alter":
		cmd := AlterConfigs{ValidateOnly: d.HasArg("validate"), Replace: d.HasArg("replace")}
		for line := range strings.Lines(d.Input) {
			cmd.Resources = append(cmd.Resources, alteration(t, strings.Fields(line)))
		}
		return s.run(cmd)
	case "features":
		cmd := UpdateFeatures{ValidateOnly: d.HasArg("validate")}
		for line := range strings.Lines(d.Input) {
			words := strings.Fields(line)
			name, level, _ := strings.Cut(words[0], "=")
			cmd.Updates = append(cmd.Updates,
				FeatureUpdate{Name: name, Level: int16(atoi(t, level)), Type: UpgradeType(atoi(t, words[1]))})
		}
		return s.run(cmd)
	case "producer-ids":
		id, epoch := s.brokerOf(t, d)
		return s.run(AllocateProducerIDs{BrokerID: id, BrokerEpoch: epoch})
	case "bootstrap":
		return s.run(Bootstrap{Features: []image.Feature{{Name: "metadata.version", Level: 30}}})
	case "state":
		return show(slices.Collect(s.controller.Image().Records()))
	}
	return s.run(s.administer(t, d))
}

// run decides and applies, as the driver does.
func (s *story) run(cmd Command) string {
	o := s.controller.Decide(cmd)
	out := show(o.Records)
	if o.Err != nil {
		return out + "refused: " + failed(o.Err) + "\n"
	}
	out += reply(o.Reply)
	if len(o.Records) > 0 {
		end := s.controller.Image().EndOffset() + kafka.Offset(len(o.Records))
		if _, err := s.controller.Apply(o.Records, end, 1); err != nil {
			return out + "cannot be applied: " + err.Error() + "\n"
		}
	}
	return out
}

func failed(err error) string {
	var code *kafka.Error
	if !errors.As(err, &code) {
		return "not a protocol error: " + err.Error()
	}
	return code.Name + ": " + err.Error()
}

func (s *story) brokerOf(t *testing.T, d *datadriven.TestData) (kafka.BrokerID, kafka.BrokerEpoch) {
	var id, epoch int64
	d.ScanArgs(t, "broker", &id)
	if b := s.controller.Image().Broker(kafka.BrokerID(id)); b != nil {
		epoch = int64(b.Epoch)
	}
	d.MaybeScanArgs(t, "epoch", &epoch)
	return kafka.BrokerID(id), kafka.BrokerEpoch(epoch)
}

func (s *story) register(t *testing.T, d *datadriven.TestData) Command {
	var id, process, dirs int
	cluster, rack, features := "cluster", "", ""
	dirs = 1
	d.ScanArgs(t, "broker", &id)
	d.MaybeScanArgs(t, "process", &process)
	d.MaybeScanArgs(t, "dirs", &dirs)
	d.MaybeScanArgs(t, "cluster", &cluster)
	d.MaybeScanArgs(t, "features", &features)
	cmd := RegisterBroker{BrokerID: kafka.BrokerID(id), ClusterID: cluster, Fenced: d.HasArg("fenced"),
		IncarnationID: number('p', uint32(id*10+process)),
		Endpoints:     []record.Endpoint{{Name: "PLAINTEXT", Host: "localhost", Port: uint16(9092 + id)}}}
	if features != "none" {
		cmd.Features = []record.FeatureRange{{Name: "metadata.version", Min: 7, Max: 30}}
	}
	if d.HasArg("groups") {
		cmd.Features = append(cmd.Features, record.FeatureRange{Name: "group.version", Max: 1})
	}
	if d.MaybeScanArgs(t, "rack", &rack) {
		cmd.Rack = &rack
	}
	for i := range dirs {
		cmd.LogDirs = append(cmd.LogDirs, number('d', uint32(id*10+i)))
	}
	if d.HasArg("reserved-dir") {
		cmd.LogDirs = append(cmd.LogDirs, kafka.UUID{15: 2})
	}
	if d.HasArg("same-dir") {
		cmd.LogDirs = append(cmd.LogDirs, cmd.LogDirs[0])
	}
	if d.HasArg("dir-of-1") {
		cmd.LogDirs = []kafka.UUID{number('d', 10)}
	}
	return cmd
}

func (s *story) newTopic(t *testing.T, words []string) NewTopic {
	s.topics++
	topic := NewTopic{Name: words[0], ID: number('t', s.topics), Partitions: Default, ReplicationFactor: Default}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "partitions":
			topic.Partitions = int32(integer(t, value))
		case "rf":
			topic.ReplicationFactor = int16(integer(t, value))
		case "id":
			topic.ID = number('t', uint32(integer(t, value)))
		case "assign":
			for i, list := range strings.Split(value, "/") {
				a := Assignment{Partition: kafka.PartitionIndex(i)}
				for broker := range strings.SplitSeq(list, ",") {
					a.Replicas = append(a.Replicas, kafka.BrokerID(integer(t, broker)))
				}
				topic.Assignments = append(topic.Assignments, a)
			}
		default:
			topic.Configs = append(topic.Configs, ConfigEntry{Name: key, Value: &value})
		}
	}
	return topic
}

// alteration reads TYPE:NAME OP KEY=VALUE...
func alteration(t *testing.T, words []string) AlteredResource {
	kind, resource, _ := strings.Cut(words[0], ":")
	types := map[string]image.ResourceType{"topic": image.ResourceTopic, "group": image.ResourceGroup,
		"broker": image.ResourceBroker, "logger": image.ResourceBrokerLogger,
		"client-metrics": image.ResourceClientMetrics, "user": 3}
	if types[kind] == 0 {
		t.Fatalf("%s: no such type", kind)
	}
	a := AlteredResource{Resource: image.Resource{Type: types[kind], Name: resource}}
	for i := 1; i+1 < len(words); i += 2 {
		key, value, hasValue := strings.Cut(words[i+1], "=")
		change := ConfigChange{Name: key, Op: 9}
		for op := SetConfig; op <= SubtractConfig; op++ {
			if op.String() == words[i] {
				change.Op = op
			}
		}
		if hasValue {
			change.Value = &value
		}
		a.Changes = append(a.Changes, change)
	}
	return a
}

func topicRef(t *testing.T, words []string) (ref TopicRef) {
	for _, word := range words {
		if id, ok := strings.CutPrefix(word, "#"); ok {
			ref.ID = number('t', uint32(integer(t, id)))
		} else {
			ref.Name = &word
		}
	}
	return ref
}

func integer(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
