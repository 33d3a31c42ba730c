package compat

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// goldenDir holds batches as real clients made them, for the tests of package kafka/record.
const goldenDir = "../../kafka/record/testdata/golden"

// TestGoldenBatches records, with -rewrite, one batch of every codec from the Java client, librdkafka and franz-go.
func TestGoldenBatches(t *testing.T) {
	if !*rewrite {
		t.Skip("the files are compared by package kafka/record; -rewrite makes them")
	}
	all, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(goldenDir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := mustDial(t)
	for _, producer := range all {
		if producer.name() == "kcat" { // one batch a record, and the same library as confluent-kafka
			continue
		}
		records := oddRecords(producer.features())
		writeJSON(t, filepath.Join(goldenDir, slug(producer.name())+".json"), records)
		for _, codec := range producer.codecs() {
			goldenBatch(t, c, producer, codec, records)
		}
	}
}

func goldenBatch(t *testing.T, c *wireConn, producer client, codec string, records []record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	topic := "golden-" + runID()
	if err := createTopic(ctx, c, topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	j := job{topic: topic, codec: codec, acks: "all", idempotent: true, records: records}
	if err := producer.produce(ctx, &j); err != nil {
		t.Fatal(err)
	}
	var bytes []byte
	for offset := int64(0); offset < int64(len(records)); {
		b, err := fetch(c, topic, 0, offset, 1)
		if err != nil {
			t.Fatal(err)
		}
		bytes = append(bytes, b...)
		offset = nextOffset(t, b)
	}
	file := filepath.Join(goldenDir, slug(producer.name())+"-"+codec+".batches")
	if err := os.WriteFile(file, bytes, 0o644); err != nil {
		t.Fatal(err)
	}
}
