package metadata

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
	meta "spate/metadata/record"
)

// A Raft entry is one record batch in the log:
//   - an entry of a command is the batch itself, which is made when the command is decided;
//   - the empty entry with which a leader begins its term is a control batch with a LeaderChange record, as in Kafka;
//   - a change of the quorum is a batch of one NoOp record, which carries it in a tagged field.

// encodeRecords makes the batch of a command's records.
func encodeRecords(records []meta.Record, base kafka.Offset, epoch kafka.LeaderEpoch, ts kafka.Timestamp) []byte {
	w := record.NewBuilder(record.BuilderOptions{BaseOffset: base, LeaderEpoch: epoch})
	var value []byte
	for _, r := range records {
		value = meta.Append(value[:0], r)
		w.Append(ts, nil, value)
	}
	return build(w)
}

func build(w *record.Builder) []byte {
	b, err := w.Build()
	invariant.Check(err == nil, "an uncompressed batch was not built: %v", err)
	return b
}

// encodeControl makes a batch of one control record.
func encodeControl(
	t record.ControlType,
	value []byte,
	base kafka.Offset,
	epoch kafka.LeaderEpoch,
	ts kafka.Timestamp,
) []byte {
	w := record.NewBuilder(record.BuilderOptions{BaseOffset: base, LeaderEpoch: epoch, Control: true})
	w.AppendControl(ts, t, value)
	return build(w)
}

// encodeEntry gives the batch of an entry that begins at base. voters and leader are for the entry that begins a term.
func encodeEntry(e *raftpb.Entry, base kafka.Offset, ts kafka.Timestamp, change meta.LeaderChange) record.Batch {
	epoch := kafka.LeaderEpoch(e.GetTerm())
	switch {
	case e.GetType() != raftpb.EntryNormal:
		carried := append([]byte{byte(e.GetType())}, e.GetData()...)
		return encodeRecords([]meta.Record{&meta.NoOp{QuorumChange: carried}}, base, epoch, ts)
	case len(e.GetData()) == 0:
		return encodeControl(record.ControlLeaderChange, meta.AppendLeaderChange(nil, change), base, epoch, ts)
	}
	b := record.Batch(e.GetData())
	invariant.Check(
		b.BaseOffset() == base && b.LeaderEpoch() == epoch,
		"a batch for offset %d of epoch %d comes to offset %d in epoch %d",
		b.BaseOffset(),
		b.LeaderEpoch(),
		base,
		epoch,
	)
	return b
}

// decodeEntry gives the entry of a batch. It keeps nothing of the batch's memory.
func decodeEntry(b record.Batch, index uint64) (*raftpb.Entry, error) {
	e := &raftpb.Entry{Term: proto.Uint64(uint64(b.LeaderEpoch())), Index: &index, Type: raftpb.EntryNormal.Enum()}
	if b.IsControl() {
		return e, nil
	}
	change, err := quorumChangeIn(b)
	if err != nil {
		return nil, err
	}
	if change == nil {
		e.Data = append([]byte(nil), b...)
		return e, nil
	}
	e.Type, e.Data = raftpb.EntryType(change[0]).Enum(), change[1:]
	return e, nil
}

// quorumChangeIn gives what a batch carries of a change of the quorum, nil for a batch of anything else.
func quorumChangeIn(b record.Batch) ([]byte, error) {
	if b.Count() != 1 {
		return nil, nil
	}
	records, err := decodeRecords(b)
	if err != nil {
		return nil, err
	}
	noOp, ok := records[0].(*meta.NoOp)
	if !ok || noOp.QuorumChange == nil {
		return nil, nil
	}
	change := noOp.QuorumChange
	if len(change) == 0 || !isQuorumChange(raftpb.EntryType(change[0])) {
		return nil, fmt.Errorf("offset %d: a change of the quorum is malformed: %x", b.BaseOffset(), change)
	}
	return change, nil
}

func isQuorumChange(t raftpb.EntryType) bool {
	return t == raftpb.EntryConfChange || t == raftpb.EntryConfChangeV2
}

// decodeRecords reads the records of a command's batch; the empty entry that begins a term has none.
func decodeRecords(b record.Batch) ([]meta.Record, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var records []meta.Record
	it := b.Records()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		decoded, err := meta.Decode(r.Value)
		if err != nil {
			it.Close()
			return nil, fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		records = append(records, decoded)
	}
	return records, it.Err()
}

// decodeQuorumChange reads the data of an entry that changes the quorum.
func decodeQuorumChange(e *raftpb.Entry) (raftpb.ConfChangeI, error) {
	if e.GetType() == raftpb.EntryConfChange {
		change := new(raftpb.ConfChange)
		return change, proto.Unmarshal(e.GetData(), change)
	}
	change := new(raftpb.ConfChangeV2)
	return change, proto.Unmarshal(e.GetData(), change)
}
