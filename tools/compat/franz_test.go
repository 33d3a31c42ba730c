package compat

import (
	"context"
	"os/exec"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is franz-go, the Go client.
type franz struct{}

func (*franz) name() string { return "franz-go" }

func (*franz) features() features {
	return features{binary: true, nullHeader: true, nullAndNone: true, manyHeaders: true}
}

func (*franz) codecs() []string { return allCodecs }

func (*franz) install() (string, error) {
	out, err := run(exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/twmb/franz-go"), nil)
	return strings.TrimSpace(string(out)), err
}

// franzCodecs are franz-go's names for the codecs.
var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (*franz) producer(j *job) (*kgo.Client, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(underTest.bootstrap),
		kgo.DefaultProduceTopic(j.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(franzCodecs[j.codec]),
	}
	if !j.idempotent {
		options = append(options, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))
	}
	switch j.acks {
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	}
	return kgo.NewClient(options...)
}

func (c *franz) produce(ctx context.Context, j *job) error {
	client, err := c.producer(j)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, r := range j.records {
		out := &kgo.Record{Key: r.Key, Value: r.Value}
		if r.Timestamp != 0 {
			out.Timestamp = time.UnixMilli(r.Timestamp)
		}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		records = append(records, out)
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

func (*franz) consume(ctx context.Context, topic string, partition, count int) ([]record, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(underTest.bootstrap), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{topic: {int32(partition): kgo.NewOffset().At(0)}}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var records []record
	for len(records) < count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(in *kgo.Record) {
			r := record{Key: in.Key, Value: in.Value, Offset: in.Offset, Timestamp: in.Timestamp.UnixMilli()}
			for _, h := range in.Headers {
				r.Headers = append(r.Headers, header{h.Key, h.Value})
			}
			records = append(records, r)
		})
	}
	return records, nil
}
