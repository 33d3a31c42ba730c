package record

import (
	"fmt"

	"spate/kafka"
)

// LeaderChange is the first record of each term of a leader.
type LeaderChange struct {
	Leader kafka.BrokerID
	Voters []kafka.BrokerID
}

// AppendLeaderChange adds the value of a leader change, in which all voters count as granting their vote.
func AppendLeaderChange(dst []byte, c LeaderChange) []byte {
	dst = appendInt16(dst, 0) // version
	dst = appendInt32(dst, int32(c.Leader))
	for range 2 { // voters, grantingVoters
		dst = appendLength(dst, len(c.Voters))
		for _, v := range c.Voters {
			dst = appendNoTags(appendInt32(dst, int32(v)))
		}
	}
	return appendNoTags(dst)
}

// tagSnapshotQuorum is the tag under which a snapshot's header carries the state of the quorum; see tagQuorumChange.
const tagSnapshotQuorum = 10_000

// SnapshotHeader is the first record of a snapshot.
type SnapshotHeader struct {
	LastTimestamp kafka.Timestamp // lastContainedLogTimestamp
	Quorum        []byte          // the Raft library's description of the snapshot
}

// AppendSnapshotHeader adds the value of a snapshot's header.
func AppendSnapshotHeader(dst []byte, h SnapshotHeader) []byte {
	dst = appendInt16(dst, 0) // version
	dst = appendInt64(dst, int64(h.LastTimestamp))
	var t tags
	if h.Quorum != nil {
		t.add(tagSnapshotQuorum, h.Quorum)
	}
	return t.appendTo(dst)
}

// DecodeSnapshotHeader reads the value of a snapshot's header.
func DecodeSnapshotHeader(value []byte) (SnapshotHeader, error) {
	r := reader{buf: value}
	version := r.int16()
	h := SnapshotHeader{LastTimestamp: kafka.Timestamp(r.int64())}
	r.tags(func(tag uint32, value *reader) bool {
		if tag != tagSnapshotQuorum {
			return false
		}
		h.Quorum = append([]byte{}, value.take(len(value.buf))...)
		return true
	})
	if version != 0 {
		r.fail("version %d", version)
	}
	if r.reason != "" {
		return h, fmt.Errorf("snapshot header: %s", r.reason)
	}
	return h, nil
}

// AppendSnapshotFooter adds the value of a snapshot's last record.
func AppendSnapshotFooter(dst []byte) []byte { return appendNoTags(appendInt16(dst, 0)) }
