package api

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"spate/broker/purgatory"
	"spate/internal/clock"
	"spate/internal/config"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/metadata"
	"spate/metadata/image"
	"spate/replica"
)

// Node is what the handlers of one broker share: built once by the broker before the first connection, and then read
// by every loop and worker. What a handler keeps between requests is a type in that handler's own file and a field
// here.
type Node struct {
	ID        kafka.BrokerID
	Epoch     kafka.BrokerEpoch // of the registration of this process
	ClusterID string
	Config    *config.Live
	Clock     clock.Clock
	Log       *slog.Logger
	Metadata  *metadata.Node
	Replicas  *replica.Set
	Meters    *Meters
	Produces  *purgatory.Purgatory // acks=all that wait for the high watermark
	Fetches   *purgatory.Purgatory // fetches that wait for bytes
	Sessions  *Sessions
	Writers   *Writers
	// ProducerIDs is the block of ids that InitProducerId hands out.
	ProducerIDs ProducerIDs
	Workers     *Workers
	Quotas      *Quotas

	FetchBytesMax int // fetch.max.bytes

	AppendedRecords, AppendedBytes, FetchedBytes *metrics.Counter

	Groups Groups    // the coordinators of groups that run here
	Txns   Groups    // those of transactions
	Rand   io.Reader // draws the ids of new members; any goroutine may read from it

	parked parkedBytes // requests that wait for a coordinator

	storageNoted atomic.Int64 // when noteStorage last logged, in Unix nanoseconds

	produces sync.Pool // of *produceOp
	fetches  sync.Pool // of *fetchOp
}

// Image is the newest image of the cluster that this broker has. It may trail the controller by one commit: a client
// that acts on it gets an error that makes it ask again.
func (n *Node) Image() *image.Image { return n.Metadata.Image() }

// storageNoteEvery spaces out what is logged while producers try again and again: often enough for a person to see that
// it lasts.
const storageNoteEvery = 10 * time.Second

// noteStorage logs that an append was refused by the disk, unless that was logged a moment ago. A full disk is known by
// nothing else.
func (n *Node) noteStorage(err error) {
	now, last := n.Clock.Now().UnixNano(), n.storageNoted.Load()
	if now-last >= int64(storageNoteEvery) && n.storageNoted.CompareAndSwap(last, now) {
		n.Log.Error("appends are refused", "error", err)
	}
}

// elsewhere tells whether a partition that this broker does not host exists all the same.
func (n *Node) elsewhere(topic kafka.UUID, index kafka.PartitionIndex) bool {
	t := n.Image().TopicByID(topic)
	return t != nil && index >= 0 && int(index) < len(t.Partitions)
}

// addEndpoint adds the address at which a broker serves a listener, if it is not in the list and is known.
func (n *Node) addEndpoint(list []wire.NodeEndpoint, id kafka.BrokerID, listener string) []wire.NodeEndpoint {
	for i := range list {
		if list[i].Node == id {
			return list
		}
	}
	b := n.Image().Broker(id)
	if b == nil {
		return list
	}
	e, ok := b.Endpoint(listener)
	if !ok {
		return list
	}
	rack := ""
	if b.Rack != nil {
		rack = *b.Rack
	}
	return append(list, wire.NodeEndpoint{Node: id, Host: e.Host, Port: int32(e.Port), Rack: rack})
}
