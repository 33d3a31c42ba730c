package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A client that nobody here wrote: idempotent produce with each compression, then consume from the start with fetch
// sessions; keys, headers and nulls come back as they went.
func TestFranzGoProducesAndConsumes(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	want := map[string]string{}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		producer := newFranzClient(t, n, kgo.ProducerBatchCompression(codec))
		for i := range 300 {
			key := fmt.Sprint(name, i)
			r := &kgo.Record{
				Topic: "orders", Key: []byte(key), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(name)}},
			}
			if i%10 > 0 {
				r.Value = []byte(strings.Repeat(key, i))
			}
			want[key] = describeRecord(r)
			producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := producer.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	consumer := newFranzClient(t, n, kgo.ConsumeTopics("orders"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	got := map[string]string{}
	for len(got) < len(want) {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got[string(r.Key)] = describeRecord(r) })
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n.node.Sessions.Stats().Sessions == 0 {
		t.Error("the consumer has no fetch session")
	}
}

func describeRecord(r *kgo.Record) string {
	value := "null"
	if r.Value != nil {
		value = fmt.Sprintf("%d bytes", len(r.Value))
	}
	return fmt.Sprintf("%s, %s=%s", value, r.Headers[0].Key, r.Headers[0].Value)
}

func newFranzClient(t *testing.T, n *node, options ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(n.address()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
