package offsets

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"spate/coordinator"
	"spate/coordinator/group/record"
	"spate/kafka"
)

// Goal: the life of committed offsets can be read aloud. Method: stories in testdata, run with -rewrite after a change
// that is meant. The table of a story allows 8 units of metadata and keeps offsets for 100 seconds; times are seconds.
//
//	commit group=g [at=5] [retention=10] [producer=7]   a line each: TOPIC PARTITION OFFSET [epoch=3] [meta=x] [id=1]
//	fetch group=g [all] [stable]                         a line each: TOPIC PARTITION... [id=1]
//	delete group=g [subscribed=(a,b)]                    a line each: TOPIC PARTITION...
//	delete-all group=g
//	expire group=g at=200 [since=50] [subscribed=(a,b)] [never] [max=1]
//	topic-deleted group=g topic=a [id=1] [max=1]
//	marker producer=7 [abort]
//	forget group=g
//	state
//
// Every record that a step makes is applied, as the next of the log.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{table: NewTable(Settings{MetadataMax: 8, Retention: 100 * time.Second})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.step(t, d) })
	})
}

type story struct {
	table *Table
	next  kafka.Offset
}

func (s *story) step(t *testing.T, d *datadriven.TestData) string {
	var group string
	d.MaybeScanArgs(t, "group", &group)
	switch d.Cmd {
	case "commit":
		return s.commit(t, d, group)
	case "fetch":
		f := Fetch{All: d.HasArg("all"), RequireStable: d.HasArg("stable"), Topics: topicsOf(t, d.Input)}
		return showFetched(s.table.Fetch(group, f))
	case "delete":
		records, reply := s.table.Delete(
			group,
			Delete{Topics: topicsOf(t, d.Input)},
			contains(listArg(d, "subscribed")),
		)
		return s.apply(records, kafka.NoProducerID) + showCommitted(reply.Topics)
	case "delete-all":
		return s.apply(s.table.DeleteAll(group), kafka.NoProducerID)
	case "expire":
		return s.expire(t, d, group)
	case "topic-deleted":
		var topic string
		d.ScanArgs(t, "topic", &topic)
		records, more := s.table.TopicDeleted(
			group,
			DeletedTopic{topic, id(intArg(t, d, "id", 0))},
			intArg(t, d, "max", 99),
		)
		return s.apply(records, kafka.NoProducerID) + fmt.Sprintf("more=%v\n", more)
	case "marker":
		s.table.ApplyMarker(kafka.ProducerID(intArg(t, d, "producer", 0)), !d.HasArg("abort"))
		return ""
	case "forget":
		s.table.Forget(group)
		return ""
	case "state":
		return dump(s.table)
	}
	t.Fatalf("%s: no such step", d.Cmd)
	return ""
}

func (s *story) commit(t *testing.T, d *datadriven.TestData, group string) string {
	c := Commit{RetentionMs: NoRetention}
	if d.HasArg("retention") {
		c.RetentionMs = int64(intArg(t, d, "retention", 0)) * 1000
	}
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		p := CommitPartition{
			Partition:   kafka.PartitionIndex(number(t, words[1])),
			Offset:      kafka.Offset(number(t, words[2])),
			LeaderEpoch: kafka.NoLeaderEpoch,
		}
		topic := CommitTopic{Topic: words[0]}
		for _, word := range words[3:] {
			name, value, _ := strings.Cut(word, "=")
			switch name {
			case "epoch":
				p.LeaderEpoch = kafka.LeaderEpoch(number(t, value))
			case "meta":
				p.Metadata = &value
			case "id":
				topic.TopicID = id(number(t, value))
			}
		}
		topic.Partitions = []CommitPartition{p}
		c.Topics = append(c.Topics, topic)
	}
	check := func(_ string, _ kafka.UUID, p kafka.PartitionIndex) error {
		if p == 66 {
			return kafka.StaleMemberEpoch
		}
		return nil
	}
	records, reply, err := s.table.Commit(at(t, d), group, c, check)
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	return s.apply(records, kafka.ProducerID(intArg(t, d, "producer", -1))) + showCommitted(reply.Topics)
}

func (s *story) expire(t *testing.T, d *datadriven.TestData, group string) string {
	rule := Rule{Never: d.HasArg("never"), Since: kafka.NoTimestamp, Subscribes: contains(listArg(d, "subscribed"))}
	if d.HasArg("since") {
		rule.Since = kafka.Timestamp(intArg(t, d, "since", 0) * 1000)
	}
	records, left := s.table.Expire(at(t, d), group, rule, intArg(t, d, "max", 99))
	return s.apply(records, kafka.NoProducerID) + fmt.Sprintf("left=%v\n", left)
}

// apply writes and applies records, as the shard's driver does.
func (s *story) apply(records []coordinator.Record, producer kafka.ProducerID) string {
	var b strings.Builder
	for _, r := range records {
		r := r.(*record.OffsetCommit)
		fmt.Fprintf(&b, "+ %d %s\n", s.next, showRecord(r))
		s.table.Apply(r, coordinator.Place{Offset: s.next, ProducerID: producer})
		s.next++
	}
	return b.String()
}

func showRecord(r *record.OffsetCommit) string {
	if r.Deleted {
		return fmt.Sprintf("%s %s-%d deleted", r.Group, r.Topic, r.Partition)
	}
	text := fmt.Sprintf("%s %s-%d offset=%d epoch=%d meta=%q at=%d", r.Group, r.Topic, r.Partition, r.Offset,
		r.LeaderEpoch, r.Metadata, r.CommitTimestamp)
	if r.ExpireTimestamp != kafka.NoTimestamp {
		text += fmt.Sprintf(" expires=%d", r.ExpireTimestamp)
	}
	if r.TopicID != kafka.ZeroUUID {
		text += fmt.Sprintf(" id=%d", r.TopicID[15])
	}
	return text
}

func showCommitted(topics []CommittedTopic) string {
	var b strings.Builder
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			fmt.Fprintf(&b, "%s-%d: %s\n", topic.Topic, p.Partition, okOr(p.Err))
		}
	}
	return b.String()
}

func showFetched(reply FetchReply) string {
	var b strings.Builder
	for _, topic := range reply.Topics {
		for _, p := range topic.Partitions {
			fmt.Fprintf(
				&b,
				"%s-%d: %d epoch=%d meta=%q %s\n",
				topic.Topic,
				p.Partition,
				p.Offset,
				p.LeaderEpoch,
				p.Metadata,
				okOr(p.Err),
			)
		}
	}
	return b.String()
}

func okOr(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// dump shows all that a table holds.
func dump(t *Table) string {
	var b strings.Builder
	for _, group := range slices.Sorted(t.Groups()) {
		fmt.Fprintf(&b, "%s\n", group)
		for _, o := range t.groups[group].topics {
			for i := range o.entries {
				e := &o.entries[i]
				fmt.Fprintf(&b, "  @%d %s\n", e.at, showRecord(&record.OffsetCommit{Group: group, Topic: o.name,
					Partition: e.partition, Offset: e.offset, LeaderEpoch: e.epoch, Metadata: e.metadata(),
					CommitTimestamp: e.committed, ExpireTimestamp: e.expires(), TopicID: o.topicID(e)}))
			}
		}
		for _, k := range t.pending.keys(group) {
			for _, producer := range t.pending.open[k] {
				p := t.pending.producers[producer][k]
				fmt.Fprintf(&b, "  @%d pending for %d: %s\n", p.at, producer, showRecord(p.record))
			}
		}
	}
	fmt.Fprintf(&b, "%d committed\n", t.Count())
	return b.String()
}

func topicsOf(t *testing.T, input string) []FetchTopic {
	var topics []FetchTopic
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		topic := FetchTopic{Topic: words[0]}
		for _, word := range words[1:] {
			if value, ok := strings.CutPrefix(word, "id="); ok {
				topic.TopicID = id(number(t, value))
				continue
			}
			topic.Partitions = append(topic.Partitions, kafka.PartitionIndex(number(t, word)))
		}
		topics = append(topics, topic)
	}
	return topics
}

func at(t *testing.T, d *datadriven.TestData) time.Time {
	return time.Unix(int64(intArg(t, d, "at", 0)), 0)
}

func id(n int) kafka.UUID { return kafka.UUID{15: byte(n)} }

func number(t *testing.T, word string) int {
	t.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func intArg(t *testing.T, d *datadriven.TestData, name string, otherwise int) int {
	t.Helper()
	d.MaybeScanArgs(t, name, &otherwise)
	return otherwise
}

func listArg(d *datadriven.TestData, name string) []string {
	for _, arg := range d.CmdArgs {
		if arg.Key == name {
			return arg.Vals
		}
	}
	return nil
}

func contains(list []string) func(string) bool {
	return func(topic string) bool { return slices.Contains(list, topic) }
}
