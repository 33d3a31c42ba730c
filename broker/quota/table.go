package quota

import (
	"net/netip"

	"spate/metadata/image"
)

// Kind is what a quota of users and client ids limits.
type Kind uint8

// The kinds.
const (
	Produce  Kind = iota // bytes a second of Produce requests
	Fetch                // bytes a second of Fetch responses
	Request              // time on threads, in percent of one
	Mutation             // partitions a second that are created or deleted
	Kinds                // how many there are
)

// The keys of quotas in the metadata, and the names of their kinds in metrics.
var (
	keys  = [Kinds]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}
	names = [Kinds]string{"produce", "fetch", "request", "controller-mutation"}
)

// String is the kind as metrics show it.
func (k Kind) String() string { return names[k] }

// connectionRate is the key of the quotas of addresses.
const connectionRate = "connection_creation_rate"

// Holder is who shares a measure: a user, a client id, or a user's client id. The empty name stands for no matter
// which.
type Holder struct {
	User, ClientID string
}

// Table is all quotas that are set at a moment.
type Table struct {
	kinds    [Kinds]limits
	byIP     map[netip.Addr]int
	ipLimit  int // of an address that has none of its own
	hasLimit bool
}

// limits is the quotas of one kind.
type limits map[image.QuotaEntity]float64

// Unlimited is the rate of connections where none is set.
const Unlimited = 1<<31 - 1

// NewTable reads the quotas of an image; nil where there are none.
func NewTable(img *image.Image) *Table {
	if img.QuotaCount() == 0 {
		return nil
	}
	t := &Table{byIP: map[netip.Addr]int{}, ipLimit: Unlimited}
	for e, quotas := range img.AllQuotas() {
		if e.IP.Given {
			t.addIP(e.IP, quotas)
			continue
		}
		for kind := range Kinds {
			limit, set := quotas[keys[kind]]
			if !set {
				continue
			}
			if t.kinds[kind] == nil {
				t.kinds[kind] = limits{}
			}
			t.kinds[kind][e] = limit
			t.hasLimit = true
		}
	}
	return t
}

// addIP adds the quota of an address. A host's name, which another program let in, stands for no address here.
func (t *Table) addIP(ip image.QuotaName, quotas map[string]float64) {
	limit, set := quotas[connectionRate]
	if !set {
		return
	}
	if ip.Default {
		t.ipLimit = int(limit)
		return
	}
	if address, err := netip.ParseAddr(ip.Name); err == nil {
		t.byIP[address.Unmap().WithZone("")] = int(limit)
	}
}

// LimitsClients tells whether any quota is set for users or client ids.
func (t *Table) LimitsClients() bool { return t != nil && t.hasLimit }

// ConnectionRate is how many connections a second an address may open.
func (t *Table) ConnectionRate(ip netip.Addr) int {
	if t == nil {
		return Unlimited
	}
	if limit, set := t.byIP[ip]; set {
		return limit
	}
	return t.ipLimit
}

// Of is the quota of a client, and with whom it shares it: the first that is set of those for the user's client id,
// the user's other client ids, the user, other users' client id, their other client ids, other users, the client id,
// and other client ids. A client without an id has none of those for other client ids.
func (t *Table) Of(kind Kind, user, clientID string) (holder Holder, limit float64, limited bool) {
	l := t.kinds[kind]
	if len(l) == 0 {
		return Holder{}, 0, false
	}
	named, anyUser := image.QuotaNamed(user), image.QuotaDefault()
	client, anyClient := image.QuotaNamed(clientID), image.QuotaDefault()
	levels := [...]struct {
		entity image.QuotaEntity
		holder Holder
	}{
		{image.QuotaEntity{User: named, ClientID: client}, Holder{user, clientID}},
		{image.QuotaEntity{User: named, ClientID: anyClient}, Holder{user, clientID}},
		{image.QuotaEntity{User: named}, Holder{User: user}},
		{image.QuotaEntity{User: anyUser, ClientID: client}, Holder{user, clientID}},
		{image.QuotaEntity{User: anyUser, ClientID: anyClient}, Holder{user, clientID}},
		{image.QuotaEntity{User: anyUser}, Holder{User: user}},
		{image.QuotaEntity{ClientID: client}, Holder{ClientID: clientID}},
		{image.QuotaEntity{ClientID: anyClient}, Holder{ClientID: clientID}},
	}
	for i := range levels {
		level := &levels[i]
		if limit, limited = l[level.entity]; !limited {
			continue
		}
		if level.entity.ClientID.Given && clientID == "" {
			// As in Kafka, where a measure without a client id is the user's, and without both nobody's.
			return l.ofUser(level.holder.User)
		}
		return level.holder, limit, true
	}
	return Holder{}, 0, false
}

// ofUser is the quota of a user as such.
func (l limits) ofUser(user string) (holder Holder, limit float64, limited bool) {
	if user == "" {
		return Holder{}, 0, false
	}
	if limit, limited = l[image.QuotaEntity{User: image.QuotaNamed(user)}]; !limited {
		limit, limited = l[image.QuotaEntity{User: image.QuotaDefault()}]
	}
	return Holder{User: user}, limit, limited
}
