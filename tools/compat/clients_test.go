package compat

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	batch "spate/kafka/record"
)

// TestClients lets every client produce records of every shape in every codec and with every kind of ack, and every
// client read what every one has produced.
func TestClients(t *testing.T) {
	all, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	run := runID()
	for _, producer := range all {
		t.Run(producer.name(), func(t *testing.T) {
			t.Parallel()
			topic := "compat-" + slug(producer.name()) + "-" + run
			c := mustDial(t)
			ctx, cancel := context.WithTimeout(context.Background(), wireTimeout)
			defer cancel()
			if err := createTopic(ctx, c, topic, 1, nil); err != nil {
				t.Fatal(err)
			}
			want := produceAll(t, c, producer, topic)
			var first []record // as the first consumer read it: the others must see the same offsets and times
			for _, consumer := range all {
				t.Run("read by "+consumer.name(), func(t *testing.T) {
					got := readBack(t, consumer, topic, want)
					if first == nil {
						first = got
					}
					for i := range got {
						if got[i].Timestamp != first[i].Timestamp {
							t.Fatalf("record %d has timestamp %d, the first consumer saw %d",
								i, got[i].Timestamp, first[i].Timestamp)
						}
					}
					note(producer, consumer, len(got))
				})
			}
		})
	}
}

// jobsOf are the runs of a producer.
func jobsOf(c client, topic string) []job {
	var jobs []job
	for _, codec := range c.codecs() {
		records := append(oddRecords(c.features()), plainRecords(codec, 200)...)
		jobs = append(jobs, job{topic: topic, codec: codec, acks: "all", idempotent: true, records: records})
	}
	return append(jobs,
		job{topic: topic, codec: "none", acks: "all", records: plainRecords("acks-all", 100)},
		job{topic: topic, codec: "none", acks: "1", records: plainRecords("acks-1", 100)},
		job{topic: topic, codec: "none", acks: "0", records: plainRecords("acks-0", 100)})
}

// produceAll runs the jobs one after the other and gives what must lie in the topic.
func produceAll(t *testing.T, c *wireConn, producer client, topic string) []record {
	t.Helper()
	var want []record
	for _, j := range jobsOf(producer, topic) {
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		defer cancel()
		if err := producer.produce(ctx, &j); err != nil {
			t.Fatalf("produce %s: %v", &j, err)
		}
		start := int64(len(want))
		want = append(want, j.records...)
		// Without acks the producer has ended before the broker has the records.
		err := waitFor(ctx, func() (bool, error) {
			end, err := endOffset(c, topic, 0)
			return end >= int64(len(want)), err
		})
		if err != nil {
			t.Fatalf("produce %s: waiting for %d records: %v", &j, len(want), err)
		}
		checkBatches(t, c, producer, &j, start, int64(len(want)))
	}
	return want
}

// checkBatches looks at the batches of a job: the codec and the producer id must be those that were asked for.
func checkBatches(t *testing.T, c *wireConn, producer client, j *job, offset, end int64) {
	t.Helper()
	for offset < end {
		records, err := fetch(c, j.topic, 0, offset, 1<<20)
		if err != nil {
			t.Fatalf("%s: %v", j, err)
		}
		if len(records) == 0 {
			t.Fatalf("%s: nothing at offset %d, before the end %d", j, offset, end)
		}
		for len(records) > 0 && offset < end {
			b, rest, err := batch.Next(records)
			if err != nil {
				break // the last batch of a response may be cut
			}
			if err := b.CheckCRC(); err != nil {
				t.Fatalf("%s: %v", j, err)
			}
			if int64(b.BaseOffset()) != offset {
				t.Fatalf("%s: a batch at %d where %d is next", j, b.BaseOffset(), offset)
			}
			// A client may send a batch as it is when compressing does not make it smaller.
			small := b.Count() <= 20 && b.Codec() == batch.None
			if b.Codec().String() != j.codec && !small {
				t.Errorf("%s: a batch of %d records at %d has codec %s", j, b.Count(), offset, b.Codec())
			}
			if b.HasProducerID() != j.idempotent {
				t.Errorf("%s: the batch at %d has producer id %d", j, offset, b.ProducerID())
			}
			offset, records = int64(b.NextOffset()), rest
		}
	}
	if offset != end {
		t.Errorf("%s: the batches end at %d, not at %d", j, offset, end)
	}
}

// readBack lets a client read a topic and compares.
func readBack(t *testing.T, consumer client, topic string, want []record) []record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	got, err := consumer.consume(ctx, topic, 0, len(want))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d records instead of %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Offset != int64(i) {
			t.Fatalf("record %d has offset %d", i, got[i].Offset)
		}
		if d := sameRecord(&want[i], &got[i]); d != "" {
			t.Fatalf("record %d, produced as %.200s: %s", i, fmt.Sprintf("%+v", want[i]), d)
		}
	}
	return got
}

func mustDial(t *testing.T) *wireConn {
	t.Helper()
	c, err := dial(underTest.bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// slug makes part of a topic's name.
func slug(name string) string {
	b := []byte(name)
	for i := range b {
		if b[i] == ' ' {
			b[i] = '-'
		}
	}
	return string(b)
}

// endOffset asks for the high watermark of a partition.
func endOffset(c *wireConn, topic string, partition int32) (int64, error) {
	return listOffset(c, topic, partition, -1)
}

// listOffset looks an offset up by its timestamp, or by one of the special ones.
func listOffset(c *wireConn, topic string, partition int32, timestamp int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(7)
	req.ReplicaID = -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(req)
	if err != nil {
		return 0, err
	}
	got := resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	if got.ErrorCode != 0 {
		return 0, fmt.Errorf("list offsets of %s: %w", topic, kafka.ErrorOf(got.ErrorCode))
	}
	return got.Offset, nil
}

// nextOffset is what follows the one batch that was fetched.
func nextOffset(t *testing.T, fetched []byte) int64 {
	t.Helper()
	b, _, err := batch.Next(fetched)
	if err != nil {
		t.Fatal(err)
	}
	return int64(b.NextOffset())
}
