package broker

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"spate/broker/api"
	"spate/kafka/wire"
	"spate/netpoll"
)

// countingConn counts what is sent, from whatever goroutine.
type countingConn struct {
	stubConn
	mutex   sync.Mutex
	answers map[netpoll.Ticket]int
}

func (c *countingConn) Complete(t netpoll.Ticket, r *netpoll.Response) {
	c.mutex.Lock()
	c.answers[t]++
	c.mutex.Unlock()
	r.Owner.Release()
}

// FuzzGroupHandlers gives any bytes to the requests about groups and transactions, in any version that is served, with
// real coordinators behind them: nothing panics, nobody is answered twice, and a commit that comes after is answered.
func FuzzGroupHandlers(f *testing.F) {
	n := startNode(f, oneShard())
	n.createTopic("wirecap", 2)
	n.client().findCoordinator("g")
	if err := (&txnProducer{c: n.client(), id: "t"}).begin(); err != nil {
		f.Fatal(err)
	}
	seeds, err := filepath.Glob("../kafka/wire/testdata/*_request.hex")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range seeds {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		_, digits, _ := strings.Cut(string(text), "\n")
		frame, err := hex.DecodeString(strings.ReplaceAll(digits, "\n", ""))
		if err != nil {
			f.Fatal(err)
		}
		header, body, err := wire.ParseHeader(frame[4:])
		if handler := api.HandlerOf(header.Key); err == nil && handler.Ask != nil {
			f.Add(header.Key, header.Version, body)
		}
	}
	beat := n.client()
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		handler := api.HandlerOf(key)
		if handler == nil || handler.Ask == nil || !wire.Supports(key, version) {
			return
		}
		request, _ := wire.DecodeRequest(key, version, body)
		if request == nil {
			return
		}
		c := &countingConn{stubConn: *newStubConn(), answers: map[netpoll.Ticket]int{}}
		x := api.Context{Node: n.node, Conn: c, Pending: new(api.Pending), Body: body, BodyBytes: len(body)}
		x.Header.Key, x.Header.Version = key, version
		x.Received, x.Ticket = n.node.Clock.Now(), c.Reserve()
		if err := x.Respond(context.Background(), handler, request); err != nil {
			t.Fatal(err)
		}
		beat.t = t
		if code := beat.commit("other", "wirecap", 0, 1); code != "" { // the one coordinator has taken both by then
			t.Fatal(code)
		}
		c.mutex.Lock()
		defer c.mutex.Unlock()
		for _, times := range c.answers {
			if times != 1 {
				t.Fatalf("answered %d times", times)
			}
		}
	})
}
