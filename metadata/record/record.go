package record

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// frameVersion is the only version of the frame around a metadata record that exists.
const frameVersion = 1

// Type is the number of a kind of record, the apiKey of Kafka's schema.
type Type int16

// The types that this package reads and writes.
const (
	TypeRegisterBroker           Type = 0
	TypeUnregisterBroker         Type = 1
	TypeTopic                    Type = 2
	TypePartition                Type = 3
	TypeConfig                   Type = 4
	TypePartitionChange          Type = 5
	TypeFenceBroker              Type = 7
	TypeUnfenceBroker            Type = 8
	TypeRemoveTopic              Type = 9
	TypeFeatureLevel             Type = 12
	TypeClientQuota              Type = 14
	TypeProducerIDs              Type = 15
	TypeBrokerRegistrationChange Type = 17
	TypeNoOp                     Type = 20
)

// typeNames are Kafka's names, as its tools print them, of all types, those that are not served too: an error that
// names the record says what is missing.
var typeNames = map[Type]string{
	TypeRegisterBroker: "REGISTER_BROKER_RECORD", TypeUnregisterBroker: "UNREGISTER_BROKER_RECORD",
	TypeTopic: "TOPIC_RECORD", TypePartition: "PARTITION_RECORD", TypeConfig: "CONFIG_RECORD",
	TypePartitionChange: "PARTITION_CHANGE_RECORD", 6: "ACCESS_CONTROL_RECORD",
	TypeFenceBroker: "FENCE_BROKER_RECORD", TypeUnfenceBroker: "UNFENCE_BROKER_RECORD",
	TypeRemoveTopic: "REMOVE_TOPIC_RECORD", 10: "DELEGATION_TOKEN_RECORD", 11: "USER_SCRAM_CREDENTIAL_RECORD",
	TypeFeatureLevel: "FEATURE_LEVEL_RECORD", TypeClientQuota: "CLIENT_QUOTA_RECORD",
	TypeProducerIDs:              "PRODUCER_IDS_RECORD",
	TypeBrokerRegistrationChange: "BROKER_REGISTRATION_CHANGE_RECORD", 18: "ACCESS_CONTROL_ENTRY_RECORD",
	19: "REMOVE_ACCESS_CONTROL_ENTRY_RECORD", TypeNoOp: "NO_OP_RECORD", 21: "ZK_MIGRATION_STATE_RECORD",
	22: "REMOVE_USER_SCRAM_CREDENTIAL_RECORD", 23: "BEGIN_TRANSACTION_RECORD", 24: "END_TRANSACTION_RECORD",
	25: "ABORT_TRANSACTION_RECORD", 26: "REMOVE_DELEGATION_TOKEN_RECORD", 27: "REGISTER_CONTROLLER_RECORD",
	28: "CLEAR_ELR_RECORD",
}

// String is Kafka's name of the type, or its number.
func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return "record type " + strconv.Itoa(int(t))
}

// Record is one change of the cluster's metadata: a pointer to one of the structs of this package.
type Record interface {
	// Type is the record's kind.
	Type() Type

	// writeVersion is the version that the record is written in: what Kafka 4.3 writes.
	writeVersion() int16
	// append adds the body in the given version.
	append(dst []byte, version int16) []byte
	// read sets all fields from a body in the given version. It sees every version up to served.maxVersion.
	read(r *reader, version int16)
}

// served is one row of the table of types that Decode knows.
type served struct {
	maxVersion int16 // all versions from 0 on are read
	make       func() Record
}

var servedTypes = map[Type]served{
	TypeRegisterBroker:           {4, func() Record { return new(RegisterBroker) }},
	TypeUnregisterBroker:         {0, func() Record { return new(UnregisterBroker) }},
	TypeTopic:                    {0, func() Record { return new(Topic) }},
	TypePartition:                {2, func() Record { return new(Partition) }},
	TypeConfig:                   {0, func() Record { return new(Config) }},
	TypePartitionChange:          {2, func() Record { return new(PartitionChange) }},
	TypeFenceBroker:              {0, func() Record { return new(FenceBroker) }},
	TypeUnfenceBroker:            {0, func() Record { return new(UnfenceBroker) }},
	TypeRemoveTopic:              {0, func() Record { return new(RemoveTopic) }},
	TypeFeatureLevel:             {0, func() Record { return new(FeatureLevel) }},
	TypeClientQuota:              {0, func() Record { return new(ClientQuota) }},
	TypeProducerIDs:              {0, func() Record { return new(ProducerIDs) }},
	TypeBrokerRegistrationChange: {3, func() Record { return new(BrokerRegistrationChange) }},
	TypeNoOp:                     {0, func() Record { return new(NoOp) }},
}

// UnknownError is a record of a type or version that this program does not know: a later or another program wrote it.
type UnknownError struct {
	Type    Type
	Version int16
}

// Error names the type and the version.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("metadata record %s (type %d) of version %d is not known to this program",
		e.Type, int16(e.Type), e.Version)
}

// FormatError is a record whose bytes do not fit its schema.
type FormatError struct {
	Type   Type // -1 when the frame itself is wrong
	Reason string
}

// Error says which record is wrong, and how.
func (e *FormatError) Error() string {
	if e.Type < 0 {
		return "metadata record frame: " + e.Reason
	}
	return fmt.Sprintf("metadata record %s: %s", e.Type, e.Reason)
}

// Append adds the framed record to dst: the value of a record in the metadata log.
func Append(dst []byte, r Record) []byte {
	version := r.writeVersion()
	dst = binary.AppendUvarint(dst, frameVersion)
	dst = binary.AppendUvarint(dst, uint64(r.Type()))
	dst = binary.AppendUvarint(dst, uint64(version))
	return r.append(dst, version)
}

// Decode reads the value of a record in the metadata log. The record keeps nothing of value. What it allocates is
// bounded by a small multiple of len(value).
func Decode(value []byte) (Record, error) {
	rd := reader{buf: value}
	frame, typ, version := rd.uvarint(), rd.uvarint(), rd.uvarint()
	switch {
	case rd.reason != "":
		return nil, &FormatError{Type: -1, Reason: rd.reason}
	case frame != frameVersion:
		return nil, &FormatError{Type: -1, Reason: fmt.Sprintf("version %d, want %d", frame, frameVersion)}
	case typ > 1<<15-1 || version > 1<<15-1:
		return nil, &FormatError{Type: -1, Reason: fmt.Sprintf("type %d version %d is out of range", typ, version)}
	}
	row, ok := servedTypes[Type(typ)]
	if !ok || int16(version) > row.maxVersion {
		return nil, &UnknownError{Type: Type(typ), Version: int16(version)}
	}
	rec := row.make()
	rec.read(&rd, int16(version))
	if rd.reason == "" && len(rd.buf) > 0 {
		rd.fail("%d bytes follow the last field", len(rd.buf))
	}
	if rd.reason != "" {
		return nil, &FormatError{Type: Type(typ), Reason: rd.reason}
	}
	return rec, nil
}
