package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/api"
	"spate/coordinator"
	"spate/coordinator/group"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/coordinator/runtime"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/netpoll"
)

// fakeGroups are coordinators that answer as a test says.
type fakeGroups struct {
	led      []kafka.PartitionIndex
	commands []any // that have come
	answer   func(partition kafka.PartitionIndex, command any) (any, error)
	held     []func() // answers that wait, while hold is true
	hold     bool
}

func (g *fakeGroups) Submit(_ string, command any, done runtime.Done) { g.SubmitTo(-1, command, done) }

func (g *fakeGroups) SubmitTo(partition kafka.PartitionIndex, command any, done runtime.Done) {
	g.commands = append(g.commands, command)
	give := func() { done.Done(g.answer(partition, command)) }
	if g.hold {
		g.held = append(g.held, give)
		return
	}
	give()
}

func (g *fakeGroups) Led() []kafka.PartitionIndex              { return g.led }
func (g *fakeGroups) PartitionFor(string) kafka.PartitionIndex { return 0 }

// keepingConn is a stubConn that keeps what is sent.
type keepingConn struct {
	stubConn
	frames map[netpoll.Ticket][]byte
}

func (c *keepingConn) Complete(t netpoll.Ticket, r *netpoll.Response) {
	if _, twice := c.frames[t]; twice {
		panic("a ticket is completed twice")
	}
	c.frames[t] = bytes.Clone(r.Pieces[0].Bytes)
	c.stubConn.Complete(t, r)
}

func (c *keepingConn) RemoteAddr() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.7:4711") }

// groupDesk is a node whose coordinators are fake, and a client of it.
type groupDesk struct {
	t      *testing.T
	node   *node
	conn   *keepingConn
	groups *fakeGroups
}

func newGroupDesk(t *testing.T) *groupDesk {
	n := startNode(t)
	d := &groupDesk{t: t, node: n, groups: &fakeGroups{}}
	d.conn = &keepingConn{stubConn: *newStubConn(), frames: map[netpoll.Ticket][]byte{}}
	n.node.Groups = d.groups
	return d
}

// begin serves a request; the answer may come later.
func (d *groupDesk) begin(r kmsg.Request) netpoll.Ticket {
	d.t.Helper()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("client")).AppendRequest(nil, r, 7)[4:]
	header, body, err := wire.ParseHeader(frame)
	if err != nil {
		d.t.Fatal(err)
	}
	request, err := wire.DecodeRequest(header.Key, header.Version, body)
	if err != nil {
		d.t.Fatal(err)
	}
	c := api.Context{
		Node: d.node.node, Conn: d.conn, Pending: new(api.Pending), Header: header, Body: body, BodyBytes: len(body),
		Received: time.Now(), Ticket: d.conn.Reserve(),
	}
	if err := c.Respond(context.Background(), api.HandlerOf(header.Key), request); err != nil {
		d.t.Fatal(err)
	}
	clear(frame) // what the handler keeps must not be a view of it
	return c.Ticket
}

// answerTo reads the answer to a request.
func (d *groupDesk) answerTo(ticket netpoll.Ticket, r kmsg.Request) kmsg.Response {
	d.t.Helper()
	frame, sent := d.conn.frames[ticket]
	if !sent {
		d.t.Fatalf("no answer to %T", r)
	}
	header := wire.AppendResponseHeader(nil, r.Key(), r.GetVersion(), 7)
	response := r.ResponseKind()
	if err := response.ReadFrom(frame[4+len(header):]); err != nil {
		d.t.Fatal(err)
	}
	return response
}

func (d *groupDesk) ask(r kmsg.Request) kmsg.Response {
	d.t.Helper()
	return d.answerTo(d.begin(r), r)
}

// always gives every command the same answer.
func (d *groupDesk) always(body any, err error) {
	d.groups.answer = func(kafka.PartitionIndex, any) (any, error) { return body, err }
}

// command is the only one that has come since the last call.
func (d *groupDesk) command() any {
	d.t.Helper()
	if len(d.groups.commands) != 1 {
		d.t.Fatalf("%d commands", len(d.groups.commands))
	}
	c := d.groups.commands[0]
	d.groups.commands = nil
	return c
}

func text(s string) *string { return &s }

// Goal: what a version says, and what it leaves out, reaches the coordinator. Method: requests of several versions and
// the commands that they become; the frame is wiped before the command is looked at.
func TestGroupRequestsBecomeCommands(t *testing.T) {
	d := newGroupDesk(t)
	id := d.node.createTopic("orders", 2)
	d.always(nil, kafka.NotCoordinator)
	join := func(version int16) *kmsg.JoinGroupRequest {
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version, r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = version, "g", 6000, 9000
		r.MemberID, r.ProtocolType, r.InstanceID, r.Reason = "m", "consumer", text("one"), text("because")
		r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("what")}}
		return r
	}
	joined := func(change func(*classic.Join)) group.Command {
		j := classic.Join{
			MemberID: "m", ClientID: "client", ClientHost: "/192.0.2.7", SessionTimeout: 6 * time.Second,
			RebalanceTimeout: 9 * time.Second, ProtocolType: "consumer",
			Protocols: []classic.Protocol{{Name: "range", Metadata: []byte("what")}},
		}
		change(&j)
		return group.Command{Group: "g", Body: j}
	}
	commit := func(version int16) *kmsg.OffsetCommitRequest {
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Version, r.Group, r.Generation, r.MemberID, r.InstanceID = version, "g", 3, "m", text("one")
		r.RetentionTimeMillis = 5000
		one := kmsg.OffsetCommitRequestTopicPartition{Partition: 1, Offset: 8, LeaderEpoch: 4, Metadata: text("x")}
		r.Topics = []kmsg.OffsetCommitRequestTopic{{
			Topic: "orders", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 2}, one},
		}}
		return r
	}
	committed := func(c group.OffsetCommit, retention int64, epoch kafka.LeaderEpoch) group.Command {
		c.MemberID, c.Generation = "m", 3
		c.Commit = offsets.Commit{RetentionMs: retention, Topics: []offsets.CommitTopic{{
			Topic: "orders", TopicID: id,
			Partitions: []offsets.CommitPartition{{Partition: 1, Offset: 8, LeaderEpoch: epoch, Metadata: text("x")}},
		}}}
		return group.Command{Group: "g", Body: c}
	}
	leave := kmsg.LeaveGroupRequest{Group: "g", MemberID: "m", Members: []kmsg.LeaveGroupRequestMember{
		{MemberID: "m", InstanceID: text("one"), Reason: text("done")}, {MemberID: "n"},
	}}
	leaving := func(version int16) *kmsg.LeaveGroupRequest { l := leave; l.Version = version; return &l }
	sync := func(version int16) *kmsg.SyncGroupRequest {
		return &kmsg.SyncGroupRequest{
			Version: version, Group: "g", Generation: 3, MemberID: "m", InstanceID: text("one"),
			ProtocolType: text("consumer"), Protocol: text("range"),
			GroupAssignment: []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "m", MemberAssignment: []byte("that")}},
		}
	}
	assigned := []classic.MemberAssignment{{MemberID: "m", Assignment: []byte("that")}}
	for _, c := range []struct {
		request kmsg.Request
		want    any
	}{
		{join(0), joined(func(j *classic.Join) { j.RebalanceTimeout = 6 * time.Second })},
		{join(3), joined(func(*classic.Join) {})},
		{join(4), joined(func(j *classic.Join) { j.NeedsKnownMember = true })},
		{join(5), joined(func(j *classic.Join) { j.NeedsKnownMember, j.InstanceID = true, text("one") })},
		{join(9), joined(func(j *classic.Join) {
			j.NeedsKnownMember, j.SkipsAssignment, j.InstanceID, j.Reason = true, true, text("one"), "because"
		})},
		{sync(0), group.Command{Group: "g", Body: classic.Sync{MemberID: "m", Generation: 3, Assignments: assigned}}},
		{sync(5), group.Command{Group: "g", Body: classic.Sync{
			MemberID: "m", Generation: 3, InstanceID: text("one"),
			ProtocolType: text("consumer"), Protocol: text("range"), Assignments: assigned,
		}}},
		{&kmsg.HeartbeatRequest{Version: 4, Group: "g", Generation: 3, MemberID: "m", InstanceID: text("one")},
			group.Command{Group: "g", Body: classic.Heartbeat{MemberID: "m", InstanceID: text("one"), Generation: 3}}},
		{leaving(2), group.Command{Group: "g", Body: classic.Leave{Members: []classic.Leaver{{MemberID: "m"}}}}},
		{leaving(3), group.Command{Group: "g", Body: classic.Leave{Members: []classic.Leaver{
			{MemberID: "m", InstanceID: text("one")}, {MemberID: "n"},
		}}}},
		{leaving(5), group.Command{Group: "g", Body: classic.Leave{Members: []classic.Leaver{
			{MemberID: "m", InstanceID: text("one"), Reason: text("done")}, {MemberID: "n"},
		}}}},
		{commit(2), committed(group.OffsetCommit{APIVersion: 2}, 5000, -1)},
		{commit(5), committed(group.OffsetCommit{APIVersion: 5}, -1, -1)},
		{commit(6), committed(group.OffsetCommit{APIVersion: 6}, -1, 4)},
		{commit(9), committed(group.OffsetCommit{APIVersion: 9, InstanceID: text("one")}, -1, 4)},
		{commit(10), committed(group.OffsetCommit{APIVersion: 10, InstanceID: text("one")}, -1, 4)},
		{&kmsg.ConsumerGroupHeartbeatRequest{
			Version: 1, Group: "g", MemberID: "m", MemberEpoch: 3, InstanceID: text("one"), RackID: text("r"),
			RebalanceTimeoutMillis: -1, SubscribedTopicNames: []string{"orders"}, SubscribedTopicRegex: text("o.*"),
			ServerAssignor: text("range"),
			Topics:         []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: id, Partitions: []int32{0, 1}}},
		}, group.Command{Group: "g", Body: consumer.Heartbeat{
			MemberID: "m", MemberEpoch: 3, InstanceID: text("one"), RackID: text("r"), RebalanceTimeoutMs: -1,
			SubscribedTopics: []string{"orders"}, SubscribedRegex: text("o.*"), ServerAssignor: text("range"),
			Owned:    []consumer.TopicPartitions{{TopicID: id, Partitions: []int32{0, 1}}},
			ClientID: "client", ClientHost: "/192.0.2.7", APIVersion: 1,
		}}},
		{&kmsg.ConsumerGroupHeartbeatRequest{Version: 0, Group: "g", MemberID: "m", RebalanceTimeoutMillis: 5},
			group.Command{Group: "g", Body: consumer.Heartbeat{
				MemberID: "m", RebalanceTimeoutMs: 5, ClientID: "client", ClientHost: "/192.0.2.7",
			}}},
	} {
		d.begin(c.request)
		if diff := cmp.Diff(c.want, d.command()); diff != "" {
			t.Errorf("%T v%d: %s", c.request, c.request.GetVersion(), diff)
		}
	}
}

// Goal: new members get ids like those of Kafka, each another one. Method: the ids of some joins.
func TestNewMembersGetFreshIDs(t *testing.T) {
	d := newGroupDesk(t)
	d.always(nil, kafka.NotCoordinator)
	seen := map[string]bool{}
	for range 20 {
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version, r.Group = 9, "g"
		d.begin(r)
		id := d.command().(group.Command).Body.(classic.Join).NewMemberID
		random, ok := strings.CutPrefix(id, "client-")
		if seen[id] || !ok || len(random) != 36 || random[8] != '-' || random[13:15] != "-4" || random[23] != '-' {
			t.Fatalf("%q", id)
		}
		r.InstanceID = text("one")
		d.begin(r)
		static := d.command().(group.Command).Body.(classic.Join).NewMemberID
		if seen[static] || !strings.HasPrefix(static, "one-") {
			t.Fatalf("%q", static)
		}
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.Group = "g"
		d.begin(beat)
		made := d.command().(group.Command).Body.(consumer.Heartbeat).NewMemberID
		if _, err := kafka.ParseUUID(made); err != nil || seen[made] {
			t.Fatalf("%q: %v", made, err)
		}
		seen[id], seen[static], seen[made] = true, true, true
	}
}

// Goal: where some of the coordinators that a question goes to do not answer, the others' answers stand, except in a
// list, which would look complete. Method: answers made up, group by group and partition by partition.
func TestPartialAnswers(t *testing.T) {
	d := newGroupDesk(t)
	byGroup := func(good any) {
		d.groups.answer = func(_ kafka.PartitionIndex, command any) (any, error) {
			switch command.(group.Command).Group {
			case "loading":
				return nil, kafka.CoordinatorLoadInProgress
			case "refused":
				return nil, coordinator.Refuse(kafka.GroupIDNotFound, "Not this one.")
			}
			return good, nil
		}
	}
	ids := []string{"good", "loading", "refused", "good"}
	codes := func(response kmsg.Response) string {
		var codes []string
		switch r := response.(type) {
		case *kmsg.DescribeGroupsResponse:
			for _, g := range r.Groups {
				codes = append(codes, fmt.Sprint(g.Group, " ", g.ErrorCode, " ", g.State))
			}
		case *kmsg.ConsumerGroupDescribeResponse:
			for _, g := range r.Groups {
				codes = append(codes, fmt.Sprint(g.Group, " ", g.ErrorCode, " ", g.State))
			}
		case *kmsg.DeleteGroupsResponse:
			for _, g := range r.Groups {
				codes = append(codes, fmt.Sprint(g.Group, " ", g.ErrorCode))
			}
		case *kmsg.OffsetFetchResponse:
			for _, g := range r.Groups {
				codes = append(codes, fmt.Sprint(g.Group, " ", g.ErrorCode, " ", len(g.Topics)))
			}
		case *kmsg.ListGroupsResponse:
			codes = append(codes, fmt.Sprint(r.ErrorCode))
			for _, g := range r.Groups {
				codes = append(codes, g.Group)
			}
		}
		return strings.Join(codes, ", ")
	}
	expect := func(name string, request kmsg.Request, want string) {
		t.Helper()
		if got := codes(d.ask(request)); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	byGroup(classic.Description{State: classic.Stable})
	expect("DescribeGroups", &kmsg.DescribeGroupsRequest{Version: 6, Groups: ids},
		"good 0 Stable, loading 14 , refused 69 Dead, good 0 Stable")
	expect("DescribeGroups", &kmsg.DescribeGroupsRequest{Version: 5, Groups: ids},
		"good 0 Stable, loading 14 , refused 0 Dead, good 0 Stable")
	byGroup(consumer.Description{State: consumer.Assigning})
	expect("ConsumerGroupDescribe", &kmsg.ConsumerGroupDescribeRequest{Version: 1, Groups: ids},
		"good 0 Assigning, loading 14 , refused 69 , good 0 Assigning")
	byGroup(group.DeleteGroupReply{})
	expect("DeleteGroups", &kmsg.DeleteGroupsRequest{Version: 2, Groups: ids}, "good 0, loading 14, refused 69")
	byGroup(offsets.FetchReply{Topics: []offsets.FetchedTopic{{Topic: "orders"}}})
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version = 9
	for _, id := range ids {
		fetch.Groups = append(fetch.Groups, kmsg.OffsetFetchRequestGroup{Group: id, MemberEpoch: -1})
	}
	expect("OffsetFetch", fetch, "good 0 1, loading 14 0, refused 69 0, good 0 1")

	d.groups.led = []kafka.PartitionIndex{3, 5, 8}
	list := kmsg.NewPtrListGroupsRequest()
	failing := kafka.NotCoordinator
	d.groups.answer = func(p kafka.PartitionIndex, _ any) (any, error) {
		if p == 5 {
			return nil, failing
		}
		return group.ListReply{Groups: []group.Listed{{Group: fmt.Sprint("of ", p)}}}, nil
	}
	expect("ListGroups while a partition moves", list, "0, of 3, of 8")
	failing = kafka.CoordinatorLoadInProgress
	expect("ListGroups while a partition loads", list, "14")
	d.groups.led = nil
	expect("ListGroups of nobody", list, "0")
}

// Goal: answers may come late, in any order, from any goroutine, once for each request. Method: coordinators that hold
// their answers, which then come from goroutines at once, last first.
func TestAnswersComeLaterFromAnywhere(t *testing.T) {
	d := newGroupDesk(t)
	d.groups.hold = true
	d.groups.answer = func(_ kafka.PartitionIndex, command any) (any, error) {
		return classic.Description{ProtocolType: command.(group.Command).Group}, nil
	}
	var ids []string
	for i := range 200 {
		ids = append(ids, fmt.Sprint("group ", i))
	}
	request := &kmsg.DescribeGroupsRequest{Version: 5, Groups: ids}
	ticket := d.begin(request)
	if len(d.groups.held) != len(ids) || len(d.conn.frames) != 0 {
		t.Fatal(len(d.groups.held), len(d.conn.frames))
	}
	slices.Reverse(d.groups.held)
	var done sync.WaitGroup
	for _, give := range d.groups.held {
		done.Go(give)
	}
	done.Wait()
	for i, g := range d.answerTo(ticket, request).(*kmsg.DescribeGroupsResponse).Groups {
		if g.Group != ids[i] || g.ProtocolType != ids[i] {
			t.Fatalf("%d: %+v", i, g)
		}
	}
}

// Goal: a request that waits for a coordinator costs a bounded amount of memory, all of them together too. Method:
// JoinGroup requests whose answers are held, until one is told to come again; when all have been answered there is
// room again.
func TestWaitingRequestsAreBounded(t *testing.T) {
	d := newGroupDesk(t)
	d.groups.hold = true
	d.always(classic.JoinReply{Generation: 1, MemberID: "m"}, nil)
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.MemberID = 5, "g", "m"
	r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, 32<<20)}}
	full := false
	for range 40 {
		ticket := d.begin(r)
		d.groups.commands = nil // what the test keeps must not count
		if _, answered := d.conn.frames[ticket]; answered {
			full = true
			code := d.answerTo(ticket, r).(*kmsg.JoinGroupResponse).ErrorCode
			if code != kafka.CoordinatorLoadInProgress.Code {
				t.Fatal(code)
			}
			break
		}
	}
	if waiting := len(d.groups.held); !full || waiting < 10 || waiting > 17 {
		t.Fatal(full, waiting)
	}
	many := &kmsg.DescribeGroupsRequest{Version: 5}
	for range 1100 {
		many.Groups = append(many.Groups, strings.Repeat("g", 1<<15-1))
	}
	for _, g := range d.ask(many).(*kmsg.DescribeGroupsResponse).Groups {
		if g.ErrorCode != kafka.CoordinatorLoadInProgress.Code {
			t.Fatal(g)
		}
	}
	for _, give := range d.groups.held {
		give()
	}
	d.groups.held = nil
	if ticket := d.begin(r); len(d.groups.held) != 1 {
		t.Fatal(ticket)
	}
	d.groups.held[0]()
}

// Goal: errors that Kafka turns into others on their way out are turned here too.
func TestErrorsOnTheirWayOut(t *testing.T) {
	d := newGroupDesk(t)
	d.node.createTopic("orders", 1)
	beat := &kmsg.HeartbeatRequest{Version: 4, Group: "g"}
	commit := &kmsg.OffsetCommitRequest{Version: 8, Group: "g", Topics: []kmsg.OffsetCommitRequestTopic{
		{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0}, {Partition: 1}}},
	}}
	leave := &kmsg.LeaveGroupRequest{Version: 4, Group: "g", Members: []kmsg.LeaveGroupRequestMember{{MemberID: "m"}}}
	for _, c := range []struct {
		name    string
		err     error
		request kmsg.Request
		want    string
	}{
		{"a heartbeat while the coordinator loads is well", kafka.CoordinatorLoadInProgress, beat, `"ErrorCode":0`},
		{"other errors of a heartbeat are told", kafka.NotCoordinator, beat, `"ErrorCode":16`},
		{"records that do not fit into a batch", kafka.RecordListTooLarge, beat, `"ErrorCode":-1`},
		{"an error that is not the protocol's", errors.New("disk on fire"), beat, `"ErrorCode":-1`},
		{"a wrapped one", fmt.Errorf("why: %w", kafka.RebalanceInProgress), beat, `"ErrorCode":27`},
		{"a commit spreads it over what was asked about", kafka.NotCoordinator, commit,
			`"Partitions":[{"Partition":0,"ErrorCode":16,"UnknownTags":{}},{"Partition":1,"ErrorCode":3,"UnknownTags":{}}]`},
		{"no group to leave is said of each member", kafka.UnknownMemberID, leave,
			`"ErrorCode":0,"Members":[{"MemberID":"m","InstanceID":null,"ErrorCode":25,`},
		{"no coordinator to leave is said at the top", kafka.NotCoordinator, leave, `"ErrorCode":16,"Members":null`},
	} {
		d.always(nil, c.err)
		got, err := json.Marshal(d.ask(c.request))
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s: %s, %v", c.name, got, err)
		}
	}
}

// Goal: a client that goes away while its request waits harms nobody. Method: members that join a real group and hang
// up; the broker serves on, ends in time, and the group loses them.
func TestMembersThatHangUpWhileTheyJoin(t *testing.T) {
	n := startNode(t, with("group.initial.rebalance.delay.ms=60000", "offsets.topic.num.partitions=1"))
	first := n.client()
	first.findCoordinator("g")
	for i := range 20 {
		c := n.client()
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version, r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 3, "g", 6000, 60_000
		r.ProtocolType = "consumer"
		r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0}}}
		c.send(r)
		if i%2 == 0 {
			_ = c.conn.Close()
		}
	}
	eventually(t, "the members have joined", func() bool {
		r := &kmsg.DescribeGroupsRequest{Version: 5, Groups: []string{"g"}}
		g := ask[*kmsg.DescribeGroupsResponse](first, r).Groups[0]
		return len(g.Members) == 20 && g.State == "PreparingRebalance"
	})
	n.stillServes()
	begin := time.Now()
	n.stop()
	if took := time.Since(begin); took > patience {
		t.Errorf("the end took %v: the members that wait held it up", took)
	}
}

// Goal: requests about groups that nobody would send do no harm. Method: they are sent to a real broker, which answers
// each with an error or closes the connection, and serves on.
func TestHostileGroupRequests(t *testing.T) {
	n := startNode(t, with("offsets.topic.num.partitions=3"))
	n.createTopic("orders", 2)
	n.client().findCoordinator("g")
	long := strings.Repeat("g", 1<<15-1)
	join := func(change func(*kmsg.JoinGroupRequest)) kmsg.Request {
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version, r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 4, "g", 6000, 6000
		r.ProtocolType, r.Protocols = "consumer", []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
		change(r)
		return r
	}
	var partitions []kmsg.OffsetCommitRequestTopicPartition
	for range 20_000 {
		partitions = append(partitions, kmsg.OffsetCommitRequestTopicPartition{Metadata: &long})
	}
	manyGroups := make([]string, 20_000)
	for i := range manyGroups {
		manyGroups[i] = fmt.Sprint(sha256.Sum256([]byte{byte(i), byte(i >> 8)}))[:20]
	}
	for _, c := range []struct {
		name    string
		request kmsg.Request
	}{
		{"a group id as long as can be", join(func(r *kmsg.JoinGroupRequest) { r.Group = long })},
		{"a group id of bytes that are no text", join(func(r *kmsg.JoinGroupRequest) { r.Group = "\xff\x00\xfe" })},
		{"negative timeouts", join(func(r *kmsg.JoinGroupRequest) {
			r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = -5, -1<<31
		})},
		{"a negative rebalance timeout", join(func(r *kmsg.JoinGroupRequest) { r.RebalanceTimeoutMillis = -1 << 31 })},
		{"a thousand protocols", join(func(r *kmsg.JoinGroupRequest) {
			r.Protocols = make([]kmsg.JoinGroupRequestProtocol, 1000)
		})},
		{"generations that cannot be", &kmsg.HeartbeatRequest{Version: 4, Group: "g", Generation: -1 << 31}},
		{"20,000 partitions of 32 KiB each", &kmsg.OffsetCommitRequest{
			Version: 8, Group: "g", Generation: -1,
			Topics: []kmsg.OffsetCommitRequestTopic{{Topic: "orders", Partitions: partitions[:1000]}},
		}},
		{"many partitions that do not exist", &kmsg.OffsetCommitRequest{
			Version: 8, Group: "g", Generation: -1,
			Topics: []kmsg.OffsetCommitRequestTopic{{
				Topic: "nothing", Partitions: make([]kmsg.OffsetCommitRequestTopicPartition, 20_000),
			}},
		}},
		{"negative partitions", &kmsg.OffsetFetchRequest{
			Version: 7, Group: "g",
			Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "orders", Partitions: []int32{-1 << 31}}},
		}},
		{"20,000 groups to describe", &kmsg.DescribeGroupsRequest{Version: 5, Groups: manyGroups}},
		{"20,000 groups to delete", &kmsg.DeleteGroupsRequest{Version: 2, Groups: manyGroups}},
		{"20,000 groups to find", &kmsg.FindCoordinatorRequest{Version: 4, CoordinatorKeys: manyGroups}},
		{"a member that owns what is not", &kmsg.ConsumerGroupHeartbeatRequest{
			Version: 1, Group: "h", MemberID: "m", MemberEpoch: 1<<31 - 1,
			Topics: []kmsg.ConsumerGroupHeartbeatRequestTopic{{Partitions: []int32{-1, 1<<31 - 1}}},
		}},
		{"a member with an endless pattern", &kmsg.ConsumerGroupHeartbeatRequest{
			Version: 1, Group: "h", MemberID: "m", RebalanceTimeoutMillis: 1000,
			SubscribedTopicRegex: text(strings.Repeat("(", 10_000)),
			Topics:               []kmsg.ConsumerGroupHeartbeatRequestTopic{},
		}},
		{"10,000 who leave", &kmsg.LeaveGroupRequest{
			Version: 3, Group: "g", Members: make([]kmsg.LeaveGroupRequestMember, 10_000),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dial(t, n.address())
			client.send(c.request)
			if _, err := client.tryReceive(c.request); err != nil {
				t.Logf("the connection ends: %v", err)
			}
			_ = client.conn.Close()
			n.stillServes()
		})
	}
}

// Goal: clients see that the topic of the groups is not for them to write to, and the feature that consumer groups
// need.
func TestWhatClientsSeeOfGroups(t *testing.T) {
	n := startNode(t, oneShard())
	c := n.client()
	c.findCoordinator("g")
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Version = 9
	topics := ask[*kmsg.MetadataResponse](c, metadata).Topics
	if len(topics) != 1 || *topics[0].Topic != "__consumer_offsets" || !topics[0].IsInternal {
		t.Errorf("%+v", topics)
	}
	versions := &kmsg.ApiVersionsRequest{Version: 4, ClientSoftwareName: "test", ClientSoftwareVersion: "1"}
	features := ask[*kmsg.ApiVersionsResponse](c, versions)
	finalized := slices.ContainsFunc(features.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
		return f.Name == "group.version" && f.MinVersionLevel == 1 && f.MaxVersionLevel == 1
	})
	supported := slices.ContainsFunc(features.SupportedFeatures, func(f kmsg.ApiVersionsResponseSupportedFeature) bool {
		return f.Name == "group.version" && f.MinVersion == 0 && f.MaxVersion == 1
	})
	if !finalized || !supported {
		t.Errorf("%+v, %+v", features.FinalizedFeatures, features.SupportedFeatures)
	}
}

// Goal: many small questions in one request are counted for what they cost, not for their bytes. Method: requests about
// a million groups without a name, whose answers are held.
func TestWaitingQuestionsAreBounded(t *testing.T) {
	d := newGroupDesk(t)
	held := 0
	d.node.node.Groups = &countingGroups{held: &held}
	r := &kmsg.DescribeGroupsRequest{Version: 5, Groups: make([]string, 1<<20)}
	for range 4 {
		if ticket := d.begin(r); d.conn.frames[ticket] != nil {
			if held < 1<<20 || held > 2<<20 {
				t.Fatal(held)
			}
			return
		}
	}
	t.Fatalf("%d questions wait", held)
}

// countingGroups never answer.
type countingGroups struct {
	fakeGroups
	held *int
}

func (g *countingGroups) Submit(string, any, runtime.Done) { *g.held++ }
