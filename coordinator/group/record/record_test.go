package record

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/kafka"
)

func bytesOf(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ptr(s string) *string { return &s }

// TestEarlierVersionsAreRead decodes values of all versions that earlier releases of Kafka wrote, by the field.
func TestEarlierVersionsAreRead(t *testing.T) {
	const offsetKey = "0001 0001 67 0001 74 00000003" // g, t, 3
	commit := OffsetCommit{Group: "g", Topic: "t", Partition: 3, Offset: 5, LeaderEpoch: -1, Metadata: "m",
		CommitTimestamp: 6, ExpireTimestamp: -1}
	withEpoch, withExpiry, withID := commit, commit, commit
	withEpoch.LeaderEpoch = 9
	withExpiry.ExpireTimestamp = 7
	withID.LeaderEpoch, withID.TopicID = 9, kafka.UUID{15: 1}
	group := Group{
		Group:          "g",
		ProtocolType:   "p",
		Generation:     1,
		Protocol:       ptr("r"),
		Leader:         ptr("m"),
		StateTimestamp: -1,
		Members: []GroupMember{
			{MemberID: "m", ClientID: "c", ClientHost: "h", RebalanceTimeoutMs: -1, SessionTimeoutMs: 2,
				Subscription: []byte{8}, Assignment: []byte{9}},
		},
	}
	timed, stamped, static := group, group, group
	timed.Members = append([]GroupMember(nil), group.Members...)
	timed.Members[0].RebalanceTimeoutMs = 4
	stamped.Members, stamped.StateTimestamp = timed.Members, 3
	static.Members, static.StateTimestamp = append([]GroupMember(nil), timed.Members...), 3
	static.Members[0].InstanceID = ptr("i")
	for _, c := range []struct {
		name, key, value string
		want             coordinator.Record
	}{
		{"an offset of the first key", "0000 0001 67 0001 74 00000003",
			"0000 0000000000000005 0001 6d 0000000000000006", &commit},
		{"an offset, version 0", offsetKey, "0000 0000000000000005 0001 6d 0000000000000006", &commit},
		{"an offset, version 1", offsetKey, "0001 0000000000000005 0001 6d 0000000000000006" +
			"0000000000000007", &withExpiry},
		{"an offset, version 2", offsetKey, "0002 0000000000000005 0001 6d 0000000000000006", &commit},
		{"an offset, version 3", offsetKey, "0003 0000000000000005 00000009 0001 6d 0000000000000006", &withEpoch},
		{"an offset, version 4", offsetKey, "0004 0000000000000005 00000009 02 6d 0000000000000006 00", &withEpoch},
		{"an offset with a topic id", offsetKey, "0004 0000000000000005 00000009 02 6d 0000000000000006" +
			"01 00 10 00000000000000000000000000000001", &withID},
		{"an offset with a tag of a later release", offsetKey, "0004 0000000000000005 00000009 02 6d 0000000000000006" +
			"02 00 10 00000000000000000000000000000001 07 03 010203", &withID},
		{"a group, version 0", "0002 0001 67", "0000 0001 70 00000001 0001 72 0001 6d 00000001" +
			"0001 6d 0001 63 0001 68 00000002 00000001 08 00000001 09", &group},
		{"a group, version 1", "0002 0001 67", "0001 0001 70 00000001 0001 72 0001 6d 00000001" +
			"0001 6d 0001 63 0001 68 00000004 00000002 00000001 08 00000001 09", &timed},
		{"a group, version 2", "0002 0001 67", "0002 0001 70 00000001 0001 72 0001 6d 0000000000000003 00000001" +
			"0001 6d 0001 63 0001 68 00000004 00000002 00000001 08 00000001 09", &stamped},
		{"a group, version 3", "0002 0001 67", "0003 0001 70 00000001 0001 72 0001 6d 0000000000000003 00000001" +
			"0001 6d 0001 69 0001 63 0001 68 00000004 00000002 00000001 08 00000001 09", &static},
		{"a group, version 4", "0002 0001 67", "0004 02 70 00000001 02 72 02 6d 0000000000000003 02" +
			"02 6d 02 69 02 63 02 68 00000004 00000002 02 08 02 09 00 00", &static},
		{"partition metadata", "0004 0001 67", "0000 02 00000000000000000000000000000001 02 74 00000001 01 00 00",
			&PartitionMetadata{Group: "g"}},
		{"a consumer group without hash", "0003 0001 67", "0000 00000005 00", &ConsumerGroup{Group: "g", Epoch: 5}},
		{"a target without time", "0006 0001 67", "0000 00000005 00", &Target{Group: "g", Epoch: 5}},
		{"what a member has, without epochs", "0008 0001 67 0001 6d",
			"0000 00000001 00000000 00 02 00000000000000000000000000000001 02 00000004 00 01 00",
			&CurrentMember{Group: "g", MemberID: "m", MemberEpoch: 1,
				Assigned: []TopicPartitions{{TopicID: kafka.UUID{15: 1}, Partitions: []int32{4}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Decode(bytesOf(t, c.key), bytesOf(t, c.value))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestWhatIsNotKnownSaysSo gives records of later releases and of other coordinators.
func TestWhatIsNotKnownSaysSo(t *testing.T) {
	for _, kind := range []int16{9, 10, 15, 17, 99, -1} {
		_, err := Decode(appendFixedString(appendInt16(nil, kind), "g"), []byte{0, 0})
		if !errors.Is(err, coordinator.ErrUnknownRecord) {
			t.Errorf("type %d: %v", kind, err)
		}
	}
}

// TestBrokenBytesAreRefused cuts, lengthens and bends records; none decodes, and none is taken for unknown.
func TestBrokenBytesAreRefused(t *testing.T) {
	for i, p := range goldenPairs(t) {
		for n := range p.key {
			if _, err := Decode(p.key[:n], p.value); err == nil || errors.Is(err, coordinator.ErrUnknownRecord) {
				t.Errorf("record %d, key cut to %d bytes: %v", i, n, err)
			}
		}
		if p.value == nil {
			continue
		}
		for n := range p.value {
			if _, err := Decode(p.key, p.value[:n]); err == nil {
				t.Errorf("record %d, value cut to %d of %d bytes decodes", i, n, len(p.value))
			}
		}
		for _, c := range []struct {
			name       string
			key, value []byte
		}{
			{"a longer key", append(bytes.Clone(p.key), 0), p.value},
			{"a longer value", p.key, append(bytes.Clone(p.value), 0)},
			{"a later version", p.key, append([]byte{0, 5}, p.value[2:]...)},
			{"a negative version", p.key, append([]byte{0xff, 0xff}, p.value[2:]...)},
		} {
			if _, err := Decode(c.key, c.value); err == nil {
				t.Errorf("record %d decodes with %s", i, c.name)
			}
		}
	}
}

// TestHugeCountsAllocateNothing claims arrays far longer than the bytes.
func TestHugeCountsAllocateNothing(t *testing.T) {
	for name, p := range map[string][2]string{
		"members":    {"0002 0001 67", "0003 0000 00000001 ffff ffff 0000000000000003 7fffffff"},
		"topics":     {"0010 0001 67 0001 72", "0000 ffffffff0f"},
		"partitions": {"0007 0001 67 0001 6d", "0000 02 00000000000000000000000000000001 ffffffff0f"},
		"metadata":   {"0001 0001 67 0001 74 00000003", "0004 0000000000000005 00000009 ffffffff0f"},
		"tags":       {"0003 0001 67", "0000 00000005 ffffffff0f"},
		"a tag":      {"0003 0001 67", "0000 00000005 01 00 ffffffff0f"},
		"epochs": {"0008 0001 67 0001 6d", "0000 00000001 00000000 00" +
			"02 00000000000000000000000000000001 02 00000004 01 00 05 ffffffff0f 01 00"},
	} {
		key, value := bytesOf(t, p[0]), bytesOf(t, p[1])
		if _, err := Decode(key, value); err == nil {
			t.Errorf("%s: decodes", name)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 100 {
			_, _ = Decode(key, value)
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 4096 {
			t.Errorf("%s: %d bytes are allocated", name, n)
		}
	}
}

// TestWhatIsWrittenIsRead encodes random records of all types and decodes them.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		p := encode(r)
		got, err := Decode(p.key, p.value)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatal(diff)
		}
		d := newRecord(Type(int16(binary.BigEndian.Uint16(p.key))))
		if reflect.TypeOf(d) != reflect.TypeOf(r) {
			t.Fatalf("a %T is written as a %T", r, d)
		}
	})
}

var word = rapid.StringMatching(`[a-zé]{0,9}`)

func drawOptional(t *rapid.T) *string {
	if rapid.Bool().Draw(t, "null") {
		return nil
	}
	return ptr(word.Draw(t, "string"))
}

func drawBytes(t *rapid.T) []byte {
	if b := rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "bytes"); len(b) > 0 {
		return b
	}
	return nil
}

func drawList[E any](t *rapid.T, element func(t *rapid.T) E) []E {
	n := rapid.IntRange(0, 3).Draw(t, "length")
	var list []E
	for range n {
		list = append(list, element(t))
	}
	return list
}

func drawInt32(t *rapid.T) int32 { return rapid.Int32().Draw(t, "int32") }
func drawWord(t *rapid.T) string { return word.Draw(t, "string") }

func drawPartitions(withEpochs bool) func(t *rapid.T) TopicPartitions {
	return func(t *rapid.T) TopicPartitions {
		p := TopicPartitions{TopicID: kafka.UUID{1: rapid.Byte().Draw(t, "id")}, Partitions: drawList(t, drawInt32)}
		if withEpochs && len(p.Partitions) > 0 && rapid.Bool().Draw(t, "epochs") {
			for range p.Partitions {
				p.AssignmentEpochs = append(p.AssignmentEpochs, drawInt32(t))
			}
		}
		return p
	}
}

func drawRecord(t *rapid.T) coordinator.Record {
	group, member := drawWord(t), drawWord(t)
	deleted := rapid.IntRange(0, 4).Draw(t, "deleted") == 0
	switch rapid.IntRange(0, 8).Draw(t, "type") {
	case 0:
		return drawOffset(t, group, deleted)
	case 1:
		return drawGroup(t, group, deleted)
	case 2:
		if deleted {
			return &ConsumerGroup{Group: group, Deleted: true}
		}
		return &ConsumerGroup{Group: group, Epoch: drawInt32(t), MetadataHash: rapid.Int64().Draw(t, "hash")}
	case 3:
		return &PartitionMetadata{Group: group, Deleted: deleted}
	case 4:
		return drawMember(t, group, member, deleted)
	case 5:
		if deleted {
			return &Target{Group: group, Deleted: true}
		}
		return &Target{Group: group, Epoch: drawInt32(t), Timestamp: kafka.Timestamp(rapid.Int64().Draw(t, "at"))}
	case 6:
		if deleted {
			return &TargetMember{Group: group, MemberID: member, Deleted: true}
		}
		return &TargetMember{Group: group, MemberID: member, Partitions: drawList(t, drawPartitions(false))}
	case 7:
		if deleted {
			return &CurrentMember{Group: group, MemberID: member, Deleted: true}
		}
		return &CurrentMember{
			Group:               group,
			MemberID:            member,
			MemberEpoch:         drawInt32(t),
			PreviousMemberEpoch: drawInt32(t),
			State:               rapid.Int8().Draw(t, "state"),
			Assigned:            drawList(t, drawPartitions(true)),
			PendingRevocation:   drawList(t, drawPartitions(true)),
		}
	}
	if deleted {
		return &RegularExpression{Group: group, Regex: member, Deleted: true}
	}
	return &RegularExpression{Group: group, Regex: member, Topics: drawList(t, drawWord),
		Version: rapid.Int64().Draw(t, "version"), Timestamp: kafka.Timestamp(rapid.Int64().Draw(t, "at"))}
}

func drawOffset(t *rapid.T, group string, deleted bool) coordinator.Record {
	r := &OffsetCommit{
		Group:           group,
		Topic:           drawWord(t),
		Partition:       kafka.PartitionIndex(drawInt32(t)),
		Deleted:         deleted,
		LeaderEpoch:     -1,
		ExpireTimestamp: -1,
	}
	if deleted {
		return r
	}
	r.Offset, r.Metadata = kafka.Offset(rapid.Int64().Draw(t, "offset")), drawWord(t)
	r.CommitTimestamp = kafka.Timestamp(rapid.Int64().Draw(t, "at"))
	if rapid.Bool().Draw(t, "expires") {
		r.ExpireTimestamp = kafka.Timestamp(rapid.Int64Min(0).Draw(t, "expiry"))
		return r
	}
	r.LeaderEpoch = kafka.LeaderEpoch(drawInt32(t))
	r.TopicID = kafka.UUID{3: rapid.Byte().Draw(t, "id")}
	return r
}

func drawGroup(t *rapid.T, group string, deleted bool) coordinator.Record {
	if deleted {
		return &Group{Group: group, Deleted: true, StateTimestamp: -1}
	}
	return &Group{Group: group, ProtocolType: drawWord(t), Generation: drawInt32(t), Protocol: drawOptional(t),
		Leader: drawOptional(t), StateTimestamp: kafka.Timestamp(rapid.Int64().Draw(t, "at")),
		Members: drawList(t, func(t *rapid.T) GroupMember {
			return GroupMember{MemberID: drawWord(t), InstanceID: drawOptional(t), ClientID: drawWord(t),
				ClientHost: drawWord(t), RebalanceTimeoutMs: drawInt32(t), SessionTimeoutMs: drawInt32(t),
				Subscription: drawBytes(t), Assignment: drawBytes(t)}
		})}
}

func drawMember(t *rapid.T, group, member string, deleted bool) coordinator.Record {
	if deleted {
		return &Member{Group: group, MemberID: member, Deleted: true}
	}
	r := &Member{Group: group, MemberID: member, InstanceID: drawOptional(t), RackID: drawOptional(t),
		ClientID: drawWord(t), ClientHost: drawWord(t), SubscribedTopics: drawList(t, drawWord),
		SubscribedRegex: drawOptional(t), RebalanceTimeoutMs: drawInt32(t), ServerAssignor: drawOptional(t)}
	if rapid.Bool().Draw(t, "classic") {
		r.Classic = &ClassicMember{SessionTimeoutMs: drawInt32(t),
			SupportedProtocols: drawList(t, func(t *rapid.T) ClassicProtocol {
				return ClassicProtocol{Name: drawWord(t), Metadata: drawBytes(t)}
			})}
	}
	return r
}

// TestNamesAreKeptOnce decodes the same offset again: the names of its group and topic are the ones of before.
func TestNamesAreKeptOnce(t *testing.T) {
	p := encode(
		&OffsetCommit{Group: "group", Topic: "topic", LeaderEpoch: 1, ExpireTimestamp: -1, TopicID: kafka.UUID{1}},
	)
	var d Decoder
	if _, err := d.Decode(p.key, p.value); err != nil {
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(p.key, p.value); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 { // the record
		t.Errorf("%v allocations", n)
	}
}

func TestTooLongAStringIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a key of 40,000 bytes was written")
		}
	}()
	(&Group{Group: strings.Repeat("g", 40_000)}).AppendKey(nil)
}

// FuzzDecode looks for bytes that make Decode panic, and checks that what decodes can be written and read again.
func FuzzDecode(f *testing.F) {
	for _, p := range goldenPairs(f) {
		f.Add(p.key, p.value, p.value == nil)
	}
	f.Fuzz(func(t *testing.T, key, value []byte, isTombstone bool) {
		if isTombstone {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		r, err := Decode(key, value)
		if err != nil {
			return
		}
		p := encode(r)
		again, err := Decode(p.key, p.value)
		if err != nil {
			t.Fatalf("%+v does not decode again: %v", r, err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

// BenchmarkDecodeOffset decodes what a log mostly holds.
func BenchmarkDecodeOffset(b *testing.B) {
	p := encode(
		&OffsetCommit{Group: "group", Topic: "topic", LeaderEpoch: 1, ExpireTimestamp: -1, TopicID: kafka.UUID{1}},
	)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(p.key, p.value); err != nil {
			b.Fatal(err)
		}
	}
}
