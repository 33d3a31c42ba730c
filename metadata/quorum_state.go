package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"spate/internal/vfs"
	"spate/kafka"
)

// quorumStateFile holds the vote, in Kafka's form.
const quorumStateFile = "quorum-state"

// quorumStateVersion is the version of Kafka's form with a directory id beside the vote.
const quorumStateVersion = 1

// quorumState is what a member of the quorum must not forget: the newest term that it has seen, and whom it voted for
// in it. Kafka's readers pass over the high watermark, which is ours.
type quorumState struct {
	LeaderID         kafka.BrokerID `json:"leaderId"` // not kept: the vote is
	LeaderEpoch      int32          `json:"leaderEpoch"`
	VotedID          kafka.BrokerID `json:"votedId"` // or kafka.NoBroker
	VotedDirectoryID string         `json:"votedDirectoryId"`
	HighWatermark    kafka.Offset   `json:"highWatermark"` // the log is durable up to here at least
	DataVersion      int            `json:"data_version"`
}

// readQuorumState reads the file; a node that has none has never voted.
func readQuorumState(files vfs.FS, dir string) (quorumState, error) {
	none := quorumState{LeaderID: kafka.NoBroker, VotedID: kafka.NoBroker}
	name := path.Join(dir, quorumStateFile)
	data, err := vfs.ReadFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	q, err := parseQuorumState(data)
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	return q, nil
}

func parseQuorumState(data []byte) (quorumState, error) {
	q := quorumState{LeaderID: kafka.NoBroker, VotedID: kafka.NoBroker, LeaderEpoch: -1}
	if err := json.Unmarshal(data, &q); err != nil {
		return q, err
	}
	if q.DataVersion != quorumStateVersion {
		return q, fmt.Errorf("data_version %d is not %d", q.DataVersion, quorumStateVersion)
	}
	if q.LeaderEpoch < 0 || q.VotedID < kafka.NoBroker || q.HighWatermark < 0 {
		return q, fmt.Errorf("leaderEpoch %d, votedId %d, highWatermark %d", q.LeaderEpoch, q.VotedID, q.HighWatermark)
	}
	return q, nil
}

// writeQuorumState makes q the content of the file, durably.
func writeQuorumState(files vfs.FS, dir string, q quorumState) error {
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return replaceFile(files, path.Join(dir, quorumStateFile), data)
}

// replaceFile is vfs.ReplaceFile that leaves no unfinished file behind on a full disk.
func replaceFile(files vfs.FS, name string, data []byte) error {
	err := vfs.ReplaceFile(files, name, data)
	if err == nil {
		return nil
	}
	if removed := files.Remove(name + vfs.TempSuffix); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		return errors.Join(err, removed)
	}
	return err
}
