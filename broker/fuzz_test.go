package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/api"
	"spate/kafka"
	"spate/kafka/wire"
)

// FuzzHotHandlers gives any bytes to Produce and Fetch, in any version that is served: they answer or refuse, and never
// panic. What they are left with is good for the next request.
func FuzzHotHandlers(f *testing.F) {
	n := startNode(f, with("spate.ack.durability=page-cache"))
	id := n.createTopic("orders", 2)
	n.client().produce("orders", 0, "a", "b")
	for version := int16(3); version <= 13; version++ {
		f.Add(false, version, bodyOf(produceRequest(version, -1, "orders", id, 0, batch("a"))))
	}
	for version := int16(4); version <= 18; version++ {
		r := fetchRequest(version, "orders", id, 0, 0)
		r.SessionEpoch = 0
		f.Add(true, version, bodyOf(r))
	}
	c := newStubConn()
	good := c.request(n, produceRequest(9, 1, "orders", kafka.ZeroUUID, 1, batch("x")))
	f.Fuzz(func(t *testing.T, fetch bool, version int16, body []byte) {
		key := wire.KeyProduce
		if fetch {
			key = wire.KeyFetch
		}
		if !wire.Supports(key, version) {
			return
		}
		x := &delivery{Context: api.Context{Node: n.node, Conn: c, Pending: new(api.Pending), Body: body}}
		x.Frame = x
		x.Header.Key, x.Header.Version = key, version
		x.Received, x.Ticket = n.node.Clock.Now(), c.Reserve()
		if err := api.HandlerOf(key).Hot(&x.Context); err == nil {
			x.Pending.Cancel() // a fetch may ask to wait for days
		}
		c.deliver(t, good)
	})
}

// bodyOf is the body of a request without its header.
func bodyOf(r kmsg.Request) []byte { return r.AppendTo(nil) }
