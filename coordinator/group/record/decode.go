package record

import (
	"fmt"

	"spate/coordinator"
)

// Decoder decodes the records of one log. The names of groups and topics, which most records repeat, are kept in one
// copy each: a log of a million committed offsets has few. The zero Decoder is ready.
type Decoder struct {
	names map[string]string
	read  reader // kept, so that reading allocates nothing but the record
}

// internedMax bounds the names that a Decoder keeps; beyond it, names get a copy each.
const internedMax = 1 << 20

func (d *Decoder) intern(b []byte) string {
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if d.names == nil {
		d.names = make(map[string]string)
	}
	if len(d.names) < internedMax {
		d.names[s] = s
	}
	return s
}

// Decode decodes a record of __consumer_offsets; value is nil for a tombstone. Nothing of key and value is kept. A type
// that is not known here gives coordinator.ErrUnknownRecord.
func Decode(key, value []byte) (coordinator.Record, error) { return new(Decoder).Decode(key, value) }

// Decode is the package's Decode, with names kept.
func (d *Decoder) Decode(key, value []byte) (coordinator.Record, error) {
	d.read = reader{buf: key, strings: d}
	k := &d.read
	kind := Type(k.int16())
	if k.reason != "" {
		return nil, fmt.Errorf("key of %d bytes: %s", len(key), k.reason)
	}
	r := newRecord(kind)
	if r == nil {
		return nil, fmt.Errorf("%w %d", coordinator.ErrUnknownRecord, kind)
	}
	r.readKey(k)
	if k.reason == "" && len(k.buf) > 0 {
		k.fail("%d bytes follow the key", len(k.buf))
	}
	if k.reason != "" {
		return nil, fmt.Errorf("key of type %d: %s", kind, k.reason)
	}
	if value == nil {
		r.delete()
		return r, nil
	}
	d.read = reader{buf: value, strings: d}
	v := &d.read
	version := v.int16()
	var latest int16 // which is the first flexible one too, of all types
	if kind <= TypeGroup {
		latest = 4
	}
	if v.reason == "" && (version < 0 || version > latest) {
		v.fail("its version %d is not known", version)
	}
	v.flexible = version == latest
	r.readValue(v, version)
	if v.reason == "" && len(v.buf) > 0 {
		v.fail("%d bytes follow the fields", len(v.buf))
	}
	if v.reason != "" {
		return nil, fmt.Errorf("value of type %d: %s", kind, v.reason)
	}
	return r, nil
}

// decodable is a record that can be read, field by field.
type decodable interface {
	coordinator.Record
	readKey(r *reader)
	readValue(r *reader, version int16)
	delete()
}

// newRecord is an empty record of that type, nil for an unknown one.
func newRecord(kind Type) decodable {
	switch kind {
	case TypeOffsetCommitOld, TypeOffsetCommit:
		return &OffsetCommit{ExpireTimestamp: -1, LeaderEpoch: -1}
	case TypeGroup:
		return &Group{StateTimestamp: -1}
	case TypeConsumerGroup:
		return &ConsumerGroup{}
	case TypePartitionMetadata:
		return &PartitionMetadata{}
	case TypeMember:
		return &Member{}
	case TypeTarget:
		return &Target{}
	case TypeTargetMember:
		return &TargetMember{}
	case TypeCurrentMember:
		return &CurrentMember{}
	case TypeRegularExpression:
		return &RegularExpression{}
	}
	return nil
}

// appendKey1 appends a key that is a type and the group's id.
func appendKey1(dst []byte, kind Type, group string) []byte {
	return appendFixedString(appendInt16(dst, int16(kind)), group)
}

// appendKey2 appends a key that has a second string: a member's id or a pattern.
func appendKey2(dst []byte, kind Type, group, second string) []byte {
	return appendFixedString(appendKey1(dst, kind, group), second)
}
