package broker

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker/api"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/offsets"
	"spate/coordinator/runtime"
	"spate/kafka"
	"spate/kafka/wire"
)

// groupRequests are the two that a group sends all the time.
func groupRequests(id kafka.UUID) map[string]kmsg.Request {
	return map[string]kmsg.Request{
		"Heartbeat": &kmsg.HeartbeatRequest{
			Version: 4, Group: "readers", Generation: 7, MemberID: "consumer-1-8f5e3a53-5a54-4a51-9ed6-0f9a3a0d9c3e",
		},
		"OffsetCommit": &kmsg.OffsetCommitRequest{
			Version: 9, Group: "readers", Generation: 7, MemberID: "consumer-1-8f5e3a53-5a54-4a51-9ed6-0f9a3a0d9c3e",
			Topics: []kmsg.OffsetCommitRequestTopic{
				{Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: 0, Offset: 5}}},
			},
		},
	}
}

// groupAnswers are what a coordinator says to groupRequests.
var groupAnswers = map[string]any{
	"Heartbeat": classic.HeartbeatReply{},
	"OffsetCommit": offsets.CommitReply{Topics: []offsets.CommittedTopic{
		{Topic: "orders", Partitions: []offsets.CommittedPartition{{Partition: 0}}},
	}},
}

// serveDecoded decodes a request and serves it, as a connection does.
func (c *stubConn) serveDecoded(t testing.TB, x *delivery) {
	request, err := wire.DecodeRequest(x.Header.Key, x.Header.Version, x.Body)
	if err != nil {
		t.Fatal(err)
	}
	x.Received, x.BodyBytes = x.Node.Clock.Now(), len(x.Body)
	x.Ticket = c.Reserve()
	if err := x.Respond(context.Background(), api.HandlerOf(x.Header.Key), request); err != nil {
		t.Fatal(err)
	}
}

// quickGroups answers at once, and keeps nothing.
type quickGroups struct {
	fakeGroups
	body any
}

func (g *quickGroups) Submit(_ string, _ any, done runtime.Done) { done.Done(g.body, nil) }

// Goal: what a heartbeat and a commit of one partition cost from the frame to the answer stays what it is: the decoded
// request, its strings, the command, the answer. Method: the allocations of each, with a coordinator that costs
// nothing.
func TestGroupRequestsAllocateLittle(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("orders", 2)
	limits := map[string]float64{"Heartbeat": 9, "OffsetCommit": 18}
	for name, request := range groupRequests(id) {
		t.Run(name, func(t *testing.T) {
			n.node.Groups = &quickGroups{body: groupAnswers[name]}
			c := newStubConn()
			x := c.request(n, request)
			serve := func() { c.serveDecoded(t, x) }
			for range 100 {
				serve()
			}
			if allocs := testing.AllocsPerRun(1000, serve); allocs > limits[name] && !raceEnabled {
				t.Errorf("%v allocations, the limit is %v", allocs, limits[name])
			}
		})
	}
}

// BenchmarkGroupHandler is the handler alone, with a coordinator that costs nothing.
func BenchmarkGroupHandler(b *testing.B) {
	n := startNode(b)
	id := n.createTopic("orders", 2)
	for name, request := range groupRequests(id) {
		b.Run(name, func(b *testing.B) {
			n.node.Groups = &quickGroups{body: groupAnswers[name]}
			c := newStubConn()
			x := c.request(n, request)
			b.ReportAllocs()
			for b.Loop() {
				c.serveDecoded(b, x)
			}
		})
	}
}
