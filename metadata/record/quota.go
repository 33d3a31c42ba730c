package record

import (
	"encoding/binary"
	"math"
)

// ClientQuota sets or removes one quota of an entity.
type ClientQuota struct {
	Entity []QuotaEntity
	Key    string
	Value  float64 // means nothing where Remove is set
	Remove bool
}

// QuotaEntity is one part of what a quota is for.
type QuotaEntity struct {
	Type string  // entityType: "user", "client-id" or "ip"
	Name *string // entityName; nil: the default of that type
}

// Type is TypeClientQuota.
func (*ClientQuota) Type() Type { return TypeClientQuota }

func (*ClientQuota) writeVersion() int16 { return 0 }

func (q *ClientQuota) append(dst []byte, _ int16) []byte {
	dst = appendLength(dst, len(q.Entity))
	for i := range q.Entity {
		dst = appendString(dst, q.Entity[i].Type)
		dst = appendNullableString(dst, q.Entity[i].Name)
		dst = appendNoTags(dst)
	}
	dst = appendString(dst, q.Key)
	dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(q.Value))
	dst = appendBool(dst, q.Remove)
	return appendNoTags(dst)
}

func (q *ClientQuota) read(r *reader, _ int16) {
	// A part takes three bytes at least: the lengths of its type and its name, and the number of its tags.
	if n := r.present(3); n > 0 {
		q.Entity = make([]QuotaEntity, n)
	}
	for i := range q.Entity {
		q.Entity[i].Type = r.string()
		q.Entity[i].Name = r.nullableString()
		r.noTags()
	}
	q.Key = r.string()
	q.Value = math.Float64frombits(uint64(r.int64()))
	q.Remove = r.bool()
	r.noTags()
}
