package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"

	"spate/kafka"
)

// The stories drive a Cache and its sessions as fetch requests and answers do, and print what a client would be told.
//
//	cache slots=N                          a new cache
//	clock seconds=N                        time passes
//	full size/partitions...                a full request: opens a session; lines are "topic-partition offset"
//	incremental id=N epoch=N [ids]         lines: "topic-partition offset" to add or change, "forget topic-partition"
//	answer id=N epoch=N                    lines: "topic-partition hw=N start=N bytes=N [failed] [diverging]"
//	list                                   all sessions, by last use
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{now: time.Unix(1000, 0)}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			s.run(t, d)
			return s.out.String()
		})
	})
}

type story struct {
	cache *Cache
	now   time.Time
	out   strings.Builder
	drawn int32
}

func (s *story) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *story) run(t *testing.T, d *datadriven.TestData) {
	switch d.Cmd {
	case "cache":
		var slots int
		d.ScanArgs(t, "slots", &slots)
		s.cache = NewCache(slots)
	case "clock":
		var seconds int
		d.ScanArgs(t, "seconds", &seconds)
		s.now = s.now.Add(time.Duration(seconds) * time.Second)
	case "full":
		s.full(d)
	case "incremental":
		s.incremental(t, d)
	case "answer":
		s.answer(t, d)
	case "list":
		for one := s.cache.oldest; one != nil; one = one.newer {
			s.printf("session %d: %d partitions, expects epoch %d", one.id, one.Size(), one.epoch)
		}
		stats := s.cache.Stats()
		s.printf("%d sessions, %d partitions, %d evictions", stats.Sessions, stats.Partitions, stats.Evictions)
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
}

func (s *story) full(d *datadriven.TestData) {
	lines := lines(d)
	s.drawn += 100
	one := s.cache.Open(s.now, Offer{
		Size: len(lines), UsesTopicIDs: d.HasArg("ids"), Privileged: d.HasArg("follower"), Candidate: s.drawn,
	})
	if one == nil {
		s.printf("no session")
		return
	}
	for _, line := range lines {
		want := parseWant(line)
		one.Put(&want)
	}
	s.printf("session %d", one.ID())
}

func (s *story) incremental(t *testing.T, d *datadriven.TestData) {
	var id, epoch int
	d.ScanArgs(t, "id", &id)
	d.ScanArgs(t, "epoch", &epoch)
	one, err := s.cache.Get(int32(id))
	if err == nil {
		err = one.Begin(int32(epoch), d.HasArg("ids"))
	}
	if err != nil {
		s.printf("%v", err)
		return
	}
	for _, line := range lines(d) {
		if name, ok := strings.CutPrefix(line, "forget "); ok {
			want := parseWant(name + " 0")
			one.Forget(want.Topic, want.TopicID, want.Partition)
			continue
		}
		want := parseWant(line)
		one.Put(&want)
	}
	if one.Size() == 0 {
		s.cache.Remove(one)
		s.printf("the session is empty and closed")
		return
	}
	s.cache.Touch(one, s.now, one.Size())
	for p := one.First(); p != nil; p = p.Next() {
		name := p.Topic + strings.TrimRight(string(p.TopicID[:]), "\x00")
		s.printf("%s-%d from %d", name, p.Index, p.FetchOffset)
	}
}

func (s *story) answer(t *testing.T, d *datadriven.TestData) {
	var id, epoch int
	d.ScanArgs(t, "id", &id)
	d.ScanArgs(t, "epoch", &epoch)
	one, err := s.cache.Get(int32(id))
	if err != nil {
		s.printf("%v", err)
		return
	}
	if !one.Current(int32(epoch)) {
		s.printf("%v", kafka.InvalidFetchSessionEpoch)
		return
	}
	for _, line := range lines(d) {
		name, rest, _ := strings.Cut(line, " ")
		want := parseWant(name + " 0")
		p := one.partitions[key{want.TopicID, string(want.Topic), want.Partition}]
		told := parseTold(t, rest)
		if one.Tell(p, &told) {
			s.printf("%s: mentioned", name)
		} else {
			s.printf("%s: left out", name)
		}
	}
}

func lines(d *datadriven.TestData) []string {
	if d.Input == "" {
		return nil
	}
	return strings.Split(d.Input, "\n")
}

// parseWant reads "topic-partition offset". A topic of one letter in capitals stands for a topic id.
func parseWant(line string) Want {
	name, offset, _ := strings.Cut(line, " ")
	dash := strings.LastIndexByte(name, '-')
	want := Want{BytesMax: 1 << 20, CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch}
	fmt.Sscan(name[dash+1:], &want.Partition)
	fmt.Sscan(offset, &want.FetchOffset)
	if topic := name[:dash]; strings.ToUpper(topic) == topic {
		copy(want.TopicID[:], topic)
	} else {
		want.Topic = []byte(topic)
	}
	return want
}

func parseTold(t *testing.T, text string) Told {
	told := Told{}
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		var n int64
		fmt.Sscan(value, &n)
		switch name {
		case "hw":
			told.HighWatermark = kafka.Offset(n)
		case "start":
			told.LogStartOffset = kafka.Offset(n)
		case "bytes":
			told.RecordsBytes = int(n)
		case "failed":
			told.Failed = true
			told.HighWatermark, told.LogStartOffset = kafka.NoOffset, kafka.NoOffset
		case "diverging":
			told.Diverging = true
		case "redirected":
			told.Redirected = true
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	return told
}

func TestEpochsWrapAroundPastTheReservedOnes(t *testing.T) {
	for from, want := range map[int32]int32{
		InitialEpoch: 1, 1: 2, 1<<31 - 2: 1<<31 - 1, 1<<31 - 1: 1, FinalEpoch: FinalEpoch, -7: FinalEpoch,
	} {
		if got := nextEpoch(from); got != want {
			t.Errorf("after epoch %d comes %d, want %d", from, got, want)
		}
	}
}

func TestIDsArePositiveAndNotInUse(t *testing.T) {
	c := NewCache(10)
	for _, candidate := range []int32{0, -1, 1<<31 - 1, -1 << 31} {
		one := c.Open(time.Unix(0, 0), Offer{Size: 1, Candidate: candidate})
		if one.ID() <= 0 {
			t.Errorf("candidate %d gave the id %d", candidate, one.ID())
		}
	}
	if stats := c.Stats(); stats.Sessions != 4 {
		t.Errorf("two sessions share an id: %+v", stats)
	}
}

// A client may name partitions without end, in many sessions: the partitions of all sessions together are bounded.
func TestPartitionsOfAllSessionsAreBounded(t *testing.T) {
	c := NewCache(1000)
	now := time.Unix(0, 0)
	var last *Session
	for i := range 8 {
		last = c.Open(now, Offer{Size: partitionsMax / 4, Candidate: int32(i + 1)})
		if stats := c.Stats(); stats.Partitions > partitionsMax {
			t.Fatalf("after %d sessions: %+v", i+1, stats)
		}
	}
	if stats := c.Stats(); stats.Sessions != 4 || stats.Evictions != 4 {
		t.Fatalf("%+v", stats)
	}
	c.Touch(last, now, partitionsMax+1)
	if stats := c.Stats(); stats.Sessions != 0 || stats.Partitions != 0 {
		t.Fatalf("a session above the bound stays: %+v", stats)
	}
	if one := c.Open(now, Offer{Size: partitionsMax + 1}); one != nil {
		t.Fatal("a session above the bound is opened")
	}
}

func TestSteadyRequestsDoNotAllocate(t *testing.T) {
	c := NewCache(1)
	now := time.Unix(0, 0)
	one := c.Open(now, Offer{Size: 3})
	topic := []byte("orders")
	for i := range 3 {
		one.Put(&Want{Topic: topic, Partition: kafka.PartitionIndex(i)})
	}
	epoch := int32(1)
	allocs := testing.AllocsPerRun(100, func() {
		if err := one.Begin(epoch, false); err != nil {
			t.Fatal(err)
		}
		want := Want{Topic: topic, Partition: 1, FetchOffset: kafka.Offset(epoch)}
		p := one.Put(&want)
		c.Touch(one, now, one.Size())
		one.Tell(p, &Told{HighWatermark: kafka.Offset(epoch), RecordsBytes: 10})
		epoch++
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a request", allocs)
	}
}

// Whatever is put, forgotten and told, the order holds each partition once, and a partition that just had records is
// last.
func TestOrderHoldsEachPartitionOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := NewCache(1).Open(time.Unix(0, 0), Offer{})
		known := map[kafka.PartitionIndex]bool{}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				i := kafka.PartitionIndex(rapid.IntRange(0, 9).Draw(t, "partition"))
				one.Put(&Want{Partition: i})
				known[i] = true
			},
			"forget": func(t *rapid.T) {
				i := kafka.PartitionIndex(rapid.IntRange(0, 9).Draw(t, "partition"))
				one.Forget(nil, kafka.ZeroUUID, i)
				delete(known, i)
			},
			"tell": func(t *rapid.T) {
				if one.Size() == 0 {
					t.Skip("nothing to tell of")
				}
				p := one.First()
				for range rapid.IntRange(0, one.Size()-1).Draw(t, "skip") {
					p = p.Next()
				}
				if one.Tell(p, &Told{RecordsBytes: 1}); one.last != p {
					t.Fatal("the partition that had records is not last")
				}
			},
			"": func(t *rapid.T) { checkOrder(t, one, known) },
		})
	})
}

func checkOrder(t *rapid.T, one *Session, known map[kafka.PartitionIndex]bool) {
	seen := 0
	var before *Partition
	for p := one.First(); p != nil; p = p.Next() {
		if !known[p.Index] || p.prev != before {
			t.Fatalf("partition %d is out of place", p.Index)
		}
		before = p
		seen++
	}
	if seen != len(known) || one.Size() != len(known) || one.last != before {
		t.Fatalf("%d partitions in order, %d in the session, %d expected", seen, one.Size(), len(known))
	}
}
