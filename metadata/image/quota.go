package image

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"spate/metadata/record"
)

// The kinds of clients that a quota can be for, in the order in which an entity lists them, which is Kafka's.
const (
	QuotaClientID = "client-id"
	QuotaUser     = "user"
	QuotaIP       = "ip"
)

// QuotaName is one part of what a quota is for. The zero value says that the entity has no such part.
type QuotaName struct {
	Given   bool
	Default bool   // everyone of that kind who has no quota of their own
	Name    string // empty for the default
}

// QuotaNamed is the part with that name.
func QuotaNamed(name string) QuotaName { return QuotaName{Given: true, Name: name} }

// QuotaDefault is the part that stands for the default.
func QuotaDefault() QuotaName { return QuotaName{Given: true, Default: true} }

// Pointer is the name as on the wire, nil for the default.
func (n QuotaName) Pointer() *string {
	if n.Default {
		return nil
	}
	return &n.Name
}

func (n QuotaName) rank() int {
	switch {
	case !n.Given:
		return 0
	case n.Default:
		return 1
	}
	return 2
}

func (n QuotaName) compare(other QuotaName) int {
	return cmp.Or(cmp.Compare(n.rank(), other.rank()), strings.Compare(n.Name, other.Name))
}

// QuotaEntity is what a quota is for: a user, a client id, both, or an address.
type QuotaEntity struct {
	User, ClientID, IP QuotaName
}

func (e QuotaEntity) compare(other QuotaEntity) int {
	return cmp.Or(e.User.compare(other.User), e.ClientID.compare(other.ClientID), e.IP.compare(other.IP))
}

// Part is the entity's part of a kind, for reading and setting; nil for a kind that does not exist.
func (e *QuotaEntity) Part(kind string) *QuotaName {
	switch kind {
	case QuotaUser:
		return &e.User
	case QuotaClientID:
		return &e.ClientID
	case QuotaIP:
		return &e.IP
	}
	return nil
}

// Parts gives the parts that the entity has, each with its kind.
func (e QuotaEntity) Parts() iter.Seq2[string, QuotaName] {
	return func(yield func(string, QuotaName) bool) {
		for _, kind := range []string{QuotaClientID, QuotaUser, QuotaIP} {
			if part := e.Part(kind); part.Given && !yield(kind, *part) {
				return
			}
		}
	}
}

// Record is the record that sets a quota of the entity, or removes it where value is nil.
func (e QuotaEntity) Record(key string, value *float64) *record.ClientQuota {
	r := &record.ClientQuota{Key: key, Remove: value == nil}
	if value != nil {
		r.Value = *value
	}
	for kind, part := range e.Parts() {
		r.Entity = append(r.Entity, record.QuotaEntity{Type: kind, Name: part.Pointer()})
	}
	return r
}

// Quotas is the quotas of an entity by their keys, nil if it has none. The map belongs to the image.
func (i *Image) Quotas(e QuotaEntity) map[string]float64 {
	quotas, _ := i.quotas.get(e)
	return quotas
}

// QuotaCount is the number of entities that have quotas.
func (i *Image) QuotaCount() int { return i.quotas.count }

// AllQuotas gives the quotas of every entity that has any, in a fixed order.
func (i *Image) AllQuotas() iter.Seq2[QuotaEntity, map[string]float64] { return i.quotas.all() }

func (b *Builder) applyClientQuota(r *record.ClientQuota) error {
	var e QuotaEntity
	for _, part := range r.Entity {
		at := e.Part(part.Type)
		if at == nil || at.Given {
			return fmt.Errorf("a quota is for %q, which is no kind of client or named twice", part.Type)
		}
		*at = QuotaDefault()
		if part.Name != nil {
			*at = QuotaNamed(*part.Name)
		}
	}
	b.quotas[e] = struct{}{}
	quotas := maps.Clone(b.next.Quotas(e))
	switch {
	case r.Remove:
		delete(quotas, r.Key)
	case quotas == nil:
		quotas = map[string]float64{r.Key: r.Value}
	default:
		quotas[r.Key] = r.Value
	}
	if len(quotas) == 0 {
		b.next.quotas.remove(b.edit, e)
		return nil
	}
	b.next.quotas.set(b.edit, e, quotas)
	return nil
}

// quotasChanged lists the entities whose quotas differ.
func (b *Builder) quotasChanged(next *Image) (changed []QuotaEntity) {
	for e := range b.quotas {
		if !maps.Equal(b.base.Quotas(e), next.Quotas(e)) {
			changed = append(changed, e)
		}
	}
	slices.SortFunc(changed, QuotaEntity.compare)
	return changed
}

func (i *Image) quotaRecords(yield func(record.Record) bool) bool {
	for e, quotas := range i.quotas.all() {
		for _, key := range slices.Sorted(maps.Keys(quotas)) {
			value := quotas[key]
			if !yield(e.Record(key, &value)) {
				return false
			}
		}
	}
	return true
}
