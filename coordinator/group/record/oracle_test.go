package record

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/coordinator"
	"spate/kafka"
)

// TestKafkasDecoderReadsTheSame compares what is decoded here with what Kafka's own DumpLogSegments --offsets-decoder
// printed for the same segment. It decodes the members' subscriptions and assignments too, which are opaque here.
func TestKafkasDecoderReadsTheSame(t *testing.T) {
	printed, err := os.ReadFile(filepath.Join("testdata", "kafka-4.3.1", "offsets-decoder.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(printed)), "\n")
	pairs := goldenPairs(t)
	if len(lines) != len(pairs) {
		t.Fatalf("%d lines for %d records", len(lines), len(pairs))
	}
	for i, p := range pairs {
		r, err := Decode(p.key, p.value)
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(lines[i], "key: "), " payload: ")
		wantKey, wantValue := parse(t, key), any(nil)
		if value != "<DELETE>" {
			wantValue = parse(t, value)
			if members, ok := wantValue.(map[string]any)["data"].(map[string]any)["members"]; ok {
				for _, m := range members.([]any) {
					delete(m.(map[string]any), "subscription")
					delete(m.(map[string]any), "assignment")
				}
			}
		}
		gotKey, gotValue := asKafkaPrints(r, p)
		if diff := cmp.Diff(wantKey, plain(t, gotKey)); diff != "" {
			t.Errorf("key of record %d: %s", i, diff)
		}
		if diff := cmp.Diff(wantValue, plain(t, gotValue)); diff != "" {
			t.Errorf("value of record %d: %s", i, diff)
		}
	}
}

// parse reads JSON with numbers as they are written.
func parse(t *testing.T, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func plain(t *testing.T, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(text))
}

type object = map[string]any

// asKafkaPrints is a record as Kafka's tool prints it.
func asKafkaPrints(r coordinator.Record, p pair) (key, value any) {
	k, v := fieldsOf(r)
	key = object{"type": strconv.Itoa(int(binary.BigEndian.Uint16(p.key))), "data": k}
	if p.value != nil {
		version := binary.BigEndian.Uint16(p.value)
		if c, ok := r.(*OffsetCommit); ok && version == offsetCommitExpireVersion {
			v["expireTimestamp"] = c.ExpireTimestamp
			delete(v, "leaderEpoch")
			delete(v, "topicId")
		}
		for _, tagged := range []string{"topicId", "metadataHash", "assignmentTimestamp"} {
			if f, ok := v[tagged]; ok && (f == kafka.ZeroUUID.String() || f == int64(0) || f == kafka.Timestamp(0)) {
				delete(v, tagged) // is not written
			}
		}
		value = object{"version": strconv.Itoa(int(version)), "data": v}
	}
	return key, value
}

func fieldsOf(r coordinator.Record) (key, value object) {
	switch r := r.(type) {
	case *OffsetCommit:
		return object{"group": r.Group, "topic": r.Topic, "partition": r.Partition},
			object{"offset": r.Offset, "leaderEpoch": r.LeaderEpoch, "metadata": r.Metadata,
				"commitTimestamp": r.CommitTimestamp, "topicId": r.TopicID.String()}
	case *Group:
		members := []object{}
		for _, m := range r.Members {
			members = append(members, object{"memberId": m.MemberID, "groupInstanceId": m.InstanceID,
				"clientId": m.ClientID, "clientHost": m.ClientHost, "rebalanceTimeout": m.RebalanceTimeoutMs,
				"sessionTimeout": m.SessionTimeoutMs})
		}
		return object{"group": r.Group}, object{"protocolType": r.ProtocolType, "generation": r.Generation,
			"protocol": r.Protocol, "leader": r.Leader, "currentStateTimestamp": r.StateTimestamp, "members": members}
	case *ConsumerGroup:
		return object{"groupId": r.Group}, object{"epoch": r.Epoch, "metadataHash": r.MetadataHash}
	case *PartitionMetadata:
		return object{"groupId": r.Group}, nil
	case *Member:
		return object{"groupId": r.Group, "memberId": r.MemberID}, object{"instanceId": r.InstanceID,
			"rackId": r.RackID, "clientId": r.ClientID, "clientHost": r.ClientHost,
			"subscribedTopicNames": listOf(r.SubscribedTopics),
			"subscribedTopicRegex": r.SubscribedRegex, "rebalanceTimeoutMs": r.RebalanceTimeoutMs,
			"serverAssignor": r.ServerAssignor, "classicMemberMetadata": classicFields(r.Classic)}
	case *Target:
		return object{"groupId": r.Group}, object{"assignmentEpoch": r.Epoch, "assignmentTimestamp": r.Timestamp}
	case *TargetMember:
		return object{"groupId": r.Group, "memberId": r.MemberID},
			object{"topicPartitions": partitionFields(r.Partitions, false)}
	case *CurrentMember:
		return object{"groupId": r.Group, "memberId": r.MemberID}, object{"memberEpoch": r.MemberEpoch,
			"previousMemberEpoch": r.PreviousMemberEpoch, "state": r.State,
			"assignedPartitions":          partitionFields(r.Assigned, true),
			"partitionsPendingRevocation": partitionFields(r.PendingRevocation, true)}
	case *RegularExpression:
		return object{"groupId": r.Group, "regularExpression": r.Regex},
			object{"topics": listOf(r.Topics), "version": r.Version, "timestamp": r.Timestamp}
	}
	return nil, nil
}

func classicFields(c *ClassicMember) any {
	if c == nil {
		return nil
	}
	protocols := []object{}
	for _, p := range c.SupportedProtocols {
		protocols = append(protocols, object{"name": p.Name, "metadata": p.Metadata})
	}
	return object{"sessionTimeoutMs": c.SessionTimeoutMs, "supportedProtocols": protocols}
}

func partitionFields(topics []TopicPartitions, withEpochs bool) []object {
	fields := []object{}
	for _, topic := range topics {
		o := object{"topicId": topic.TopicID.String(), "partitions": topic.Partitions}
		if withEpochs {
			o["assignmentEpochs"] = topic.AssignmentEpochs
		}
		fields = append(fields, o)
	}
	return fields
}

func listOf(list []string) []string { return append([]string{}, list...) }
