package compat

import (
	"context"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// lifecycleCase is a topic, the records that come to it, each in a batch of its own, and the segments that are left.
type lifecycleCase struct {
	topic   string
	configs map[string]string
	seconds []int // the records' timestamps, counted from now
	bytes   int   // of each
	want    []int64
}

// Each is far from what decides it, more than an hour where time does: no clock is exact, and some machines are slow.
var lifecycleCases = []lifecycleCase{
	{"rolled-by-the-records-own-time", map[string]string{"segment.ms": "6000000"},
		[]int{-30_000, -29_999, -20_000, -19_999, -10_000}, 10, []int64{0, 2, 4}},
	{"rolled-by-append-time", map[string]string{"segment.ms": "6000000", "message.timestamp.type": "LogAppendTime"},
		[]int{-30_000, -29_999, -20_000, -19_999, -10_000}, 10, []int64{0}},
	{"rolled-earlier-by-jitter", map[string]string{"segment.ms": "6000000", "segment.jitter.ms": "1"},
		[]int{-30_000, -20_000, -10_000}, 10, []int64{0, 1, 2}},
	{"rolled-by-size", map[string]string{"segment.bytes": "1048576"}, []int{0, 0, 0, 0, 0}, 400_000, []int64{0, 2, 4}},
	{"rolled-by-the-lag-of-compaction", map[string]string{"cleanup.policy": "compact", "segment.ms": "600000",
		"max.compaction.lag.ms": "60000", "min.compaction.lag.ms": "59999", "min.cleanable.dirty.ratio": "1",
		"message.timestamp.type": "CreateTime"}, []int{3000, 3100, 3200}, 10, []int64{0, 1, 2}},
	{"deleted-by-age", map[string]string{"segment.ms": "6000000", "retention.ms": "25000000"},
		[]int{-30_000, -29_999, -20_000, -19_999, -10_000}, 10, []int64{2, 4}},
	{"deleted-as-a-whole", map[string]string{"retention.ms": "10000"}, []int{-100, -100, -100}, 10, []int64{3}},
	{"deleted-by-size", map[string]string{"segment.bytes": "1048576", "retention.bytes": "1000000"},
		[]int{0, 0, 0, 0, 0}, 400_000, []int64{2, 4}},
	{"deleted-though-compacted", map[string]string{"cleanup.policy": "compact,delete", "segment.ms": "6000000",
		"retention.ms": "25000000", "min.compaction.lag.ms": "999999999"},
		[]int{-30_000, -29_999, -20_000, -19_999, -10_000}, 10, []int64{2, 4}},
	{"compacted-and-never-deleted", map[string]string{"cleanup.policy": "compact", "segment.ms": "6000000",
		"retention.ms": "1000", "retention.bytes": "1", "min.compaction.lag.ms": "999999999"},
		[]int{-30_000, -20_000, -10_000}, 10, []int64{0, 1, 2}},
	{"kept-for-ever", map[string]string{"cleanup.policy": "", "segment.ms": "6000000", "retention.ms": "1000",
		"retention.bytes": "1"}, []int{-30_000, -20_000, -10_000}, 10, []int64{0, 1, 2}},
	{"of-the-future", map[string]string{"retention.ms": "1000", "message.timestamp.after.max.ms": "999999999"},
		[]int{90_000, 90_000}, 10, []int64{0}},
}

// Goal: segments begin and go as they do in Apache Kafka: by the records' time, append time, size, and cleanup policy.
// Method: the same records to topics of both brokers; the names of the segments are looked at from outside.
func TestLogLifecycle(t *testing.T) {
	if *bootstrap != "" {
		t.Skip("for a broker of its own")
	}
	settings := map[string]string{"log.retention.check.interval.ms": "200", "log.cleaner.backoff.ms": "100"}
	t.Run("Spate", func(t *testing.T) { runLifecycle(t, startSpate(t, settings)) })
	settings["log.initial.task.delay.ms"] = "100"
	t.Run("Kafka", func(t *testing.T) { runLifecycle(t, startKafka(t, settings)) })
}

func runLifecycle(t *testing.T, tg *target) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*clientTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(tg.bootstrap), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := adminOf(client)
	now := time.Now()
	for _, k := range lifecycleCases {
		configs := map[string]*string{"file.delete.delay.ms": kadm.StringPtr("0")}
		for name, value := range k.configs {
			configs[name] = &value
		}
		if _, err := admin.CreateTopic(ctx, 1, 1, configs, k.topic); err != nil {
			t.Fatal(k.topic, err)
		}
	}
	if tg.isKafka {
		if err := settle(ctx, admin); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range lifecycleCases {
		for _, seconds := range k.seconds {
			r := &kgo.Record{Topic: k.topic, Key: []byte("k"), Value: make([]byte, k.bytes),
				Timestamp: now.Add(time.Duration(seconds) * time.Second)}
			if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(k.topic, err)
			}
		}
	}
	var got [][]int64
	var starts kadm.ListedOffsets
	_ = waitFor(ctx, func() (bool, error) { // what never happens is told below
		got = got[:0]
		var err error
		starts, err = admin.ListStartOffsets(context.Background()) // Kafka's move when the files have gone
		good := err == nil
		for _, k := range lifecycleCases {
			bases := segmentBases(t, filepath.Join(tg.dir, k.topic+"-0"))
			got = append(got, bases)
			start, _ := starts.Lookup(k.topic, 0)
			good = good && reflect.DeepEqual(bases, k.want) && start.Offset == k.want[0]
		}
		return good, nil
	})
	for i, k := range lifecycleCases {
		start, _ := starts.Lookup(k.topic, 0)
		if !reflect.DeepEqual(got[i], k.want) || start.Offset != k.want[0] {
			t.Errorf("%s: segments %v from offset %d, want %v", k.topic, got[i], start.Offset, k.want)
		}
	}
}

// segmentBases are the base offsets of the segments in a folder.
func segmentBases(t *testing.T, folder string) (bases []int64) {
	t.Helper()
	for _, name := range glob(t, folder, "*.log") {
		base, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bases = append(bases, base)
	}
	return bases
}
