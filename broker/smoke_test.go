package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

func TestSmoke(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 2)
	c := n.client()
	if base := c.produce("orders", 0, "a", "b"); base != 0 {
		t.Fatal(base)
	}
	if base := c.produce("orders", 0, "c"); base != 2 {
		t.Fatal(base)
	}
	f := ask[*kmsg.FetchResponse](c, fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0))
	p := f.Topics[0].Partitions[0]
	t.Log(p.ErrorCode, p.HighWatermark, values(t, p.RecordBatches))
	n.restart()
	c = n.client()
	f = ask[*kmsg.FetchResponse](c, fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0))
	p = f.Topics[0].Partitions[0]
	t.Log(p.ErrorCode, p.HighWatermark, values(t, p.RecordBatches))
}
