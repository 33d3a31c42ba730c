package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/task"
)

const (
	compactedTopic = "latest"
	compactedKeys  = 300
	compactGroups  = 8
	groupOffsets   = 60 // offsets that each group commits at a time
	// compactedPerRound is some segments of the topic: a round lasts until so many records more are acknowledged.
	compactedPerRound = 6000
)

// latest is the newest acknowledged number of each key.
type latest struct {
	mu    sync.Mutex
	acked map[string]int64
	count int
}

func (l *latest) note(key string, n int64) {
	l.mu.Lock()
	l.acked[key] = max(l.acked[key], n)
	l.count++
	l.mu.Unlock()
}

func (l *latest) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *latest) all() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.acked)
}

// Goal: kill -9 while logs are compacted loses no key's last value and no group's offsets.
func TestKillNineWhileCompacting(t *testing.T) {
	compactThrough(t, t.TempDir(), killNine)
}

// compactThrough has a producer and committing groups live through faults, while small segments are compacted all the
// time. Each value is a number that rises: the last one read of a key must not be below the last one acknowledged.
func compactThrough(t *testing.T, dir string, fault Fault) {
	t.Helper()
	n, err := startNode(dir, map[string]string{ // which cleans early and often
		"log.cleaner.backoff.ms": "20", "log.cleaner.min.cleanable.ratio": "0.01", "log.segment.bytes": "1048576",
		"offsets.topic.segment.bytes": "1048576", "offsets.topic.num.partitions": "1",
		"log.segment.delete.delay.ms": "100",
	})
	must(t, err)
	defer func() { n.Kill() }()
	defer func() {
		if t.Failed() {
			t.Log(n.LogTail())
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Bootstrap), kgo.DefaultProduceTopic(compactedTopic),
		kgo.MaxBufferedRecords(300), kgo.ProducerBatchMaxBytes(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	configs := map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}
	if _, err := admin.CreateTopic(ctx, 1, 1, configs, compactedTopic); err != nil {
		t.Fatal(err)
	}
	values, offsets := &latest{acked: map[string]int64{}}, &latest{acked: map[string]int64{}}
	var load task.Group
	load.Go("produce", func() { produceLatest(ctx, client, values) })
	load.Go("commit", func() { commitLatest(ctx, admin, offsets) })
	must(t, Plan{Rounds: *rounds, Out: os.Stdout}.rounds(n, rand.New(rand.NewPCG(*seed, 7)), course{
		work: func() error {
			wantValues, wantCommits := values.total()+compactedPerRound, offsets.total()+25*groupOffsets
			return n.until(func() bool {
				return values.total() >= wantValues && offsets.total() >= wantCommits
			}, func() string { return fmt.Sprintf("no progress (%d, %d)", values.total(), offsets.total()) })
		},
		fault: fault,
		told: func() string {
			return fmt.Sprintf("acknowledged=%d commits=%d", values.total(), offsets.total())
		},
	}))
	cancel()
	load.Wait()
	client.Close() // else it may yet hear of what it has sent, while that is compared
	must(t, fault(n.Broker))
	must(t, n.start())
	checkLatest(t, n.Bootstrap, values, offsets)
	must(t, n.untilCompacted(dir, compactedTopic, "__consumer_offsets"))
	must(t, n.Stop())
	must(t, verifyFiles(dir))
	logs, err := filepath.Glob(filepath.Join(dir, compactedTopic+"-0", "*.log"))
	t.Logf("%d records acknowledged, %d offsets committed; %d segments are left, %v",
		values.total(), offsets.total(), len(logs), err)
}

// untilCompacted waits for the marks of cleanings of all the topics.
func (n *node) untilCompacted(dir string, topics ...string) error {
	missing := func() string {
		text, err := os.ReadFile(filepath.Join(dir, "cleaner-offset-checkpoint"))
		for _, topic := range topics {
			if !regexp.MustCompile(`(?m)^` + topic + ` \d+ [1-9]`).Match(text) {
				return fmt.Sprintf("%s was never compacted (%q, %v)", topic, text, err)
			}
		}
		return ""
	}
	return n.until(func() bool { return missing() == "" }, missing)
}

func produceLatest(ctx context.Context, client *kgo.Client, l *latest) {
	for n := int64(1); ctx.Err() == nil; n++ {
		key := fmt.Sprintf("key-%d", n%compactedKeys)
		value := fmt.Sprintf("%d %s", n, strings.Repeat("v", 400))
		client.Produce(ctx, &kgo.Record{Key: []byte(key), Value: []byte(value)}, func(_ *kgo.Record, err error) {
			if err == nil {
				l.note(key, n)
			}
		})
	}
}

func commitLatest(ctx context.Context, admin *kadm.Client, l *latest) {
	for n := int64(1); ctx.Err() == nil; n++ {
		group := fmt.Sprintf("group-%d", n%compactGroups)
		var o kadm.Offsets
		for p := range int32(groupOffsets) {
			o.Add(kadm.Offset{
				Topic: compactedTopic, Partition: p, At: n, LeaderEpoch: -1, Metadata: strings.Repeat("m", 100),
			})
		}
		answers, err := admin.CommitOffsets(ctx, group, o)
		if err != nil {
			continue
		}
		answers.Each(func(r kadm.OffsetResponse) {
			if r.Err == nil {
				l.note(fmt.Sprint(group, " ", r.Partition), n)
			}
		})
	}
}

// checkLatest reads the topic from its start, and all groups' offsets.
func checkLatest(t *testing.T, address string, values, offsets *latest) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), roundMax)
	defer cancel()
	wanted, wantedOffsets := values.all(), offsets.all()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(compactedTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	got := map[string]int64{}
	behind := func() (missing []string) {
		for key, want := range wanted {
			if got[key] < want {
				missing = append(missing, fmt.Sprintf("%s is %d, not %d", key, got[key], want))
			}
		}
		return missing
	}
	for len(behind()) > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			number, _, _ := strings.Cut(string(r.Value), " ")
			got[string(r.Key)], _ = strconv.ParseInt(number, 10, 64)
		})
	}
	if lost := behind(); len(lost) > 0 || len(wanted) != compactedKeys {
		t.Errorf("%d of %d keys are behind: %v", len(lost), len(wanted), lost)
	}
	for n := range compactGroups {
		group := fmt.Sprintf("group-%d", n)
		found, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(groupOffsets) {
			o, _ := found.Lookup(compactedTopic, p)
			if want := wantedOffsets[fmt.Sprint(group, " ", p)]; o.At < want {
				t.Errorf("the offset of %s, partition %d, is %d, not %d", group, p, o.At, want)
			}
		}
	}
}
