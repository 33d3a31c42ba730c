package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/image"
)

// Folder is the name of the metadata log's folder, in metadata.log.dir.
const Folder = metadataFolder

// Foundation is what a metadata log begins with when the cluster is older than the log.
type Foundation struct {
	Image       *image.Image // its end offset and epoch are where the log goes on
	NodeID      kafka.BrokerID
	DirectoryID kafka.UUID
	Epoch       kafka.LeaderEpoch // the newest that the node has seen, not below the image's
	Newest      kafka.Timestamp   // of the last record
	Now         time.Time
}

// Found makes a metadata log in folder, which must not exist: a snapshot of the image, and the vote of a quorum of the
// one node. All in it is durable when it returns; the name of the folder is for the caller to sync.
func Found(fs vfs.FS, folder string, f Foundation) error {
	if f.Image.EndOffset() <= 0 || f.Image.Epoch() < 0 || f.Epoch < f.Image.Epoch() {
		return fmt.Errorf("a metadata log cannot go on at offset %d of epoch %d in epoch %d",
			f.Image.EndOffset(), f.Image.Epoch(), f.Epoch)
	}
	if err := fs.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	s := snapshot{
		// Raft counts entries, of which the older log had none: its whole content is the first.
		mark:   mark{index: 1, term: uint64(f.Image.Epoch()), end: f.Image.EndOffset()},
		conf:   &raftpb.ConfState{Voters: []uint64{raftID(f.NodeID)}},
		newest: f.Newest, image: f.Image,
	}
	name := snapshotName(s.mark.end, f.Image.Epoch())
	if err := replaceFile(fs, path.Join(folder, name), encodeSnapshot(s, timestampOf(f.Now))); err != nil {
		return err
	}
	return writeQuorumState(fs, folder, quorumState{
		LeaderID: kafka.NoBroker, LeaderEpoch: int32(f.Epoch), VotedID: kafka.NoBroker,
		VotedDirectoryID: kafka.ZeroUUID.String(), HighWatermark: s.mark.end, DataVersion: quorumStateVersion,
	})
}

// ErrForeign says that a metadata log is one that Apache Kafka wrote: spate adopt makes it one that can be opened.
var ErrForeign = errors.New("this is a metadata log of Apache Kafka, which \"spate adopt\" takes over first")

// IsOwn tells whether the metadata log in folder was written by this package: only its vote has a high watermark.
func IsOwn(fs vfs.FS, folder string) (bool, error) {
	fields, err := voteFields(fs, folder)
	_, own := fields["highWatermark"]
	return own, err
}

// isForeign tells whether Kafka wrote the metadata log in folder.
func isForeign(fs vfs.FS, folder string) bool {
	fields, err := voteFields(fs, folder)
	_, own := fields["highWatermark"]
	_, vote := fields["leaderId"]
	return err == nil && vote && !own
}

// voteFields are the names of the fields that the vote has.
func voteFields(fs vfs.FS, folder string) (fields map[string]json.RawMessage, err error) {
	name := path.Join(folder, quorumStateFile)
	data, err := vfs.ReadFile(fs, name)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return fields, nil
}
