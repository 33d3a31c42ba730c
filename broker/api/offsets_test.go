package api

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/clock"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/metadata"
)

// Goal: a request of a few bytes for each of very many offsets takes no more memory than there is for requests that
// wait. Method: what each kind of request is counted as.
func TestOffsetsAreCountedByPartition(t *testing.T) {
	const topics, partitions = 3, 100
	commit, txnCommit := &kmsg.OffsetCommitRequest{}, &kmsg.TxnOffsetCommitRequest{}
	take, one := &kmsg.OffsetDeleteRequest{}, &kmsg.OffsetFetchRequest{}
	var group kmsg.OffsetFetchRequestGroup
	for range topics {
		commit.Topics = append(commit.Topics, kmsg.OffsetCommitRequestTopic{
			Partitions: make([]kmsg.OffsetCommitRequestTopicPartition, partitions),
		})
		txnCommit.Topics = append(txnCommit.Topics, kmsg.TxnOffsetCommitRequestTopic{
			Partitions: make([]kmsg.TxnOffsetCommitRequestTopicPartition, partitions),
		})
		take.Topics = append(take.Topics, kmsg.OffsetDeleteRequestTopic{
			Partitions: make([]kmsg.OffsetDeleteRequestTopicPartition, partitions),
		})
		one.Topics = append(one.Topics, kmsg.OffsetFetchRequestTopic{Partitions: make([]int32, partitions)})
		group.Topics = append(group.Topics, kmsg.OffsetFetchRequestGroupTopic{Partitions: make([]int32, partitions)})
	}
	several := &kmsg.OffsetFetchRequest{Version: 8, Groups: []kmsg.OffsetFetchRequestGroup{group, group}}
	for _, c := range []struct {
		request kmsg.Request
		want    int
	}{
		{commit, topics * (1 + partitions)},
		{txnCommit, topics * (1 + partitions)},
		{take, topics * (1 + partitions)},
		{one, topics * (1 + partitions)},
		{several, 2 * (1 + topics*(1+partitions))},
		{&kmsg.HeartbeatRequest{}, 0},
	} {
		node := &Node{}
		context := &Context{Node: node, BodyBytes: 5}
		context.ask(&Handler{Ask: func(*Context, *Asked, kmsg.Request) {}}, c.request)
		if got, want := node.parked.Load(), int64(5+c.want*offsetBytes); got != want {
			t.Errorf("%T is counted as %d bytes, not %d", c.request, got, want)
		}
	}
}

// Goal: where that is too much nobody is asked, and the client is told to come again. Method: room for half of what a
// request names; a coordinator that is asked would panic.
func TestTooManyOffsetsAreRefused(t *testing.T) {
	const partitions = 100
	node := &Node{
		Clock: clock.NewManual(time.Unix(0, 0)), Meters: NewMeters(metrics.New()), Metadata: &metadata.Node{},
	}
	const taken = parkedBytesMax - partitions/2*offsetBytes
	node.parked.Add(taken)
	topic := kmsg.OffsetFetchRequestGroupTopic{Topic: "t", Partitions: make([]int32, partitions)}
	group := kmsg.OffsetFetchRequestGroup{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{topic}}
	request := &kmsg.OffsetFetchRequest{Version: 8, Groups: []kmsg.OffsetFetchRequestGroup{group}}
	conn := &answeredConn{}
	(&Context{Node: node, Conn: conn}).ask(&Handler{Ask: offsetFetch}, request)
	isRefused := node.Meters.Of(request.Key()).errors[kafka.CoordinatorLoadInProgress.Code+1].Load() != nil
	if conn.answers != 1 || !isRefused || node.parked.Load() != taken {
		t.Errorf("%d answers, refused: %v, %d bytes are counted", conn.answers, isRefused, node.parked.Load()-taken)
	}
}
