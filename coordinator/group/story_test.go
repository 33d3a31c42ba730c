package group

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
	"spate/metadata/image"
	metadata "spate/metadata/record"
)

// Goal: what a shard makes of each command can be read aloud, across the kinds of groups. Method: stories in testdata,
// run with -rewrite after a change that is meant. After each step a shard made from the log is compared with the live
// one. Sessions are 10 s (classic) and 45 s (consumer); offsets expire after 100 s, looked for every 30 s.
//
//	topic NAME=PARTITIONS...; drop NAME... [merged]; config group=g VALUE   (consumer.session.timeout.ms)
//	join g=G m=M [new=ID] [topics=(a,b)] [type=connect]; sync g=G m=M gen=1 [of=(M,...)]
//	beat g=G m=M gen=1; leave g=G m=M
//	hb g=G m=M epoch=0 [topics=(a,b)] [owned=none]        a consumer's heartbeat; owned=none: it has given all back
//	commit g=G [m=M] [gen=1] [v=9]      a line each: TOPIC PARTITION OFFSET [METADATA]
//	fetch g=G [m=M] [epoch=1]           all
//	delete-offsets g=G                  a line each: TOPIC PARTITION
//	describe g=G; describe-consumer g=G; delete g=G; list [states=(a,b)] [types=(a,b)]
//	advance SECONDS; clock SECONDS (no timer fires); batch MAX; restart; report; long
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &story{world: newWorld()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.lines = nil
			s.onRecords = s.printRecords
			s.step(t, d)
			if complaint := s.compareWithReplay(); complaint != "" {
				t.Errorf("%s: %s", d.Pos, complaint)
			}
			return strings.Join(s.lines, "")
		})
	})
}

type story struct {
	*world
	lines []string
}

func (s *story) printf(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...)+"\n")
}

func (s *story) step(t *testing.T, d *datadriven.TestData) {
	group, member := stringArg(t, d, "g"), stringArg(t, d, "m")
	submit := func(body any) { s.print(s.submit(member, group, body)) }
	switch d.Cmd {
	case "topic":
		for _, arg := range d.CmdArgs {
			s.topic(arg.Key, number(t, arg.Vals[0]))
		}
	case "drop":
		for _, arg := range d.CmdArgs {
			if arg.Key != "merged" {
				s.print(s.drop(arg.Key, !d.HasArg("merged")))
			}
		}
	case "config":
		value := d.CmdArgs[len(d.CmdArgs)-1].Key
		s.change(true, &metadata.Config{ResourceType: int8(image.ResourceGroup), ResourceName: group,
			Name: "consumer.session.timeout.ms", Value: &value})
	case "join":
		submit(s.joinOf(t, d, member))
	case "sync":
		submit(syncOf(t, d, member))
	case "beat":
		submit(classic.Heartbeat{MemberID: member, Generation: int32(intArg(t, d, "gen", -1))})
	case "leave":
		submit(classic.Leave{Members: []classic.Leaver{{MemberID: member}}})
	case "hb":
		submit(heartbeatOf(t, d, member))
	case "commit":
		submit(s.commitOf(t, d, member))
	case "fetch":
		fetch := OffsetFetch{MemberEpoch: int32(intArg(t, d, "epoch", -1)), Fetch: offsets.Fetch{All: true}}
		if d.HasArg("m") {
			fetch.MemberID = &member
		}
		submit(fetch)
	case "delete-offsets":
		submit(OffsetDelete{Delete: offsets.Delete{Topics: topicsOf(t, d.Input)}})
	case "describe":
		submit(Describe{})
	case "describe-consumer":
		submit(DescribeConsumer{})
	case "delete":
		submit(DeleteGroup{})
	case "list":
		s.print(s.submitBare("", List{States: listArg(d, "states"), Types: listArg(d, "types")}))
	default:
		s.stepTime(t, d)
	}
}

func (s *story) stepTime(t *testing.T, d *datadriven.TestData) {
	switch d.Cmd {
	case "advance":
		s.print(s.advance(time.Duration(number(t, d.CmdArgs[0].Key)) * time.Second))
	case "clock": // jumps, and no timer has fired yet
		s.now = s.now.Add(time.Duration(number(t, d.CmdArgs[0].Key)) * time.Second)
	case "batch":
		s.batchMax = number(t, d.CmdArgs[0].Key)
	case "restart":
		s.restart()
	case "report":
		s.printf("%+v", s.shard.Report())
	case "long":
		long := strings.Repeat("x", record.StringBytesMax+1)
		s.print(s.submit("group", long, Describe{}))
		s.print(s.submit("protocol", "g", classic.Join{Protocols: []classic.Protocol{{Name: long}}}))
		s.print(s.submit("instance", "g", classic.Join{InstanceID: &long}))
		s.print(s.submit("regex", "g", consumer.Heartbeat{SubscribedRegex: &long}))
		s.print(
			s.submit(
				"topic",
				"g",
				OffsetCommit{Commit: offsets.Commit{Topics: []offsets.CommitTopic{{Topic: long}}}},
			),
		)
		s.print(s.submit("unknown", "g", 5))
		s.print(s.submitBare("unknown", 5))
	default:
		t.Fatalf("%s: no such step", d.Cmd)
	}
}

func (s *story) joinOf(t *testing.T, d *datadriven.TestData, member string) classic.Join {
	kind := stringArg(t, d, "type")
	if kind == "" {
		kind = "consumer"
	}
	join := classic.Join{MemberID: member, ClientID: "client", ClientHost: "/host", SessionTimeout: 10 * time.Second,
		RebalanceTimeout: 20 * time.Second, ProtocolType: kind, NewMemberID: stringArg(t, d, "new")}
	subscribed := subscription.Subscription{Topics: listArg(d, "topics"), Generation: -1}
	join.Protocols = []classic.Protocol{{Name: "range", Metadata: subscribed.Append(nil)}}
	return join
}

func syncOf(t *testing.T, d *datadriven.TestData, member string) classic.Sync {
	sync := classic.Sync{MemberID: member, Generation: int32(intArg(t, d, "gen", 0))}
	for _, m := range listArg(d, "of") {
		assignment := subscription.Assignment{}
		sync.Assignments = append(
			sync.Assignments,
			classic.MemberAssignment{MemberID: m, Assignment: assignment.Append(nil)},
		)
	}
	return sync
}

func heartbeatOf(t *testing.T, d *datadriven.TestData, member string) consumer.Heartbeat {
	beat := consumer.Heartbeat{MemberID: member, MemberEpoch: int32(intArg(t, d, "epoch", 0)), RebalanceTimeoutMs: -1,
		SubscribedTopics: listArg(d, "topics"), ClientID: "client", ClientHost: "/host", APIVersion: 1}
	if beat.MemberEpoch == 0 {
		beat.RebalanceTimeoutMs = 20_000
	}
	if beat.MemberEpoch == 0 || d.HasArg("owned") {
		beat.Owned = []consumer.TopicPartitions{}
	}
	return beat
}

func (s *story) commitOf(t *testing.T, d *datadriven.TestData, member string) OffsetCommit {
	c := OffsetCommit{
		MemberID:   member,
		Generation: int32(intArg(t, d, "gen", -1)),
		APIVersion: int16(intArg(t, d, "v", 9)),
		Commit:     offsets.Commit{RetentionMs: offsets.NoRetention},
	}
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		p := offsets.CommitPartition{Partition: kafka.PartitionIndex(number(t, words[1])),
			Offset: kafka.Offset(number(t, words[2])), LeaderEpoch: kafka.NoLeaderEpoch}
		if len(words) > 3 {
			p.Metadata = &words[3]
		}
		topic := offsets.CommitTopic{Topic: words[0], Partitions: []offsets.CommitPartition{p}}
		if known := s.img.Topic(words[0]); known != nil {
			topic.TopicID = known.ID
		}
		c.Commit.Topics = append(c.Commit.Topics, topic)
	}
	return c
}

func topicsOf(t *testing.T, input string) []offsets.FetchTopic {
	var topics []offsets.FetchTopic
	for line := range strings.Lines(input) {
		words := strings.Fields(line)
		topics = append(topics, offsets.FetchTopic{Topic: words[0],
			Partitions: []kafka.PartitionIndex{kafka.PartitionIndex(number(t, words[1]))}})
	}
	return topics
}

// printRecords shows records by their kind and what they are about.
func (s *story) printRecords(records []coordinator.Record) {
	for _, r := range records {
		_, kept := r.AppendValue(nil)
		text := fmt.Sprintf("+ %-18s %s", strings.TrimPrefix(fmt.Sprintf("%T", r), "*record."), about(r))
		if !kept {
			text += " deleted"
		}
		s.printf("%s", text)
	}
}

func about(r coordinator.Record) string {
	switch r := r.(type) {
	case *record.OffsetCommit:
		if r.Deleted {
			return fmt.Sprintf("%s %s-%d", r.Group, r.Topic, r.Partition)
		}
		return fmt.Sprintf("%s %s-%d %d", r.Group, r.Topic, r.Partition, r.Offset)
	case *record.Group:
		return fmt.Sprintf("%s generation=%d members=%d", r.Group, r.Generation, len(r.Members))
	case *record.ConsumerGroup:
		return fmt.Sprintf("%s epoch=%d", r.Group, r.Epoch)
	case *record.PartitionMetadata:
		return r.Group
	case *record.Target:
		return fmt.Sprintf("%s epoch=%d", r.Group, r.Epoch)
	case *record.Member:
		return r.Group + " " + r.MemberID
	case *record.TargetMember:
		return r.Group + " " + r.MemberID
	case *record.CurrentMember:
		return fmt.Sprintf("%s %s epoch=%d", r.Group, r.MemberID, r.MemberEpoch)
	}
	return ""
}

// print shows answers.
func (s *story) print(answers []answered) {
	for _, a := range answers {
		text := ""
		switch {
		case a.err != nil:
			text = "refused: " + a.err.Error()
		default:
			text = showBody(a.body)
		}
		if a.who != "" {
			text = a.who + ": " + text
		}
		s.printf("%s", strings.TrimSuffix(text, "\n"))
	}
}

func showBody(body any) string {
	switch b := body.(type) {
	case classic.JoinReply:
		return fmt.Sprintf("joined %s generation=%d leader=%q members=%d as %q", okOr(b.Err), b.Generation, b.Leader,
			len(b.Members), b.MemberID)
	case classic.SyncReply:
		return fmt.Sprintf("synced %s %x", okOr(b.Err), b.Assignment)
	case classic.HeartbeatReply:
		return "heartbeat " + okOr(b.Err)
	case classic.LeaveReply:
		text := "left " + okOr(b.Err)
		for _, m := range b.Members {
			text += " " + okOr(m.Err)
		}
		return text
	case consumer.HeartbeatReply:
		text := fmt.Sprintf("heartbeat %s epoch=%d", okOr(b.Err), b.MemberEpoch)
		if b.Message != nil {
			text += " " + *b.Message
		}
		for _, p := range b.Assignment {
			text += fmt.Sprintf(" t%d:%v", p.TopicID[15], p.Partitions)
		}
		return text
	case offsets.CommitReply:
		return showCommitted("committed", b.Topics)
	case offsets.DeleteReply:
		return showCommitted("deleted", b.Topics)
	case offsets.FetchReply:
		text := "fetched"
		for _, topic := range b.Topics {
			for _, p := range topic.Partitions {
				text += fmt.Sprintf(" %s-%d=%d%s", topic.Topic, p.Partition, p.Offset, p.Metadata)
			}
		}
		return text
	}
	return showAdmin(body)
}

func showAdmin(body any) string {
	switch b := body.(type) {
	case classic.Description:
		text := fmt.Sprintf("%s type=%q protocol=%q", b.State, b.ProtocolType, b.Protocol)
		for _, m := range b.Members {
			text += " " + m.MemberID
		}
		return text
	case consumer.Description:
		text := fmt.Sprintf("%s epoch=%d target=%d %s", b.State, b.GroupEpoch, b.AssignmentEpoch, b.Assignor)
		for _, m := range b.Members {
			text += fmt.Sprintf(" %s@%d", m.MemberID, m.MemberEpoch)
		}
		return text
	case ListReply:
		if len(b.Groups) == 0 {
			return "no groups"
		}
		text := ""
		for _, g := range b.Groups {
			text += fmt.Sprintf("%s %q %s %s\n", g.Group, g.ProtocolType, g.State, g.Type)
		}
		return text
	}
	return "done"
}

func showCommitted(verb string, topics []offsets.CommittedTopic) string {
	for _, topic := range topics {
		for _, p := range topic.Partitions {
			verb += fmt.Sprintf(" %s-%d:%s", topic.Topic, p.Partition, okOr(p.Err))
		}
	}
	return verb
}

func okOr(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

func stringArg(t *testing.T, d *datadriven.TestData, name string) string {
	t.Helper()
	var value string
	d.MaybeScanArgs(t, name, &value)
	return value
}

func intArg(t *testing.T, d *datadriven.TestData, name string, otherwise int) int {
	t.Helper()
	d.MaybeScanArgs(t, name, &otherwise)
	return otherwise
}

func listArg(d *datadriven.TestData, name string) []string {
	at := slices.IndexFunc(d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == name })
	if at < 0 {
		return nil
	}
	return d.CmdArgs[at].Vals
}

func number(t *testing.T, word string) int {
	t.Helper()
	n, err := strconv.Atoi(word)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
