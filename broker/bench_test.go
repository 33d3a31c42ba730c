package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkProduceHandler is the handler alone: parse, validate, append to the page cache, encode the answer.
func BenchmarkProduceHandler(b *testing.B) {
	for _, size := range []int{100, 10_000, 500_000} {
		b.Run(sizeName(size), func(b *testing.B) {
			n := startNode(b, with("spate.ack.durability=page-cache", "log.segment.bytes=1073741824"))
			id := n.createTopic("orders", 1)
			r := produceRequest(13, -1, "", id, 0, batch(strings.Repeat("x", size)))
			c := newStubConn()
			x := c.request(n, r)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c.deliver(b, x)
			}
		})
	}
}

// BenchmarkFetchHandler is the handler alone: parse, find the records, encode the answer; nothing is sent.
func BenchmarkFetchHandler(b *testing.B) {
	for _, size := range []int{100, 500_000} {
		b.Run(sizeName(size), func(b *testing.B) {
			n := startNode(b, with("spate.ack.durability=page-cache"))
			id := n.createTopic("orders", 1)
			n.client().produce("orders", 0, strings.Repeat("x", size))
			c := newStubConn()
			x := c.request(n, fetchRequest(17, "", id, 0, 0))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c.deliver(b, x)
			}
		})
	}
}

// BenchmarkRoundTrip is a request and its answer over a socket of the same machine, one at a time.
func BenchmarkRoundTrip(b *testing.B) {
	for _, durability := range []string{"flush", "page-cache"} {
		n := startNode(b, with("spate.ack.durability="+durability))
		id := n.createTopic("orders", 1)
		small := batch(strings.Repeat("x", 100))
		n.client().produce("orders", 0, strings.Repeat("x", 100_000))
		for name, r := range map[string]kmsg.Request{
			"produce": produceRequest(13, -1, "", id, 0, small),
			"fetch":   fetchRequest(17, "", id, 0, 0),
		} {
			client := newRawClient(b, n, r)
			b.Run(durability+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					client.roundTrip(b)
				}
			})
		}
	}
}

func sizeName(bytes int) string { return fmt.Sprint(bytes, "B") }
