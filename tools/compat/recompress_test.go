package compat

import (
	"bytes"
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	batch "spate/kafka/record"
)

// TestCompressionTypeOfTopics produces to topics that keep their records in a codec of their own: every client must
// read what the broker compressed.
func TestCompressionTypeOfTopics(t *testing.T) {
	all, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	run := runID()
	for _, target := range allCodecs {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			setting, source := target, "zstd"
			switch target {
			case "none":
				setting = "uncompressed"
			case "zstd":
				source = "snappy"
			}
			topic := "recompressed-" + target + "-" + run
			c := mustDial(t)
			ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
			defer cancel()
			if err := createTopic(ctx, c, topic, 1, map[string]string{"compression.type": setting}); err != nil {
				t.Fatal(err)
			}
			producer := &franz{}
			var want []record
			for _, codec := range []string{"none", source} {
				records := append(oddRecords(producer.features()), plainRecords(codec, 500)...)
				j := job{topic: topic, codec: codec, acks: "all", idempotent: true, records: records}
				if err := producer.produce(ctx, &j); err != nil {
					t.Fatal(err)
				}
				want = append(want, records...)
			}
			checkCodec(t, c, topic, target, 0, int64(len(want)))
			for _, consumer := range all {
				t.Run("read by "+consumer.name(), func(t *testing.T) { readBack(t, consumer, topic, want) })
			}
		})
	}
}

// TestCompressionTypeChanges alters a topic's compression.type while a producer writes: what is appended from then on
// has the new codec, what was there keeps its own, and every client reads all of it.
func TestCompressionTypeChanges(t *testing.T) {
	all, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	topic := "recompressed-anew-" + runID()
	c := mustDial(t)
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	if err := createTopic(ctx, c, topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	producer := &franz{}
	var want []record
	for _, step := range []struct{ setting, codec string }{
		{"producer", "snappy"}, {"gzip", "gzip"}, {"uncompressed", "none"}, {"lz4", "lz4"}, {"zstd", "zstd"},
		{"snappy", "snappy"}, {"producer", "snappy"},
	} {
		if err := setTopicConfig(c, topic, "compression.type", step.setting); err != nil {
			t.Fatal(err)
		}
		from := int64(len(want))
		records := plainRecords("snappy", 300)
		for i := range records { // each compresses by itself: the producer decides how many make a batch
			records[i].Value = bytes.Repeat(records[i].Value, 20)
		}
		j := job{topic: topic, codec: "snappy", acks: "all", idempotent: true, records: records}
		if err := producer.produce(ctx, &j); err != nil {
			t.Fatal(err)
		}
		want = append(want, j.records...)
		checkCodec(t, c, topic, step.codec, from, int64(len(want)))
	}
	for _, consumer := range all {
		t.Run("read by "+consumer.name(), func(t *testing.T) { readBack(t, consumer, topic, want) })
	}
}

// setTopicConfig alters one config of a topic.
func setTopicConfig(c *wireConn, topic, name, value string) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.SetVersion(1)
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = name, &value
	resource.Configs = append(resource.Configs, config)
	req.Resources = append(req.Resources, resource)
	resp, err := c.ask(req)
	if err != nil {
		return err
	}
	return kafka.ErrorOf(resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode)
}

// checkCodec looks at every batch of a topic between two offsets.
func checkCodec(t *testing.T, c *wireConn, topic, codec string, from, end int64) {
	t.Helper()
	for offset := from; offset < end; {
		fetched, err := fetch(c, topic, 0, offset, 1)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := batch.Next(fetched)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.CheckCRC(); err != nil || b.Codec().String() != codec || b.BaseOffset() != kafka.Offset(offset) {
			t.Errorf("the batch at %d has codec %s and base offset %d: %v", offset, b.Codec(), b.BaseOffset(), err)
		}
		offset = int64(b.NextOffset())
	}
}
