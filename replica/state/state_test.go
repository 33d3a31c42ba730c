package state

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"spate/kafka"
)

// The stories feed events to one machine and print the effects and the state after each.
//
//	new self=N hw=N flushed=N end=N
//	assign leader=N epoch=N version=N replicas=(..) isr=(..)
//	configure flush|page-cache
//	appended to=N | flushed to=N | fetched by=N to=N
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var m *Machine
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				m = New(kafka.BrokerID(number(t, d, "self")), kafka.Offset(number(t, d, "hw")),
					kafka.Offset(number(t, d, "flushed")), kafka.Offset(number(t, d, "end")))
				return describe(m, Effects{})
			}
			var fx Effects
			m.Step(event(t, d), &fx)
			return describe(m, fx)
		})
	})
}

func event(t *testing.T, d *datadriven.TestData) Event {
	switch d.Cmd {
	case "assign":
		return Event{Kind: Assigned, Assignment: &Assignment{
			Leader:         kafka.BrokerID(number(t, d, "leader")),
			LeaderEpoch:    kafka.LeaderEpoch(number(t, d, "epoch")),
			PartitionEpoch: int32(number(t, d, "version")),
			Replicas:       brokers(t, d, "replicas"), ISR: brokers(t, d, "isr"),
		}}
	case "configure":
		return Event{Kind: Configured, AckFlushed: d.HasArg("flush")}
	case "appended":
		return Event{Kind: Appended, Offset: kafka.Offset(number(t, d, "to"))}
	case "flushed":
		return Event{Kind: Flushed, Offset: kafka.Offset(number(t, d, "to"))}
	case "fetched":
		by, to := number(t, d, "by"), number(t, d, "to")
		return Event{Kind: Fetched, Broker: kafka.BrokerID(by), Offset: kafka.Offset(to)}
	}
	t.Fatalf("unknown command %s", d.Cmd)
	return Event{}
}

func number(t *testing.T, d *datadriven.TestData, name string) (n int) {
	d.ScanArgs(t, name, &n)
	return n
}

func brokers(t *testing.T, d *datadriven.TestData, name string) []kafka.BrokerID {
	var ids []kafka.BrokerID
	for _, arg := range d.CmdArgs {
		if arg.Key != name {
			continue
		}
		for _, v := range arg.Vals {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, kafka.BrokerID(n))
		}
	}
	return ids
}

func describe(m *Machine, fx Effects) string {
	var b strings.Builder
	v := m.View()
	role := "follower"
	if v.Role == Leader {
		role = "leader"
	}
	fmt.Fprintf(&b, "%s: leader %d in epoch %d, version %d, %d of %d in sync, high watermark %d",
		role, v.Leader, v.LeaderEpoch, v.PartitionEpoch, v.ISR, v.Replicas, m.HighWatermark())
	if fx.Changed {
		b.WriteString(", changed")
	}
	if fx.Advanced {
		fmt.Fprintf(&b, ", advanced to %d", fx.HighWatermark)
	}
	return b.String() + "\n"
}

// Whatever happens, the high watermark never goes back, and as leader it is at most what each member of the ISR has.
func TestHighWatermarkNeverGoesBackNorPastTheISR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := New(1, 0, 0, 0)
		model := &model{copies: map[kafka.BrokerID]kafka.Offset{}, ackFlushed: true}
		before := kafka.Offset(0)
		t.Repeat(map[string]func(*rapid.T){
			"assign":    func(t *rapid.T) { model.assign(t, m) },
			"configure": func(t *rapid.T) { model.configure(t, m) },
			"append":    func(t *rapid.T) { model.append(t, m) },
			"flush":     func(t *rapid.T) { model.flush(t, m) },
			"fetch":     func(t *rapid.T) { model.fetch(t, m) },
			"": func(t *rapid.T) {
				now := m.HighWatermark()
				if now < before {
					t.Fatalf("from %d back to %d", before, now)
				}
				if now > before && now > model.common() {
					t.Fatalf("%d is past what the ISR has, %d", now, model.common())
				}
				before = now
			},
		})
	})
}

// model keeps what each replica really has.
type model struct {
	end, flushed kafka.Offset
	copies       map[kafka.BrokerID]kafka.Offset // of the followers
	isr          []kafka.BrokerID
	ackFlushed   bool
	epoch        int
}

func (d *model) common() kafka.Offset {
	common := d.end
	if d.ackFlushed {
		common = d.flushed
	}
	for _, id := range d.isr {
		if id != 1 {
			common = min(common, d.copies[id])
		}
	}
	return common
}

func (d *model) assign(t *rapid.T, m *Machine) {
	d.epoch++
	leader := kafka.BrokerID(rapid.IntRange(1, 2).Draw(t, "leader"))
	d.isr = []kafka.BrokerID{leader}
	for id := kafka.BrokerID(1); id <= 3; id++ {
		if id != leader && rapid.Bool().Draw(t, "in sync") {
			d.isr = append(d.isr, id)
		}
	}
	clear(d.copies)
	var fx Effects
	m.Step(Event{Kind: Assigned, Assignment: &Assignment{
		Leader: leader, LeaderEpoch: kafka.LeaderEpoch(d.epoch), PartitionEpoch: int32(d.epoch),
		Replicas: []kafka.BrokerID{1, 2, 3}, ISR: d.isr,
	}}, &fx)
}

func (d *model) configure(t *rapid.T, m *Machine) {
	d.ackFlushed = rapid.Bool().Draw(t, "flush")
	var fx Effects
	m.Step(Event{Kind: Configured, AckFlushed: d.ackFlushed}, &fx)
}

func (d *model) append(t *rapid.T, m *Machine) {
	d.end += kafka.Offset(rapid.IntRange(1, 5).Draw(t, "records"))
	var fx Effects
	m.Step(Event{Kind: Appended, Offset: d.end}, &fx)
}

func (d *model) flush(t *rapid.T, m *Machine) {
	d.flushed = kafka.Offset(rapid.Int64Range(int64(d.flushed), int64(d.end)).Draw(t, "flushed"))
	var fx Effects
	m.Step(Event{Kind: Flushed, Offset: d.flushed}, &fx)
}

func (d *model) fetch(t *rapid.T, m *Machine) {
	id := kafka.BrokerID(rapid.IntRange(2, 3).Draw(t, "follower"))
	d.copies[id] = kafka.Offset(rapid.Int64Range(int64(d.copies[id]), int64(d.end)).Draw(t, "copied"))
	var fx Effects
	m.Step(Event{Kind: Fetched, Broker: id, Offset: d.copies[id]}, &fx)
}

func TestStepsDoNotAllocate(t *testing.T) {
	m := New(1, 0, 0, 0)
	var fx Effects
	m.Step(Event{Kind: Assigned, Assignment: &Assignment{
		Leader: 1, Replicas: []kafka.BrokerID{1}, ISR: []kafka.BrokerID{1},
	}}, &fx)
	end := kafka.Offset(0)
	allocs := testing.AllocsPerRun(100, func() {
		end++
		m.Step(Event{Kind: Appended, Offset: end}, &fx)
		m.Step(Event{Kind: Flushed, Offset: end}, &fx)
	})
	if allocs != 0 || m.HighWatermark() != end {
		t.Errorf("%v allocations, high watermark %d of %d", allocs, m.HighWatermark(), end)
	}
}
