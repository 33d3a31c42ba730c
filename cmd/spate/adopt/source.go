package adopt

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/image"
	meta "spate/metadata/record"
	"spate/segment"
)

// refused is a reason why the take-over cannot be, in a sentence for the operator.
type refused string

// Error is the sentence.
func (r refused) Error() string { return string(r) }

func refusal(format string, args ...any) error { return refused(fmt.Sprintf(format, args...)) }

// source is Kafka's metadata as it lies on disk: the newest snapshot, and the log after it.
type source struct {
	fs      vfs.FS
	folder  string
	node    kafka.BrokerID
	clean   bool // the node was stopped cleanly: then nothing may be torn
	builder *image.Builder

	end    kafka.Offset      // after the last record
	epoch  kafka.LeaderEpoch // of the last record
	newest kafka.Timestamp
	vote   kafka.LeaderEpoch // the newest epoch that the node has seen

	inTransaction bool
	pending       []meta.Record                  // of the transaction that is open
	pendingLost   []func()                       // the same for what is not served
	lost          map[string]map[string]struct{} // what matters and would vanish → the things
	notes         []string
}

// readSource reads the metadata in folder. A refusal ends it: what follows would not make sense.
func readSource(fsys vfs.FS, folder, clusterID string, node kafka.BrokerID, clean bool) (*source, error) {
	s := &source{fs: fsys, folder: folder, node: node, clean: clean, epoch: 0, newest: kafka.NoTimestamp,
		builder: image.NewBuilder(image.Empty(clusterID)), lost: map[string]map[string]struct{}{}}
	entries, err := fsys.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var bases []kafka.Offset
	var snapshots []string
	for _, e := range entries {
		if base, suffix, ok := segment.ParseFileName(e.Name()); ok && suffix == segment.LogSuffix {
			bases = append(bases, base)
		} else if ok && strings.HasPrefix(suffix, "-") && strings.HasSuffix(suffix, ".checkpoint") {
			snapshots = append(snapshots, e.Name()) // the last is the newest: the names have a fixed width
		}
	}
	for _, step := range []func() error{
		s.readVote,
		func() error { return s.readSnapshot(snapshots) },
		func() error { return s.readLog(bases) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if s.inTransaction {
		s.notes = append(s.notes, "a change of the metadata that was never completed is left out, as Kafka would do")
	}
	if s.end == 0 {
		return nil, refusal("%s holds no records: the node was formatted and never started", folder)
	}
	return s, nil
}

// readVote reads quorum-state.
func (s *source) readVote() error {
	name := path.Join(s.folder, "quorum-state")
	data, err := vfs.ReadFile(s.fs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return refusal("%s is missing: this is not the metadata log of a KRaft node", name)
	}
	if err != nil {
		return err
	}
	var vote struct {
		LeaderEpoch   int32 `json:"leaderEpoch"`
		CurrentVoters []struct {
			VoterID int32 `json:"voterId"`
		} `json:"currentVoters"` // in version 0
		DataVersion int `json:"data_version"`
	}
	if err := json.Unmarshal(data, &vote); err != nil {
		return refusal("%s cannot be read: %v", name, err)
	}
	if vote.DataVersion > 1 || vote.LeaderEpoch < 0 {
		return refusal("%s is of version %d, epoch %d, which is not known here",
			name, vote.DataVersion, vote.LeaderEpoch)
	}
	for _, v := range vote.CurrentVoters {
		if err := s.voter(len(vote.CurrentVoters), v.VoterID); err != nil {
			return err
		}
	}
	s.vote = kafka.LeaderEpoch(vote.LeaderEpoch)
	return nil
}

// voter checks one of the voters of the quorum.
func (s *source) voter(of int, id int32) error {
	if of == 1 && kafka.BrokerID(id) == s.node {
		return nil
	}
	return refusal("the metadata quorum has %d voter(s), among them node %d: only a single node can be taken over",
		of, id)
}

// readSnapshot reads the newest snapshot.
func (s *source) readSnapshot(names []string) error {
	if len(names) == 0 {
		return nil
	}
	name := names[len(names)-1]
	numbers := strings.Split(strings.TrimSuffix(name, ".checkpoint"), "-")
	end, err := strconv.ParseInt(numbers[0], 10, 64)
	epoch, err2 := strconv.ParseInt(numbers[len(numbers)-1], 10, 32)
	if err != nil || err2 != nil || len(numbers) != 2 {
		return refusal("%s is not the name of a metadata snapshot", name)
	}
	closed := false
	_, err = walk(s.fs, path.Join(s.folder, name), true, func(b record.Batch) error {
		closed = false
		if !b.IsControl() {
			return s.data(b)
		}
		return s.control(b, func(t record.ControlType, value []byte) error {
			switch t {
			case record.ControlSnapshotHeader:
				h, err := meta.DecodeSnapshotHeader(value)
				s.newest = h.LastTimestamp
				return err
			case record.ControlSnapshotFooter:
				closed = true
			}
			return nil
		})
	})
	if err == nil && !closed {
		err = errors.New("its end is missing")
	}
	if err != nil {
		return s.unreadable(name, err)
	}
	s.end, s.epoch = kafka.Offset(end), kafka.LeaderEpoch(epoch)
	return nil
}

// unreadable is a refusal for a file that makes no sense; I/O errors and refusals stay what they are.
func (s *source) unreadable(name string, err error) error {
	var r refused
	var p *fs.PathError
	if errors.As(err, &r) || errors.As(err, &p) {
		return err
	}
	return refusal("the metadata in %s cannot be read: %v", path.Join(s.folder, name), err)
}

// readLog reads the segments from the end of the snapshot on.
func (s *source) readLog(bases []kafka.Offset) error {
	slices.Sort(bases)
	for len(bases) > 1 && bases[1] <= s.end {
		bases = bases[1:]
	}
	if len(bases) > 0 && bases[0] > s.end {
		return refusal("the metadata log begins at offset %d, but the snapshot ends at %d: files are missing",
			bases[0], s.end)
	}
	for i, base := range bases {
		name := segment.FileName(base, segment.LogSuffix)
		position, err := walk(s.fs, path.Join(s.folder, name), true, s.batch)
		if errors.Is(err, errTorn) && i+1 == len(bases) && !s.clean {
			s.notes = append(s.notes, fmt.Sprintf("the metadata log is torn at position %d of %s, as after a power "+
				"cut; what was whole is taken", position, name))
			return nil
		}
		if err != nil {
			return s.unreadable(name, fmt.Errorf("position %d: %w", position, err))
		}
	}
	return nil
}

// batch takes in a batch of the log.
func (s *source) batch(b record.Batch) error {
	if b.NextOffset() <= s.end {
		return nil
	}
	if b.BaseOffset() != s.end || b.LeaderEpoch() < s.epoch {
		return fmt.Errorf("a batch at offset %d of epoch %d follows offset %d of epoch %d",
			b.BaseOffset(), b.LeaderEpoch(), s.end, s.epoch)
	}
	var err error
	if b.IsControl() {
		err = s.control(b, func(record.ControlType, []byte) error { return nil })
	} else {
		err = s.data(b)
	}
	s.end, s.epoch, s.newest = b.NextOffset(), b.LeaderEpoch(), b.MaxTimestamp()
	return err
}

// control looks at the control records of a batch: those of the quorum here, all of them by visit.
func (s *source) control(b record.Batch, visit func(record.ControlType, []byte) error) error {
	it := b.Records()
	defer it.Close()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		t, err := r.ControlType()
		if err == nil {
			switch t {
			case record.ControlLeaderChange: // version, leader, voters
				err = s.voters(r.Value, 2+4)
			case record.ControlKRaftVoters: // version, voters
				err = s.voters(r.Value, 2)
			}
		}
		if err == nil {
			err = visit(t, r.Value)
		}
		if err != nil {
			return err
		}
	}
	return it.Err()
}

// voters checks a compact array of voters, each of which begins with its id.
func (s *source) voters(value []byte, at int) error {
	if len(value) <= at {
		return fmt.Errorf("a record of the quorum has %d bytes", len(value))
	}
	count, n := binary.Uvarint(value[at:])
	if n <= 0 || count < 2 || len(value) < at+n+4 {
		return fmt.Errorf("a record of the quorum has no voters")
	}
	return s.voter(int(count-1), int32(binary.BigEndian.Uint32(value[at+n:])))
}

// data takes in the records of a batch.
func (s *source) data(b record.Batch) error {
	it := b.Records()
	defer it.Close()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if err := s.record(r.Value); err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
	}
	return it.Err()
}

// record takes in one record. Those of a transaction count when it ends.
func (s *source) record(value []byte) error {
	decoded, err := meta.Decode(value)
	var unknown *meta.UnknownError
	switch {
	case errors.As(err, &unknown):
		return s.foreign(unknown, value)
	case err != nil:
		return err
	case s.inTransaction:
		s.pending = append(s.pending, decoded)
		return nil
	}
	return s.builder.Apply(decoded)
}

// foreign takes in a record that is not served.
func (s *source) foreign(u *meta.UnknownError, value []byte) error {
	rule, known := foreignTypes[u.Type]
	body := bodyOf(value)
	switch {
	case u.Type == typeBeginTransaction, u.Type == typeEndTransaction, u.Type == typeAbortTransaction:
		return s.transaction(u.Type)
	case !known || u.Version != 0:
		return refusal("the metadata holds %s of version %d, which this Spate does not know", u.Type, u.Version)
	case rule.check != nil:
		return rule.check(s.node, body)
	case rule.matters == "":
		return nil
	}
	name, removed := "", false
	if rule.key != nil {
		name, removed = rule.key(body)
	}
	apply := func() {
		things := s.lost[rule.matters]
		switch {
		case removed:
			delete(things, name)
		case things == nil:
			s.lost[rule.matters] = map[string]struct{}{name: {}}
		default:
			things[name] = struct{}{}
		}
	}
	if s.inTransaction {
		s.pendingLost = append(s.pendingLost, apply)
	} else {
		apply()
	}
	return nil
}

// bodyOf is a record without its frame, which Decode has read.
func bodyOf(value []byte) []byte {
	for range 3 {
		_, n := binary.Uvarint(value)
		value = value[max(n, 0):]
	}
	return value
}

// transaction begins or ends a change of several batches.
func (s *source) transaction(t meta.Type) error {
	if (t == typeBeginTransaction) == s.inTransaction {
		return fmt.Errorf("%s is out of place", t)
	}
	records, lost := s.pending, s.pendingLost
	s.pending, s.pendingLost, s.inTransaction = nil, nil, t == typeBeginTransaction
	if t != typeEndTransaction {
		return nil
	}
	for _, apply := range lost {
		apply()
	}
	for _, r := range records {
		if err := s.builder.Apply(r); err != nil {
			return err
		}
	}
	return nil
}

// losses are the sentences for what would vanish.
func (s *source) losses() []string {
	var sentences []string
	for _, what := range slices.SortedFunc(maps.Keys(s.lost), cmp.Compare[string]) {
		if len(s.lost[what]) > 0 {
			sentences = append(sentences, what)
		}
	}
	return sentences
}
