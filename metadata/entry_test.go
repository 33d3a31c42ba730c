package metadata

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	meta "spate/metadata/record"
)

// Goal: every Raft entry has a place in a log that Kafka's tools read, and comes back from it as it was; the storage
// keeps Raft's contract. Method: entries of every kind, alone and through a restart.

func entry(typ raftpb.EntryType, index, term uint64, data []byte) *raftpb.Entry {
	return &raftpb.Entry{Type: &typ, Index: &index, Term: &term, Data: data}
}

func TestEveryKindOfEntrySurvivesTheLog(t *testing.T) {
	v1, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: proto.Uint64(3)})
	if err != nil {
		t.Fatal(err)
	}
	v2, err := proto.Marshal(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeAddLearnerNode.Enum(), NodeId: proto.Uint64(4)}}})
	if err != nil {
		t.Fatal(err)
	}
	noOp := encodeRecords([]meta.Record{&meta.NoOp{}}, 10, 3, 5)
	topic := encodeRecords(
		[]meta.Record{&meta.Topic{Name: "a", ID: kafka.UUID{1}}, &meta.RemoveTopic{ID: kafka.UUID{1}}},
		10,
		3,
		5,
	)
	for name, in := range map[string]*raftpb.Entry{
		"the start of a term":       entry(raftpb.EntryNormal, 8, 3, nil),
		"a command":                 entry(raftpb.EntryNormal, 8, 3, topic),
		"a command of one record":   entry(raftpb.EntryNormal, 8, 3, noOp),
		"a change of the quorum":    entry(raftpb.EntryConfChange, 8, 3, v1),
		"a joint change":            entry(raftpb.EntryConfChangeV2, 8, 3, v2),
		"the end of a joint change": entry(raftpb.EntryConfChangeV2, 8, 3, []byte{}),
	} {
		b := encodeEntry(in, 10, 5, meta.LeaderChange{Leader: 1, Voters: []kafka.BrokerID{1}})
		if b.BaseOffset() != 10 || b.LeaderEpoch() != 3 || b.CheckCRC() != nil || b.MaxTimestamp() != 5 {
			t.Errorf("%s: a batch at %d of epoch %d, %v", name, b.BaseOffset(), b.LeaderEpoch(), b.CheckCRC())
		}
		if control := in.GetType() == raftpb.EntryNormal && len(in.Data) == 0; b.IsControl() != control {
			t.Errorf("%s: control is %v", name, b.IsControl())
		}
		out, err := decodeEntry(b, 8)
		if err != nil || out.GetType() != in.GetType() || out.GetIndex() != 8 || out.GetTerm() != 3 ||
			!bytes.Equal(out.Data, in.Data) {
			t.Errorf("%s: %v became %v, %v", name, in, out, err)
		}
		if in.GetType() == raftpb.EntryNormal {
			continue
		}
		if _, err := decodeQuorumChange(out); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAMalformedChangeOfTheQuorumIsRefused(t *testing.T) {
	for _, carried := range [][]byte{{}, {0, 1}, {3}} {
		b := encodeRecords([]meta.Record{&meta.NoOp{QuorumChange: carried}}, 10, 3, 5)
		if e, err := decodeEntry(b, 1); err == nil ||
			!strings.Contains(err.Error(), "offset 10: a change of the quorum") {
			t.Errorf("%x gives %v, %v", carried, e, err)
		}
	}
	for _, typ := range []raftpb.EntryType{raftpb.EntryConfChange, raftpb.EntryConfChangeV2} {
		if _, err := decodeQuorumChange(entry(typ, 1, 1, []byte{0xff})); err == nil {
			t.Errorf("%v: noise is a change of the quorum", typ)
		}
	}
}

// TestAChangeOfTheQuorumIsAppliedAndKept lets Raft take in a change that changes nothing for a quorum of one.
func TestAChangeOfTheQuorumIsAppliedAndKept(t *testing.T) {
	disk := newDisk(t)
	n := polled(t, disk, testOptions())
	must(t, n, register(1))
	for _, change := range []raftpb.ConfChangeI{
		&raftpb.ConfChange{Type: raftpb.ConfChangeUpdateNode.Enum(), NodeId: proto.Uint64(raftID(testNode))},
		&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
			{Type: raftpb.ConfChangeUpdateNode.Enum(), NodeId: proto.Uint64(raftID(testNode))}}},
	} {
		end := n.Image().EndOffset()
		if err := n.raft.ProposeConfChange(change); err != nil {
			t.Fatal(err)
		}
		n.proposed++
		if err := n.drive(n.env.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		if n.Image().EndOffset() != end+1 || !slices.Equal(n.storage.conf.GetVoters(), []uint64{raftID(testNode)}) {
			t.Errorf("end offset %d after %d, voters %v", n.Image().EndOffset(), end, n.storage.conf.GetVoters())
		}
	}
	must(t, n, create("after"))
	want := contents(n.Image())
	crashed := disk.CrashClone(rand.New(rand.NewPCG(1, 1)))
	n.Close() // now the commit index on disk is past the changes, and Raft wants them applied before it campaigns
	for name, left := range map[string]vfs.FS{"a crash": crashed, "a clean end": disk} {
		if again := polled(t, left, testOptions()); contents(again.Image()) != want {
			t.Errorf("after %s the log with changes of the quorum gives another image", name)
		}
	}
}

func TestStorageKeepsRaftsContract(t *testing.T) {
	disk := newDisk(t)
	o := testOptions()
	o.SnapshotBytes = 1
	n := polled(t, disk, o)
	must(t, n, register(1)) // and a snapshot
	first := n.applied
	n.options.SnapshotBytes, n.snapshotAt = 1<<30, 1<<30
	for _, name := range []string{"a", "b", "c"} {
		must(t, n, create(name))
	}
	n.Close()
	s, _, err := openStorage(disk, testOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close(true)
	if low, _ := s.FirstIndex(); low != first+1 {
		t.Errorf("the first index is %d, the snapshot ends at %d", low, first)
	}
	last, _ := s.LastIndex()
	if last != first+3 {
		t.Errorf("the last index is %d", last)
	}
	for index, want := range map[uint64]error{
		first - 1: raft.ErrCompacted, first: nil, last: nil, last + 1: raft.ErrUnavailable,
	} {
		if _, err := s.Term(index); !errors.Is(err, want) {
			t.Errorf("the term of %d: %v", index, err)
		}
	}
	for _, c := range []struct {
		low, high, bytes uint64
		count            int
		want             error
	}{
		{first + 1, last + 1, 1 << 20, 3, nil}, {first + 2, last + 1, 1 << 20, 2, nil},
		{first + 1, last + 1, 0, 1, nil},
		{first + 1, first + 1, 1 << 20, 0, nil}, {first, last + 1, 1 << 20, 0, raft.ErrCompacted},
		{first + 1, last + 2, 1 << 20, 0, raft.ErrUnavailable},
	} {
		entries, err := s.Entries(c.low, c.high, c.bytes)
		if len(entries) != c.count || !errors.Is(err, c.want) || len(entries) > 0 && entries[0].GetIndex() != c.low {
			t.Errorf("%+v gives %d entries, %v", c, len(entries), err)
		}
	}
	s.applied(first + 1)
	if _, err := s.Entries(first+1, last+1, 1<<20); !errors.Is(err, raft.ErrCompacted) {
		t.Errorf("an entry that was let go of: %v", err)
	}
	if entries, err := s.Entries(first+2, last+1, 1<<20); len(entries) != 2 || err != nil {
		t.Errorf("the entries after it: %d, %v", len(entries), err)
	}
	if _, err := s.Snapshot(); !errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable) {
		t.Errorf("a snapshot to send: %v", err)
	}
}

func TestQuorumStateIsChecked(t *testing.T) {
	good := `{"leaderId":-1,"leaderEpoch":3,"votedId":1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","highWatermark":9,"data_version":1}`
	kafkas := `{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}`
	for text, want := range map[string]string{
		good: "", kafkas: "",
		strings.Replace(good, `version":1`, `version":2`, 1):    "data_version 2 is not 1",
		strings.Replace(good, `"leaderEpoch":3,`, "", 1):        "leaderEpoch -1",
		strings.Replace(good, `"votedId":1`, `"votedId":-2`, 1): "votedId -2",
		strings.Replace(good, `mark":9`, `mark":-9`, 1):         "highWatermark -9",
		good[:20]: "unexpected end of JSON", "": "unexpected end of JSON",
	} {
		q, err := parseQuorumState([]byte(text))
		if want == "" && (err != nil || q.LeaderEpoch < 2) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %+v, %v", text, q, err)
		}
	}
}

func FuzzParseQuorumState(f *testing.F) {
	f.Add(
		[]byte(
			`{"leaderId":-1,"leaderEpoch":3,"votedId":1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","highWatermark":9,"data_version":1}`,
		),
	)
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := parseQuorumState(data)
		if err != nil {
			return
		}
		disk := vfs.NewMem()
		if err := writeQuorumState(disk, ".", q); err != nil {
			t.Fatal(err)
		}
		if again, err := readQuorumState(disk, "."); err != nil || again.LeaderEpoch != q.LeaderEpoch ||
			again.VotedID != q.VotedID {
			t.Fatalf("%+v became %+v, %v", q, again, err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte(encodeRecords([]meta.Record{&meta.NoOp{QuorumChange: []byte{2, 1}}}, 0, 1, 5)))
	f.Add([]byte(encodeRecords([]meta.Record{&meta.Topic{Name: "a"}}, 0, 1, 5)))
	f.Add(encodeControl(record.ControlLeaderChange, meta.AppendLeaderChange(nil, meta.LeaderChange{}), 0, 1, 5))
	f.Add([]byte(encodeRecords([]meta.Record{&meta.NoOp{QuorumChange: []byte{0, 1}}}, 0, 1, 5)))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := record.Next(data)
		if err != nil {
			return
		}
		if e, err := decodeEntry(b, 1); err == nil && e.GetType() == raftpb.EntryNormal {
			_, _ = decodeRecords(e.GetData())
		} else if err == nil {
			_, _ = decodeQuorumChange(e)
		}
	})
}
