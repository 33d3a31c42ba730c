package compat

import (
	"context"
	"testing"

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
			checkCodec(t, c, topic, target, int64(len(want)))
			for _, consumer := range all {
				t.Run("read by "+consumer.name(), func(t *testing.T) { readBack(t, consumer, topic, want) })
			}
		})
	}
}

// checkCodec looks at every batch of a topic.
func checkCodec(t *testing.T, c *wireConn, topic, codec string, end int64) {
	t.Helper()
	for offset := int64(0); offset < end; {
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
