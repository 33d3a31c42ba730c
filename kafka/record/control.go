package record

import (
	"encoding/binary"
	"fmt"

	"spate/kafka"
)

// ControlType is the kind of a control record, which its key carries.
type ControlType int16

// The control types of Kafka; a reader skips those that it does not know.
const (
	ControlAbort           ControlType = 0
	ControlCommit          ControlType = 1
	ControlLeaderChange    ControlType = 2
	ControlSnapshotHeader  ControlType = 3
	ControlSnapshotFooter  ControlType = 4
	ControlKRaftVersion    ControlType = 5
	ControlKRaftVoters     ControlType = 6
	controlKeyBytes                    = 4
	endTxnMarkerValueBytes             = 6
)

// ControlType reads the key of a control record: a version, then the type.
func (r *Record) ControlType() (ControlType, error) {
	if len(r.Key) < controlKeyBytes {
		return 0, fmt.Errorf("%w: the key of a control record has %d bytes, not %d",
			kafka.CorruptMessage, len(r.Key), controlKeyBytes)
	}
	if version := int16(binary.BigEndian.Uint16(r.Key)); version < 0 {
		return 0, fmt.Errorf("%w: a control record of version %d", kafka.CorruptMessage, version)
	}
	return ControlType(binary.BigEndian.Uint16(r.Key[2:])), nil
}

// CoordinatorEpoch reads the value of a commit or abort marker: a version, then the epoch of the coordinator.
func (r *Record) CoordinatorEpoch() (int32, error) {
	if len(r.Value) < endTxnMarkerValueBytes {
		return 0, fmt.Errorf("%w: the value of a transaction marker has %d bytes, not %d",
			kafka.CorruptMessage, len(r.Value), endTxnMarkerValueBytes)
	}
	return int32(binary.BigEndian.Uint32(r.Value[2:])), nil
}

// AppendControl adds a control record of a type with its encoded value.
func (w *Builder) AppendControl(ts kafka.Timestamp, t ControlType, value []byte) {
	key := binary.BigEndian.AppendUint16(make([]byte, 2, controlKeyBytes), uint16(t))
	w.Append(ts, key, value)
}

// AppendEndTxnMarker adds a commit or abort marker of a coordinator's epoch.
func (w *Builder) AppendEndTxnMarker(ts kafka.Timestamp, t ControlType, coordinatorEpoch int32) {
	value := binary.BigEndian.AppendUint32(make([]byte, 2, endTxnMarkerValueBytes), uint32(coordinatorEpoch))
	w.AppendControl(ts, t, value)
}
