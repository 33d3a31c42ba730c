package metadata

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"spate/internal/invariant"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/image"
	meta "spate/metadata/record"
)

// metadataFolder is the partition's folder, as in Kafka.
const metadataFolder = "__cluster_metadata-0"

// mark is the end of a snapshot: its last entry, and the offset after it.
type mark struct {
	index uint64
	term  uint64
	end   kafka.Offset
}

// place is where an entry begins in the log.
type place struct {
	base kafka.Offset
	term uint64
}

// storage is the Raft library's view of the log, the vote and the snapshot. Raft numbers entries, the log numbers
// records, and an entry is a batch of one or more records: places maps the one to the other for all that the snapshot
// does not hold. It is rebuilt from the log at the start.
type storage struct {
	fs        vfs.FS
	dir       string
	node      kafka.BrokerID
	directory kafka.UUID
	log       Log
	hard      *raftpb.HardState // term and vote are those on disk; commit is not below that on disk
	conf      *raftpb.ConfState
	snapshot  mark
	places    []place         // of the entries from snapshot.index+1 on
	tail      []*raftpb.Entry // the last ones of them: those that are not applied yet
	end       kafka.Offset    // where the next entry begins
	newest    kafka.Timestamp // of the last entry
	grown     int64           // bytes of the entries in places
}

// openStorage reads all that is durable, and gives the image of the snapshot.
func openStorage(fs vfs.FS, o Options) (*storage, *image.Image, error) {
	s := &storage{fs: fs, dir: path.Join(o.Dir, metadataFolder), node: o.NodeID, directory: o.DirectoryID}
	if isForeign(fs, s.dir) {
		return nil, nil, ErrForeign
	}
	if err := s.prepareFolder(o.Dir); err != nil {
		return nil, nil, err
	}
	snapshot, err := loadSnapshot(fs, s.dir, o.ClusterID)
	if err != nil {
		return nil, nil, err
	}
	s.snapshot, s.conf, s.newest, s.end = snapshot.mark, snapshot.conf, snapshot.newest, snapshot.mark.end
	if s.conf == nil { // a new log, or one without a snapshot yet: the quorum is this node
		s.conf = &raftpb.ConfState{Voters: []uint64{raftID(o.NodeID)}}
	}
	if !slices.Contains(s.conf.GetVoters(), raftID(o.NodeID)) {
		return nil, nil, fmt.Errorf("node %d is not a voter of the quorum whose metadata this is", o.NodeID)
	}
	vote, err := readQuorumState(fs, s.dir)
	if err != nil {
		return nil, nil, err
	}
	durableTo := max(vote.HighWatermark, s.snapshot.end)
	log, err := openSegmentLog(fs, s.dir, o.SegmentBytes, s.snapshot.end, durableTo, s.visit)
	if err != nil {
		return nil, nil, err
	}
	s.log = log
	if s.hard, err = s.hardState(vote); err != nil {
		return nil, nil, errors.Join(err, log.Close())
	}
	return s, snapshot.image, nil
}

// prepareFolder makes the folder and removes files that were never finished.
func (s *storage) prepareFolder(parent string) error {
	if err := s.fs.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	if err := s.fs.SyncDir(parent); err != nil {
		return err
	}
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), vfs.TempSuffix) {
			if err := s.fs.Remove(path.Join(s.dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// visit takes in a batch that was found in the log. What the snapshot holds is passed over.
func (s *storage) visit(b record.Batch) error {
	if b.NextOffset() <= s.snapshot.end {
		return nil
	}
	if b.BaseOffset() != s.end {
		return fmt.Errorf("a batch begins at offset %d where %d is wanted", b.BaseOffset(), s.end)
	}
	if last := s.termOf(s.lastIndex()); uint64(b.LeaderEpoch()) < last {
		return fmt.Errorf(
			"the batch at offset %d is of epoch %d, after one of %d",
			b.BaseOffset(),
			b.LeaderEpoch(),
			last,
		)
	}
	e, err := decodeEntry(b, s.lastIndex()+1)
	if err != nil {
		return err
	}
	s.add(b)
	s.tail = append(s.tail, e)
	return nil
}

// add notes the place of the batch that ends the log.
func (s *storage) add(b record.Batch) {
	s.places = append(s.places, place{base: b.BaseOffset(), term: uint64(b.LeaderEpoch())})
	s.end = b.NextOffset()
	s.newest = b.MaxTimestamp()
	s.grown += int64(len(b))
}

// hardState is the vote, and the commit index as it was when it was last written.
func (s *storage) hardState(vote quorumState) (*raftpb.HardState, error) {
	if last := s.termOf(s.lastIndex()); uint64(vote.LeaderEpoch) < last {
		return nil, fmt.Errorf("%s has epoch %d, but the log has %d: the file was lost, or it is another node's",
			quorumStateFile, vote.LeaderEpoch, last)
	}
	commit := s.snapshot.index + uint64(sort.Search(len(s.places), func(i int) bool {
		return s.places[i].base >= vote.HighWatermark
	}))
	term, voted := uint64(vote.LeaderEpoch), raftID(vote.VotedID)
	return &raftpb.HardState{Term: &term, Vote: &voted, Commit: &commit}, nil
}

// save makes a change of the vote and new entries durable, in that order. After an error of a full disk that is not
// errUncertain, everything is as it was.
func (s *storage) save(hard *raftpb.HardState, entries []*raftpb.Entry, now kafka.Timestamp) error {
	if hard != nil {
		if hard.GetTerm() != s.hard.GetTerm() || hard.GetVote() != s.hard.GetVote() {
			if err := s.writeVote(hard); err != nil {
				return err
			}
		}
		s.hard = hard
	}
	if len(entries) == 0 {
		return nil
	}
	invariant.Check(entries[0].GetIndex() == s.lastIndex()+1, "entry %d comes after entry %d",
		entries[0].GetIndex(), s.lastIndex())
	voters := make([]kafka.BrokerID, len(s.conf.GetVoters()))
	for i, id := range s.conf.GetVoters() {
		voters[i] = brokerID(id)
	}
	batches := make([]record.Batch, len(entries))
	var all []byte
	for i, base := 0, s.end; i < len(entries); i++ {
		batches[i] = encodeEntry(entries[i], base, now, meta.LeaderChange{Leader: s.node, Voters: voters})
		base = batches[i].NextOffset()
		all = append(all, batches[i]...)
	}
	if err := s.log.Append(all); err != nil {
		return err
	}
	if err := s.log.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errUncertain, err)
	}
	for _, b := range batches {
		s.add(b)
	}
	s.tail = append(s.tail, entries...)
	return nil
}

// applied lets go of the entries up to index.
func (s *storage) applied(index uint64) {
	if s.tail = s.tail[len(s.tail)-int(s.lastIndex()-index):]; len(s.tail) == 0 {
		s.tail = nil // with the memory below it
	}
}

// errUncertain marks a failure after which it is not known what is durable: the log cannot go on, not even when the
// reason was a full disk.
var errUncertain = errors.New("it is not known what is durable")

func (s *storage) writeVote(hard *raftpb.HardState) error {
	return writeQuorumState(s.fs, s.dir, quorumState{
		LeaderID: kafka.NoBroker, LeaderEpoch: int32(hard.GetTerm()), VotedID: brokerID(hard.GetVote()),
		VotedDirectoryID: s.directory.String(), HighWatermark: s.endOf(hard.GetCommit()),
		DataVersion: quorumStateVersion,
	})
}

// took is called when a snapshot up to the last entry is durable: nothing before its end is needed any more.
func (s *storage) took(m mark) {
	invariant.Check(m.index == s.lastIndex() && m.end == s.end, "the snapshot ends at %d, the log at %d", m.end, s.end)
	s.snapshot, s.places, s.grown = m, nil, 0
}

// close writes down how much is committed, so that the next start knows what must be there, and closes the log.
func (s *storage) close(clean bool) error {
	var err error
	if clean {
		err = s.writeVote(s.hard)
	}
	return errors.Join(err, s.log.Close())
}

// epoch is the current term.
func (s *storage) epoch() kafka.LeaderEpoch { return kafka.LeaderEpoch(s.hard.GetTerm()) }

func (s *storage) lastIndex() uint64 { return s.snapshot.index + uint64(len(s.places)) }

// termOf is the term of an entry that Term knows.
func (s *storage) termOf(index uint64) uint64 {
	if index == s.snapshot.index {
		return s.snapshot.term
	}
	return s.places[index-s.snapshot.index-1].term
}

// endOf is the offset after an entry that the log or the end of the snapshot holds.
func (s *storage) endOf(index uint64) kafka.Offset {
	switch index {
	case s.lastIndex():
		return s.end
	case s.snapshot.index:
		return s.snapshot.end
	}
	return s.places[index-s.snapshot.index].base // where the next begins
}

// InitialState is part of raft.Storage.
func (s *storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return s.hard, s.conf, nil
}

// FirstIndex is part of raft.Storage.
func (s *storage) FirstIndex() (uint64, error) { return s.snapshot.index + 1, nil }

// LastIndex is part of raft.Storage.
func (s *storage) LastIndex() (uint64, error) { return s.lastIndex(), nil }

// Term is part of raft.Storage.
func (s *storage) Term(index uint64) (uint64, error) {
	if index < s.snapshot.index {
		return 0, raft.ErrCompacted
	}
	if index > s.lastIndex() {
		return 0, raft.ErrUnavailable
	}
	return s.termOf(index), nil
}

// Entries is part of raft.Storage: the entries of [low, high), up to about bytesMax bytes but at least one. Those that
// are applied are not given: Raft would ask for them only to send them to a follower, and there is none.
func (s *storage) Entries(low, high, bytesMax uint64) ([]*raftpb.Entry, error) {
	first := s.lastIndex() + 1 - uint64(len(s.tail))
	if low < first {
		return nil, raft.ErrCompacted
	}
	if high > s.lastIndex()+1 {
		return nil, raft.ErrUnavailable
	}
	entries := slices.Clone(s.tail[low-first : high-first])
	bytes := uint64(0)
	for i, e := range entries {
		if bytes += uint64(len(e.GetData())); i > 0 && bytes > bytesMax {
			return entries[:i], nil
		}
	}
	return entries, nil
}

// Snapshot is part of raft.Storage. Raft asks for a snapshot to send to a follower, and there is none.
func (s *storage) Snapshot() (*raftpb.Snapshot, error) {
	return nil, raft.ErrSnapshotTemporarilyUnavailable
}
