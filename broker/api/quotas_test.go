package api

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"spate/broker/quota"
	"spate/internal/clock"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: measures are shared by those who share a quota, outlive nobody who is quiet, and take bounded memory; charging
// allocates nothing, and costs nothing where no quota is set.

func newTestQuotas(t testing.TB) (*Quotas, *clock.Manual) {
	t.Helper()
	manual := clock.NewManual(time.Unix(1_700_000_000, 0))
	w := quota.Window{Samples: 11, SampleMs: 1000}
	return NewQuotas(manual, metrics.New(), QuotaOptions{
		Window: w, ControllerWindow: w, ConnectionsRateMax: quota.Unlimited,
	}), manual
}

// publish has these quotas hold, as kind:name key value; a kind without a name is the default.
func (q *Quotas) publish(t testing.TB, quotas ...string) {
	t.Helper()
	b := image.NewBuilder(image.Empty("c"))
	for _, text := range quotas {
		var who, key string
		var value float64
		if _, err := fmt.Sscan(text, &who, &key, &value); err != nil {
			t.Fatal(err)
		}
		part := record.QuotaEntity{}
		kind, name, named := strings.Cut(who, ":")
		if part.Type = kind; named {
			part.Name = &name
		}
		err := b.Apply(&record.ClientQuota{Entity: []record.QuotaEntity{part}, Key: key, Value: value})
		if err != nil {
			t.Fatal(err)
		}
	}
	img, _ := b.Build()
	q.Publish(img)
}

func TestAnAccountIsThatOfItsClient(t *testing.T) {
	q, manual := newTestQuotas(t)
	if q.AccountOf(nil, []byte("a")) != nil {
		t.Error("an account without quotas")
	}
	q.publish(t, "ip:127.0.0.1 connection_creation_rate 3")
	if q.AccountOf(nil, []byte("a")) != nil {
		t.Error("an account with quotas for addresses alone")
	}
	q.publish(t, "client-id:a producer_byte_rate 100", "client-id consumer_byte_rate 50")
	a := q.AccountOf(nil, []byte("a"))
	if q.AccountOf(a, []byte("a")) != a {
		t.Error("the account of the same client is another")
	}
	b := q.AccountOf(a, []byte("b"))
	if limit, limited := a.limits(quota.Produce); limit != 100 || !limited {
		t.Errorf("a may produce %v, %v", limit, limited)
	}
	if _, limited := b.limits(quota.Produce); limited {
		t.Error("b may not produce what it likes")
	}
	if most, limited := b.burst(quota.Fetch); most != 500 || !limited {
		t.Errorf("b may fetch %v at once, %v", most, limited)
	}
	// What was measured stays when the quotas change.
	now := manual.Now()
	a.charge(quota.Produce, 1500, now)
	q.publish(t, "client-id:a producer_byte_rate 50")
	after := q.AccountOf(a, []byte("a"))
	if after == a {
		t.Fatal("the account does not follow the quotas")
	}
	if wait := after.charge(quota.Produce, 0, now); wait != 20_000 {
		t.Errorf("under the lower quota: to wait %d ms", wait)
	}
	if wait := b.charge(quota.Produce, 1e9, now); wait != 0 {
		t.Errorf("who has no quota is to wait %d ms", wait)
	}
	var nobody *Account
	if nobody.charge(quota.Produce, 1, now) != 0 || nobody.throttleTime(time.Hour, 0) != 0 {
		t.Error("nobody is to wait")
	}
	nobody.refund(quota.Produce, 1, now)
}

func TestTimeIsBoundedAndTheLongestWaitCounts(t *testing.T) {
	q, manual := newTestQuotas(t)
	q.publish(t, "user request_percentage 200")
	a := q.AccountOf(nil, nil)
	if wait := a.throttleTime(20*time.Second, 0); wait != 0 {
		t.Errorf("two threads for ten seconds: %d ms", wait)
	}
	if wait := a.throttleTime(time.Second, 0); wait != 500 {
		t.Errorf("a second more: %d ms", wait)
	}
	if wait := a.throttleTime(time.Hour, 0); wait != 1000 {
		t.Errorf("an hour: %d ms", wait)
	}
	if wait := a.throttleTime(-time.Hour, 1500); wait != 1500 {
		t.Errorf("for what was created: %d ms", wait)
	}
	manual.Advance(30 * time.Second)
	if wait := a.throttleTime(0, 0); wait != 0 {
		t.Errorf("later: %d ms", wait)
	}
}

// TestIDsThatAreMadeUpTakeNoMemory: as many clients as there is room for are told apart; the others share, and are let
// go when they are quiet.
func TestIDsThatAreMadeUpTakeNoMemory(t *testing.T) {
	q, manual := newTestQuotas(t)
	q.publish(t, "client-id producer_byte_rate 1000")
	for i := range 2 * gaugesMax {
		a := q.AccountOf(nil, fmt.Appendf(nil, "%s%d", strings.Repeat("x", 500), i))
		a.charge(quota.Produce, 1, manual.Now())
	}
	if n := q.Clients(quota.Produce); n != gaugesMax {
		t.Errorf("%d clients are told apart", n)
	}
	for holder := range q.gauges[quota.Produce].of {
		if len(holder.ClientID) > holderBytesMax {
			t.Fatalf("a name of %d bytes is kept", len(holder.ClientID))
		}
	}
	newcomer := q.AccountOf(nil, []byte("newcomer"))
	if wait := newcomer.charge(quota.Produce, 0, manual.Now()); wait == 0 {
		t.Error("those for whom there is no room do not share")
	}
	manual.Advance(11 * time.Second)
	q.AccountOf(nil, []byte("the first of a quiet time"))
	if n := q.Clients(quota.Produce); n > 10 {
		t.Errorf("%d clients are kept that have been quiet", n)
	}
	// One that comes at a steady pace never makes many.
	for i := range 20 * gaugesSweepMin {
		q.AccountOf(nil, fmt.Append(nil, i)).charge(quota.Produce, 1, manual.Now())
		manual.Advance(100 * time.Millisecond)
	}
	if n := q.Clients(quota.Produce); n > 2*gaugesSweepMin {
		t.Errorf("%d clients are kept", n)
	}
}

// TestWhoComesBackSharesAgain: a connection that was quiet for so long that its measure was let go measures with those
// who came meanwhile.
func TestWhoComesBackSharesAgain(t *testing.T) {
	q, manual := newTestQuotas(t)
	q.publish(t, "client-id producer_byte_rate 1000", "user controller_mutation_rate 2")
	quiet := q.AccountOf(nil, []byte("a"))
	quiet.charge(quota.Produce, 1, manual.Now())
	m := &mutations{account: quiet, strict: true}
	if err := m.charge(3); err != nil {
		t.Fatal(err)
	}
	manual.Advance(20 * time.Second)
	for i := range 2 * gaugesSweepMin {
		q.AccountOf(nil, fmt.Append(nil, i)).charge(quota.Produce, 1, manual.Now())
	}
	other := q.AccountOf(nil, []byte("a"))
	other.charge(quota.Produce, 10_000, manual.Now())
	if wait := quiet.charge(quota.Produce, 1000, manual.Now()); wait != 1000 {
		t.Errorf("to wait %d ms", wait)
	}
	if quiet.shares[quota.Produce].gauge.Load() != other.shares[quota.Produce].gauge.Load() {
		t.Error("they measure apart")
	}
}

func TestMutationsAreStrictOrPaidFor(t *testing.T) {
	q, manual := newTestQuotas(t)
	q.publish(t, "user controller_mutation_rate 2")
	c := &Context{Account: q.AccountOf(nil, []byte("a"))}
	c.Header.Version = 5
	strict, permissive := c.mutations(5), c.mutations(6)
	if strict == nil || !strict.strict || permissive.strict {
		t.Fatalf("%+v, %+v", strict, permissive)
	}
	if err := strict.charge(30); err != nil || strict.left() != 0 {
		t.Errorf("the first: %v, to wait %d ms", err, strict.left())
	}
	if err := strict.charge(1); kafka.CodeOf(err) != kafka.ThrottlingQuotaExceeded.Code || strict.left() != 4000 {
		t.Errorf("the next: %v, to wait %d ms", err, strict.left())
	}
	manual.Advance(time.Second)
	if strict.left() != 3000 {
		t.Errorf("a second later: to wait %d ms", strict.left())
	}
	if err := permissive.charge(2); err != nil || permissive.left() != 4000 {
		t.Errorf("a client of before: %v, to wait %d ms", err, permissive.left())
	}
	manual.Advance(4 * time.Second)
	again := c.mutations(5)
	if err := again.charge(1); err != nil || again.left() != 0 {
		t.Errorf("after the wait: %v, to wait %d ms", err, again.left())
	}
	c.Account = nil
	if none := c.mutations(5); none.charger() != nil || none.left() != 0 {
		t.Error("who has no quota is charged")
	}
}

func TestNewcomersAreCounted(t *testing.T) {
	q, _ := newTestQuotas(t)
	ip := netip.MustParseAddr("127.0.0.1")
	q.publish(t, "ip connection_creation_rate 1")
	admitted := 0
	for range 20 {
		if wait, refuse := q.Admit(ip); wait == 0 && refuse == 0 {
			admitted++
		}
	}
	if admitted != 10 {
		t.Errorf("%d were admitted", admitted)
	}
	q.Publish(image.Empty("c"))
	for range 20 {
		if wait, refuse := q.Admit(ip); wait != 0 || refuse != 0 {
			t.Fatalf("without a quota: %v, %v", wait, refuse)
		}
	}
	q.SetConnectionRateMax(1)
	waited := time.Duration(0)
	for range 20 {
		wait, refuse := q.Admit(ip)
		if waited = max(waited, wait); refuse != 0 {
			t.Fatalf("refused: %v", refuse)
		}
	}
	if waited != time.Second {
		t.Errorf("the longest wait is %v", waited)
	}
}

// TestManyAtOnce has goroutines charge, look up and change quotas together; the race detector looks on.
func TestManyAtOnce(t *testing.T) {
	q, manual := newTestQuotas(t)
	var all sync.WaitGroup
	for g := range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			var a *Account
			for i := range 2000 {
				a = q.AccountOf(a, fmt.Append(nil, i%600*g))
				a.charge(quota.Produce, 1, manual.Now())
				a.throttleTime(time.Millisecond, 0)
				if i%400 == 0 {
					manual.Advance(5 * time.Second)
					q.publish(t, fmt.Sprintf("client-id producer_byte_rate %d", i+1), "user request_percentage 1")
				}
			}
		}()
	}
	all.Wait()
}

func TestChargingDoesNotAllocate(t *testing.T) {
	q, manual := newTestQuotas(t)
	id := []byte("a client")
	var a *Account
	for name, quotas := range map[string][]string{
		"no quota": nil, "a quota of others": {"client-id:b producer_byte_rate 1"},
		"quotas": {
			"client-id producer_byte_rate 1000", "user request_percentage 1", "client-id:b consumer_byte_rate 1",
		},
	} {
		q.publish(t, quotas...)
		a = q.AccountOf(a, id)
		now := manual.Now()
		if n := testing.AllocsPerRun(1000, func() {
			now = now.Add(300 * time.Millisecond)
			a = q.AccountOf(a, id)
			bytesMs := a.charge(quota.Produce, 500, now)
			a.longest(quota.Produce, bytesMs, quota.Request, a.chargeTime(time.Millisecond, now))
			a.burst(quota.Fetch)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkCharge is what a Produce request pays for quotas.
func BenchmarkCharge(b *testing.B) {
	for name, quotas := range map[string][]string{
		"no quota": nil, "a quota of others": {"client-id:b producer_byte_rate 1"},
		"quotas": {"client-id producer_byte_rate 1e15", "user request_percentage 1e15"},
	} {
		b.Run(name, func(b *testing.B) {
			q, manual := newTestQuotas(b)
			q.publish(b, quotas...)
			id, now := []byte("a client"), manual.Now()
			var a *Account
			for b.Loop() {
				a = q.AccountOf(a, id)
				if a == nil {
					continue
				}
				bytesMs := a.charge(quota.Produce, 500, now)
				timeMs := a.chargeTime(time.Millisecond, now)
				if ms := a.longest(quota.Produce, bytesMs, quota.Request, timeMs); ms > math.MaxInt16 {
					b.Fatal(ms)
				}
			}
		})
	}
}
