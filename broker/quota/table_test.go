package quota

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: of all quotas that are set, a client's is the one that Kafka takes, and it is shared with those with whom Kafka
// shares it. Method: the order as Kafka documents it, level by level, and a model that goes through Kafka's own steps.

var levels = []struct {
	entity string
	holder Holder
}{
	{"user:u client-id:c", Holder{"u", "c"}},
	{"user:u client-id", Holder{"u", "c"}},
	{"user:u", Holder{"u", ""}},
	{"user client-id:c", Holder{"u", "c"}},
	{"user client-id", Holder{"u", "c"}},
	{"user", Holder{"u", ""}},
	{"client-id:c", Holder{"", "c"}},
	{"client-id", Holder{"", "c"}},
}

func entity(t testing.TB, text string) (e image.QuotaEntity) {
	for _, kind := range []string{image.QuotaUser, image.QuotaClientID, image.QuotaIP} {
		var name string
		for _, word := range split(text) {
			switch {
			case word == kind:
				*e.Part(kind) = image.QuotaDefault()
			default:
				if n, _ := fmt.Sscanf(word, kind+":%s", &name); n == 1 {
					*e.Part(kind) = image.QuotaNamed(name)
				}
			}
		}
	}
	return e
}

func split(text string) (words []string) {
	for len(text) > 0 {
		var word string
		if _, err := fmt.Sscan(text, &word); err != nil {
			break
		}
		words = append(words, word)
		text = text[min(len(word)+1, len(text)):]
	}
	return words
}

func tableOf(t testing.TB, records ...*record.ClientQuota) *Table {
	b := image.NewBuilder(image.Empty("c"))
	for _, r := range records {
		if err := b.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	img, _ := b.Build()
	return NewTable(img)
}

func set(t testing.TB, text, key string, value float64) *record.ClientQuota {
	return entity(t, text).Record(key, &value)
}

func TestTheEightLevels(t *testing.T) {
	for first := range levels {
		var records []*record.ClientQuota
		for i := first; i < len(levels); i++ {
			records = append(records, set(t, levels[i].entity, "producer_byte_rate", float64(i+1)))
		}
		table := tableOf(t, records...)
		holder, limit, limited := table.Of(Produce, "u", "c")
		if !limited || limit != float64(first+1) || holder != levels[first].holder {
			t.Errorf("%s: %v, %v, %v", levels[first].entity, holder, limit, limited)
		}
		if _, _, limited := table.Of(Fetch, "u", "c"); limited {
			t.Errorf("%s: a quota for Produce is one for Fetch", levels[first].entity)
		}
	}
	ofAddresses := tableOf(t, set(t, "ip", connectionRate, 1))
	if tableOf(t) != nil || (*Table)(nil).LimitsClients() || ofAddresses.LimitsClients() {
		t.Error("clients are limited without a quota for them")
	}
}

// modelOf goes through the steps of Kafka, one after the other: who shares, and then what is set for them.
func modelOf(has func(e string) (float64, bool), user, client string) (Holder, float64, bool) {
	h := Holder{"", client}
	for _, step := range []struct {
		entity string
		holder Holder
	}{
		{"user:" + user + " client-id:" + client, Holder{user, client}},
		{"user:" + user + " client-id", Holder{user, client}},
		{"user:" + user, Holder{user, ""}}, {"user client-id:" + client, Holder{user, client}},
		{"user client-id", Holder{user, client}}, {"user", Holder{user, ""}},
	} {
		if _, ok := has(step.entity); ok {
			h = step.holder
			break
		}
	}
	var order []string
	switch {
	case h.User != "" && h.ClientID != "":
		order = []string{"user:" + h.User + " client-id:" + h.ClientID, "user:" + h.User + " client-id",
			"user client-id:" + h.ClientID, "user client-id"}
	case h.User != "":
		order = []string{"user:" + h.User, "user"}
	case h.ClientID != "":
		order = []string{"client-id:" + h.ClientID, "client-id"}
	}
	for _, e := range order {
		if limit, ok := has(e); ok {
			return h, limit, true
		}
	}
	return Holder{}, 0, false
}

func TestQuotasAreThoseOfTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limits := map[string]float64{}
		var records []*record.ClientQuota
		for i, text := range []string{"user:u client-id:c", "user:u client-id", "user:u", "user client-id:c",
			"user client-id", "user", "client-id:c", "client-id", "user:v", "user:v client-id:c", "client-id:d"} {
			if rapid.Bool().Draw(rt, text) {
				limits[text] = float64(i + 1)
				records = append(records, set(t, text, "request_percentage", limits[text]))
			}
		}
		table := tableOf(t, records...)
		if table == nil {
			return
		}
		has := func(e string) (float64, bool) { limit, ok := limits[e]; return limit, ok }
		for _, user := range []string{"u", "v", "w"} {
			for _, client := range []string{"c", "d", "e", ""} {
				holder, limit, limited := table.Of(Request, user, client)
				wantHolder, want, wantLimited := modelOf(has, user, client)
				if limited != wantLimited || limited && (limit != want || holder != wantHolder) {
					rt.Fatalf("%v: %s/%s has %v, %v, %v; want %v, %v, %v", limits, user, client,
						holder, limit, limited, wantHolder, want, wantLimited)
				}
			}
		}
	})
}

func TestAddresses(t *testing.T) {
	table := tableOf(t, set(t, "ip:10.0.0.1", connectionRate, 3), set(t, "ip:::1", connectionRate, 4),
		set(t, "ip:example.org", connectionRate, 5), set(t, "ip:10.0.0.2", "another_rate", 6))
	for address, want := range map[string]int{"10.0.0.1": 3, "::1": 4, "10.0.0.2": Unlimited, "10.0.0.3": Unlimited} {
		if got := table.ConnectionRate(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %d, want %d", address, got, want)
		}
	}
	table = tableOf(t, set(t, "ip", connectionRate, 2), set(t, "ip:::ffff:10.0.0.1", connectionRate, 3))
	for address, want := range map[string]int{"10.0.0.1": 3, "::1": 2} {
		if got := table.ConnectionRate(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %d, want %d", address, got, want)
		}
	}
	if got := (*Table)(nil).ConnectionRate(netip.MustParseAddr("::1")); got != Unlimited {
		t.Errorf("without quotas: %d", got)
	}
}

func TestConnections(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	c := NewConnections(kafkas)
	now := int64(1e9)
	for i := range 20 { // ten seconds' worth at once
		if v := c.Admit(a, Unlimited, 2, now); v != (Verdict{}) {
			t.Fatalf("newcomer %d: %+v", i, v)
		}
	}
	for range 3 { // what is refused does not count, so that it does not get worse
		if v := c.Admit(a, Unlimited, 2, now); v != (Verdict{RefuseMs: 500}) {
			t.Fatalf("too many: %+v", v)
		}
	}
	if v := c.Admit(b, Unlimited, 2, now); v != (Verdict{}) {
		t.Fatalf("another address: %+v", v)
	}
	if v := c.Admit(a, Unlimited, 2, now+500); v != (Verdict{}) {
		t.Fatalf("after the wait: %+v", v)
	}
	all := NewConnections(kafkas)
	for range 10 {
		if v := all.Admit(a, 1, Unlimited, now); v != (Verdict{}) {
			t.Fatalf("%+v", v)
		}
	}
	if v := all.Admit(b, 1, Unlimited, now); v != (Verdict{WaitMs: 1000}) { // and not longer
		t.Fatalf("too many from all: %+v", v)
	}
	if v := all.Admit(b, 1, Unlimited, now); v != (Verdict{WaitMs: 1000}) {
		t.Fatalf("too many from all: %+v", v)
	}
	if v := all.Admit(b, 0, Unlimited, now); v != (Verdict{WaitMs: 1000}) {
		t.Fatalf("no connections at all: %+v", v)
	}
}

// TestAddressesAreForgotten: those that come once do not take memory for ever.
func TestAddressesAreForgotten(t *testing.T) {
	c := NewConnections(kafkas)
	now := int64(1e9)
	for i := range 100_000 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		c.Admit(ip, Unlimited, 100, now)
		now += 20
	}
	if n := len(c.byIP); n > 4*sweepMin {
		t.Errorf("%d addresses are kept", n)
	}
}
