package controller

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// AlterClientQuotas changes the quotas of entities, each entity on its own: some may fail and others not.
type AlterClientQuotas struct {
	Entries      []AlteredQuotas
	ValidateOnly bool // only say what would happen
}

// AlteredQuotas is what to change for one entity.
type AlteredQuotas struct {
	Entity  []record.QuotaEntity // as asked: it may be no entity at all
	Changes []QuotaChange
}

// QuotaChange sets a quota, or removes it.
type QuotaChange struct {
	Key   string
	Value *float64 // nil removes
}

// AlterClientQuotasReply has one result for each entity of the request, in the order in which they are first named.
type AlterClientQuotasReply struct {
	Entries []AlteredEntity
}

func (AlterClientQuotasReply) reply() {}

// AlteredEntity is what became of one entity.
type AlteredEntity struct {
	Entity []record.QuotaEntity
	Err    error // a *Refusal
}

func (cmd AlterClientQuotas) decide(c *Controller) Outcome {
	var records []record.Record
	var reply AlterClientQuotasReply
	places := make(map[string]int, len(cmd.Entries)) // of an entity in the reply
	for i := range cmd.Entries {
		altered := &cmd.Entries[i]
		parts := lastOfEachKind(altered.Entity)
		shown := showEntity(parts)
		if at, ok := places[shown]; ok {
			// As in Kafka what was asked for it before is done all the same.
			reply.Entries[at].Err = refuse(kafka.InvalidRequest, "Ignoring duplicate entity %s", shown)
			continue
		}
		places[shown] = len(reply.Entries)
		changes, err := c.alterQuotas(parts, altered.Changes)
		if err == nil {
			records = append(records, changes...)
		}
		if len(records) > recordsMax {
			return Outcome{Err: errTooManyChanges}
		}
		reply.Entries = append(reply.Entries, AlteredEntity{Entity: parts, Err: err})
	}
	if cmd.ValidateOnly {
		records = nil
	}
	return Outcome{Records: records, Reply: reply}
}

// quotaKinds are the kinds of parts in Kafka's order; those that do not exist come after them.
var quotaKinds = []string{image.QuotaClientID, image.QuotaUser, image.QuotaIP}

// lastOfEachKind is the entity as Kafka takes it: of parts of one kind the last counts.
func lastOfEachKind(asked []record.QuotaEntity) []record.QuotaEntity {
	parts := make([]record.QuotaEntity, 0, len(asked))
	places := make(map[string]int, len(asked))
	for _, part := range asked {
		if at, ok := places[part.Type]; ok {
			parts[at] = part
			continue
		}
		places[part.Type] = len(parts)
		parts = append(parts, part)
	}
	rank := func(part record.QuotaEntity) uint { return uint(slices.Index(quotaKinds, part.Type)) }
	slices.SortStableFunc(parts, func(a, b record.QuotaEntity) int { return cmp.Compare(rank(a), rank(b)) })
	return parts
}

// showEntity is the entity in Kafka's messages.
func showEntity(parts []record.QuotaEntity) string {
	shown := make([]string, len(parts))
	for i, part := range parts {
		name := "null"
		if part.Name != nil {
			name = *part.Name
		}
		shown[i] = part.Type + "=" + name
	}
	return "ClientQuotaEntity(entries={" + strings.Join(shown, ", ") + "})"
}

// alterQuotas gives the records that change the quotas of one entity: none for what is so already.
func (c *Controller) alterQuotas(parts []record.QuotaEntity, changes []QuotaChange) ([]record.Record, error) {
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		if seen[changes[i].Key] {
			return nil, refuse(kafka.InvalidRequest, "Ignoring duplicate entity %s", showEntity(parts)) // sic
		}
		seen[changes[i].Key] = true
	}
	e, err := quotaEntity(parts)
	if err != nil {
		return nil, err
	}
	before := c.image.Quotas(e)
	var records []record.Record
	for i := range changes {
		change := &changes[i]
		old, was := before[change.Key]
		if change.Value == nil {
			if was {
				records = append(records, e.Record(change.Key, nil))
			}
			continue
		}
		if err := checkQuota(e, change.Key, *change.Value); err != nil {
			return nil, err
		}
		if !was || math.Float64bits(old) != math.Float64bits(*change.Value) {
			records = append(records, e.Record(change.Key, change.Value))
		}
	}
	return records, nil
}

// quotaEntity is what the parts name together, or what is wrong with them.
func quotaEntity(parts []record.QuotaEntity) (e image.QuotaEntity, err error) {
	for _, part := range parts {
		at := e.Part(part.Type)
		switch {
		case at == nil:
			return e, refuse(kafka.InvalidRequest, "Unhandled client quota entity type: %s", part.Type)
		case part.Name == nil:
			*at = image.QuotaDefault()
		case *part.Name == "":
			return e, refuse(kafka.InvalidRequest, "Empty %s not supported", part.Type)
		default:
			*at = image.QuotaNamed(*part.Name)
		}
	}
	switch {
	case e == image.QuotaEntity{}:
		return e, refuse(kafka.InvalidRequest, "Invalid empty client quota entity")
	case !e.IP.Given:
		return e, nil
	case e.User.Given || e.ClientID.Given:
		return e, refuse(kafka.InvalidRequest, "Invalid quota entity combination, IP entity should"+
			"not be combined with User or ClientId")
	}
	if _, err := netip.ParseAddr(e.IP.Name); err != nil && !e.IP.Default {
		return e, refuse(kafka.InvalidRequest, "%s is not a valid IP or resolvable host.", e.IP.Name)
	}
	return e, nil
}

// checkQuota says what is wrong with a quota.
func checkQuota(e image.QuotaEntity, key string, value float64) error {
	var typeName string // "" for a quota that need not be whole
	var valueMax float64
	switch {
	case e.IP.Given && key == "connection_creation_rate":
		typeName, valueMax = "an INT", math.MaxInt32
	case !e.IP.Given && (key == "producer_byte_rate" || key == "consumer_byte_rate"):
		typeName, valueMax = "a LONG", math.MaxInt64
	case !e.IP.Given && (key == "request_percentage" || key == "controller_mutation_rate"):
	default:
		return refuse(kafka.InvalidRequest, "Invalid configuration key %s", key)
	}
	switch {
	case !(value > 0): // NaN is not
		return refuse(kafka.InvalidRequest, "Quota %s must be greater than 0", key)
	case typeName == "":
		return nil
	case value > valueMax:
		return refuse(kafka.InvalidRequest, "Proposed value for %s is too large for %s.", key, typeName)
	case math.Abs(math.Mod(value, 1)) > 1e-6:
		return refuse(kafka.InvalidRequest, "%s cannot be a fractional value.", key)
	}
	return nil
}
