package metadata

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"spate/internal/invariant"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/image"
	meta "spate/metadata/record"
)

// A snapshot is a file of batches in the form of a log: a control batch with a SnapshotHeader, batches of the records
// that build the image, and a control batch with a SnapshotFooter. Its name is the offset at which it ends in the log
// and the epoch of the record before. The header carries Raft's view of it.

const snapshotSuffix = ".checkpoint"

func snapshotName(end kafka.Offset, epoch kafka.LeaderEpoch) string {
	return fmt.Sprintf("%020d-%010d%s", end, epoch, snapshotSuffix)
}

// parseSnapshotName is the reverse of snapshotName.
func parseSnapshotName(name string) (end kafka.Offset, epoch kafka.LeaderEpoch, ok bool) {
	numbers, ok := strings.CutSuffix(name, snapshotSuffix)
	first, second, cut := strings.Cut(numbers, "-")
	if !ok || !cut || len(first) != 20 || len(second) != 10 {
		return 0, 0, false
	}
	offset, err := strconv.ParseInt(first, 10, 64)
	term, err2 := strconv.ParseInt(second, 10, 32)
	if err != nil || err2 != nil || offset < 0 || term < 0 {
		return 0, 0, false
	}
	return kafka.Offset(offset), kafka.LeaderEpoch(term), true
}

// snapshot is what a snapshot holds.
type snapshot struct {
	mark   mark
	conf   *raftpb.ConfState // nil: there is no snapshot yet
	newest kafka.Timestamp   // of the last record of the log that is in it
	image  *image.Image
}

// snapshotBatchRecords bounds the records of one batch of a snapshot.
const snapshotBatchRecords = 1000

// encodeSnapshot gives the content of the file. All batches have the epoch of the snapshot, as in Kafka.
func encodeSnapshot(s snapshot, now kafka.Timestamp) []byte {
	epoch := kafka.LeaderEpoch(s.mark.term)
	quorum, err := proto.Marshal(&raftpb.SnapshotMetadata{
		ConfState: s.conf, Index: &s.mark.index, Term: &s.mark.term})
	invariant.Check(err == nil, "the description of a snapshot was not encoded: %v", err)
	header := meta.AppendSnapshotHeader(nil, meta.SnapshotHeader{LastTimestamp: s.newest, Quorum: quorum})
	file := encodeControl(record.ControlSnapshotHeader, header, 0, epoch, now)
	next := kafka.Offset(1)
	w := record.NewBuilder(record.BuilderOptions{BaseOffset: next, LeaderEpoch: epoch})
	var value []byte
	flush := func() {
		file = append(file, build(w)...)
		next += kafka.Offset(w.Count())
		w.Reset(record.BuilderOptions{BaseOffset: next, LeaderEpoch: epoch})
	}
	for r := range s.image.Records() {
		value = meta.Append(value[:0], r)
		w.Append(now, nil, value)
		if w.Count() == snapshotBatchRecords {
			flush()
		}
	}
	if w.Count() > 0 {
		flush()
	}
	return append(
		file,
		encodeControl(record.ControlSnapshotFooter, meta.AppendSnapshotFooter(nil), next, epoch, now)...)
}

// decodeSnapshot reads the content of the file of that name.
func decodeSnapshot(name string, data []byte, clusterID string) (snapshot, error) {
	var s snapshot
	end, epoch, ok := parseSnapshotName(name)
	if !ok {
		return s, errors.New("the name is not that of a snapshot")
	}
	builder := image.NewBuilder(image.Empty(clusterID))
	next, closed := kafka.Offset(0), false
	for rest := data; len(rest) > 0; {
		var b record.Batch
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			return s, err
		}
		if err := b.CheckCRC(); err != nil {
			return s, err
		}
		first, last := next == 0, len(rest) == 0
		if closed || b.BaseOffset() != next || b.LeaderEpoch() != epoch || b.IsControl() != first && !last {
			return s, fmt.Errorf("a batch at offset %d of epoch %d is out of place", b.BaseOffset(), b.LeaderEpoch())
		}
		switch {
		case next == 0:
			err = s.readHeader(b, mark{term: uint64(epoch), end: end})
		case b.IsControl():
			closed, err = true, checkFooter(b)
		default:
			err = applyBatch(builder, b)
		}
		if err != nil {
			return s, err
		}
		next = b.NextOffset()
	}
	if !closed {
		return s, errors.New("the footer is missing")
	}
	builder.AdvanceTo(end, epoch)
	s.image, _ = builder.Build()
	return s, nil
}

// readHeader reads the first batch.
func (s *snapshot) readHeader(b record.Batch, m mark) error {
	r, err := onlyRecord(b, record.ControlSnapshotHeader)
	if err != nil {
		return err
	}
	header, err := meta.DecodeSnapshotHeader(r.Value)
	if err != nil {
		return err
	}
	var quorum raftpb.SnapshotMetadata
	if err := proto.Unmarshal(header.Quorum, &quorum); err != nil {
		return err
	}
	if quorum.GetTerm() != m.term || quorum.GetIndex() == 0 || len(quorum.GetConfState().GetVoters()) == 0 {
		return fmt.Errorf("the header describes a snapshot of term %d, index %d and %d voters",
			quorum.GetTerm(), quorum.GetIndex(), len(quorum.GetConfState().GetVoters()))
	}
	m.index = quorum.GetIndex()
	s.mark, s.conf, s.newest = m, quorum.GetConfState(), header.LastTimestamp
	return nil
}

func checkFooter(b record.Batch) error {
	_, err := onlyRecord(b, record.ControlSnapshotFooter)
	return err
}

// onlyRecord is the control record of a batch that must have one, of that type.
func onlyRecord(b record.Batch, want record.ControlType) (record.Record, error) {
	it := b.Records()
	r, ok := it.Next()
	if _, more := it.Next(); !ok || more || it.Err() != nil {
		return r, fmt.Errorf("the control batch at offset %d has not one record", b.BaseOffset())
	}
	t, err := r.ControlType()
	if err == nil && t != want {
		err = fmt.Errorf("the control record at offset %d is of type %d, not %d", b.BaseOffset(), t, want)
	}
	return r, err
}

func applyBatch(builder *image.Builder, b record.Batch) error {
	records, err := decodeRecords(b)
	for i := 0; err == nil && i < len(records); i++ {
		err = builder.Apply(records[i])
	}
	return err
}

// snapshotNames lists the snapshots in dir, the newest last.
func snapshotNames(fs vfs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, _, ok := parseSnapshotName(entry.Name()); ok {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// loadSnapshot reads the newest snapshot; without any the image is empty. A snapshot that cannot be read is an error
// and no older one is taken instead: the log before it may be gone.
func loadSnapshot(fs vfs.FS, dir, clusterID string) (snapshot, error) {
	names, err := snapshotNames(fs, dir)
	if err != nil {
		return snapshot{}, err
	}
	if len(names) == 0 {
		return snapshot{image: image.Empty(clusterID), newest: kafka.NoTimestamp}, nil
	}
	name := names[len(names)-1]
	data, err := vfs.ReadFile(fs, path.Join(dir, name))
	if err != nil {
		return snapshot{}, err
	}
	s, err := decodeSnapshot(name, data, clusterID)
	if err != nil {
		return s, fmt.Errorf("snapshot %s: %w", name, err)
	}
	return s, nil
}

// maybeSnapshot takes a snapshot if the log has grown enough, and drops the log that it stands for. A full disk puts
// it off, and so does a lack of descriptors: the log that is there still holds everything.
func (n *Node) maybeSnapshot(now time.Time) {
	s := n.storage
	if s.grown < n.snapshotAt || n.applied != s.lastIndex() {
		return
	}
	err := n.takeSnapshot(now)
	switch {
	case err == nil:
		n.stats.Snapshots.Add(1)
		n.snapshotAt = n.options.SnapshotBytes
	case vfs.Exhausted(err):
		n.env.Log.Warn("no room for a snapshot of the metadata; it is tried again later", "error", err)
		n.snapshotAt = s.grown + n.options.SnapshotBytes/4
	default:
		_ = n.fail(err) // the state says it: Err
	}
}

func (n *Node) takeSnapshot(now time.Time) error {
	s := n.storage
	m := mark{index: n.applied, term: s.termOf(n.applied), end: s.end}
	name := snapshotName(m.end, kafka.LeaderEpoch(m.term))
	data := encodeSnapshot(snapshot{mark: m, conf: s.conf, newest: s.newest, image: n.Image()}, timestampOf(now))
	if err := replaceFile(s.fs, path.Join(s.dir, name), data); err != nil {
		return err
	}
	s.took(m)
	names, err := snapshotNames(s.fs, s.dir)
	if err != nil {
		return err
	}
	for _, old := range names {
		if old != name {
			if err := s.fs.Remove(path.Join(s.dir, old)); err != nil {
				return err
			}
		}
	}
	return s.log.StartFrom(m.end)
}
