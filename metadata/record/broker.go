package record

import (
	"slices"

	"spate/kafka"
)

// Endpoint is one listener of a broker.
type Endpoint struct {
	Name             string // of the listener
	Host             string
	Port             uint16
	SecurityProtocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// endpointBytesMin is the least that an Endpoint takes: two empty strings, two int16 and no tags.
const endpointBytesMin = 1 + 1 + 2 + 2 + 1

// FeatureRange is the levels of one feature that a broker supports.
type FeatureRange struct {
	Name string
	Min  int16 // minSupportedVersion
	Max  int16 // maxSupportedVersion
}

// featureBytesMin is the least that a FeatureRange takes: an empty string, two int16 and no tags.
const featureBytesMin = 1 + 2 + 2 + 1

// RegisterBroker registers a broker, or a new incarnation of it.
type RegisterBroker struct {
	BrokerID             kafka.BrokerID
	IncarnationID        kafka.UUID
	BrokerEpoch          kafka.BrokerEpoch
	Endpoints            []Endpoint
	Features             []FeatureRange
	Rack                 *string // nil is null
	Fenced               bool
	InControlledShutdown bool         // from version 1
	LogDirs              []kafka.UUID // from version 3
	CordonedLogDirs      []kafka.UUID // nil is null; from version 4
}

// Type is TypeRegisterBroker.
func (*RegisterBroker) Type() Type { return TypeRegisterBroker }

func (*RegisterBroker) writeVersion() int16 { return 4 }

func (b *RegisterBroker) append(dst []byte, version int16) []byte {
	dst = appendInt32(dst, int32(b.BrokerID))
	if version >= 2 {
		dst = appendBool(dst, false) // isMigratingZkBroker: ZooKeeper is gone
	}
	dst = append(dst, b.IncarnationID[:]...)
	dst = appendInt64(dst, int64(b.BrokerEpoch))
	dst = appendLength(dst, len(b.Endpoints))
	for _, e := range b.Endpoints {
		dst = appendString(dst, e.Name)
		dst = appendString(dst, e.Host)
		dst = appendInt16(dst, int16(e.Port))
		dst = appendInt16(dst, e.SecurityProtocol)
		dst = appendNoTags(dst)
	}
	dst = appendLength(dst, len(b.Features))
	for _, f := range b.Features {
		dst = appendString(dst, f.Name)
		dst = appendInt16(dst, f.Min)
		dst = appendInt16(dst, f.Max)
		dst = appendNoTags(dst)
	}
	dst = appendNullableString(dst, b.Rack)
	dst = appendBool(dst, b.Fenced)
	if version >= 1 {
		dst = appendBool(dst, b.InControlledShutdown)
	}
	var t tags
	if version >= 3 && len(b.LogDirs) > 0 {
		t.add(0, appendUUIDs(nil, b.LogDirs))
	}
	if version >= 4 && b.CordonedLogDirs != nil {
		t.add(1, appendUUIDs(nil, b.CordonedLogDirs))
	}
	return t.appendTo(dst)
}

func (b *RegisterBroker) read(r *reader, version int16) {
	b.BrokerID = r.broker()
	if version >= 2 && r.bool() {
		r.fail("broker %d migrates from ZooKeeper", b.BrokerID)
	}
	b.IncarnationID = r.uuid()
	b.BrokerEpoch = kafka.BrokerEpoch(r.int64())
	b.Endpoints = make([]Endpoint, r.present(endpointBytesMin))
	for i := range b.Endpoints {
		b.Endpoints[i] = Endpoint{
			Name:             r.string(),
			Host:             r.string(),
			Port:             uint16(r.int16()),
			SecurityProtocol: r.int16(),
		}
		r.noTags()
	}
	b.Features = make([]FeatureRange, r.present(featureBytesMin))
	for i := range b.Features {
		b.Features[i] = FeatureRange{Name: r.string(), Min: r.int16(), Max: r.int16()}
		r.noTags()
	}
	b.Rack = r.nullableString()
	b.Fenced = r.bool()
	if version >= 1 {
		b.InControlledShutdown = r.bool()
	}
	r.tags(func(tag uint32, value *reader) bool {
		switch {
		case tag == 0 && version >= 3:
			b.LogDirs = value.someUUIDs()
		case tag == 1 && version >= 4:
			b.CordonedLogDirs = value.nullableUUIDs()
		default:
			return false
		}
		return true
	})
}

// UnregisterBroker forgets a broker.
type UnregisterBroker struct {
	BrokerID    kafka.BrokerID
	BrokerEpoch kafka.BrokerEpoch
}

// Type is TypeUnregisterBroker.
func (*UnregisterBroker) Type() Type { return TypeUnregisterBroker }

func (*UnregisterBroker) writeVersion() int16 { return 0 }

func (b *UnregisterBroker) append(dst []byte, _ int16) []byte {
	return appendBrokerEpoch(dst, b.BrokerID, b.BrokerEpoch)
}

func (b *UnregisterBroker) read(r *reader, _ int16) { b.BrokerID, b.BrokerEpoch = r.brokerEpoch() }

// FenceBroker fences a broker. Kafka wrote it before there was BrokerRegistrationChange; it is only read.
type FenceBroker struct {
	BrokerID    kafka.BrokerID // id
	BrokerEpoch kafka.BrokerEpoch
}

// Type is TypeFenceBroker.
func (*FenceBroker) Type() Type { return TypeFenceBroker }

func (*FenceBroker) writeVersion() int16 { return 0 }

func (b *FenceBroker) append(dst []byte, _ int16) []byte {
	return appendBrokerEpoch(dst, b.BrokerID, b.BrokerEpoch)
}

func (b *FenceBroker) read(r *reader, _ int16) { b.BrokerID, b.BrokerEpoch = r.brokerEpoch() }

// UnfenceBroker ends the fencing of a broker. Kafka wrote it before there was BrokerRegistrationChange; it is only
// read.
type UnfenceBroker struct {
	BrokerID    kafka.BrokerID // id
	BrokerEpoch kafka.BrokerEpoch
}

// Type is TypeUnfenceBroker.
func (*UnfenceBroker) Type() Type { return TypeUnfenceBroker }

func (*UnfenceBroker) writeVersion() int16 { return 0 }

func (b *UnfenceBroker) append(dst []byte, _ int16) []byte {
	return appendBrokerEpoch(dst, b.BrokerID, b.BrokerEpoch)
}

func (b *UnfenceBroker) read(r *reader, _ int16) { b.BrokerID, b.BrokerEpoch = r.brokerEpoch() }

func appendBrokerEpoch(dst []byte, id kafka.BrokerID, epoch kafka.BrokerEpoch) []byte {
	return appendNoTags(appendInt64(appendInt32(dst, int32(id)), int64(epoch)))
}

func (r *reader) brokerEpoch() (kafka.BrokerID, kafka.BrokerEpoch) {
	id, epoch := r.broker(), kafka.BrokerEpoch(r.int64())
	r.noTags()
	return id, epoch
}

// The changes of the fenced state and of the controlled shutdown in BrokerRegistrationChange.
const (
	Unfence            int8 = -1
	NoChange           int8 = 0
	Fence              int8 = 1
	ControlledShutdown int8 = 1
)

// BrokerRegistrationChange changes some of a broker's registration.
type BrokerRegistrationChange struct {
	BrokerID             kafka.BrokerID
	BrokerEpoch          kafka.BrokerEpoch
	Fenced               int8         // Unfence, NoChange or Fence
	InControlledShutdown int8         // NoChange or ControlledShutdown; from version 1
	LogDirs              []kafka.UUID // empty: no change; from version 2
	CordonedLogDirs      []kafka.UUID // nil: no change; from version 3
}

// Type is TypeBrokerRegistrationChange.
func (*BrokerRegistrationChange) Type() Type { return TypeBrokerRegistrationChange }

// writeVersion is the lowest that holds the change, as Kafka writes it.
func (b *BrokerRegistrationChange) writeVersion() int16 {
	switch {
	case b.CordonedLogDirs != nil:
		return 3
	case len(b.LogDirs) > 0:
		return 2
	case b.InControlledShutdown != NoChange:
		return 1
	}
	return 0
}

func (b *BrokerRegistrationChange) append(dst []byte, version int16) []byte {
	dst = appendInt32(dst, int32(b.BrokerID))
	dst = appendInt64(dst, int64(b.BrokerEpoch))
	var t tags
	if b.Fenced != NoChange {
		t.add(0, []byte{byte(b.Fenced)})
	}
	if version >= 1 && b.InControlledShutdown != NoChange {
		t.add(1, []byte{byte(b.InControlledShutdown)})
	}
	if version >= 2 && len(b.LogDirs) > 0 {
		t.add(2, appendUUIDs(nil, b.LogDirs))
	}
	if version >= 3 && b.CordonedLogDirs != nil {
		t.add(3, appendUUIDs(nil, b.CordonedLogDirs))
	}
	return t.appendTo(dst)
}

func (b *BrokerRegistrationChange) read(r *reader, version int16) {
	b.BrokerID = r.broker()
	b.BrokerEpoch = kafka.BrokerEpoch(r.int64())
	r.tags(func(tag uint32, value *reader) bool {
		switch {
		case tag == 0:
			b.Fenced = value.int8()
		case tag == 1 && version >= 1:
			b.InControlledShutdown = value.int8()
		case tag == 2 && version >= 2:
			b.LogDirs = value.someUUIDs()
		case tag == 3 && version >= 3:
			b.CordonedLogDirs = value.nullableUUIDs()
		default:
			return false
		}
		return true
	})
	states := []int8{Unfence, NoChange, Fence}
	if !slices.Contains(states, b.Fenced) || !slices.Contains(states[1:], b.InControlledShutdown) {
		r.fail("fenced %d, inControlledShutdown %d", b.Fenced, b.InControlledShutdown)
	}
}
