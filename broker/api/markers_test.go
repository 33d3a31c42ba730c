package api

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/clock"
	"spate/internal/metrics"
	"spate/netpoll"
)

// answeredConn counts the answers.
type answeredConn struct {
	netpoll.Conn
	answers int
}

func (c *answeredConn) Complete(_ netpoll.Ticket, r *netpoll.Response) {
	c.answers++
	r.Owner.Release()
}

// Goal: a request of a few bytes for each of very many markers takes no more memory than there is for requests that
// wait. Method: there is none left but for a few markers; the node can write none, and would panic.
func TestMarkersAreCountedByPartition(t *testing.T) {
	topic := kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: "t", Partitions: make([]int32, 100)}
	marker := kmsg.WriteTxnMarkersRequestMarker{Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{topic, topic}}
	request := &kmsg.WriteTxnMarkersRequest{
		Version: 1, Markers: []kmsg.WriteTxnMarkersRequestMarker{marker, marker, marker},
	}
	if n := marksOf(request); n != 3*(2+200) {
		t.Errorf("%d marks", n)
	}
	node := &Node{Clock: clock.NewManual(time.Unix(0, 0)), Meters: NewMeters(metrics.New())}
	const taken = parkedBytesMax - 600*markBytes
	node.parked.Add(taken)
	conn := &answeredConn{}
	writeTxnMarkers(&Context{Node: node}, &Asked{Request: request, node: node, conn: conn}, request)
	if conn.answers != 1 || node.parked.Load() != taken {
		t.Errorf("%d answers, %d bytes are counted", conn.answers, node.parked.Load()-taken)
	}
}
