package broker

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"sync"

	"spate/broker/api"
	"spate/internal/clock"
	"spate/internal/config"
	"spate/internal/metrics"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata"
	"spate/netpoll"
	"spate/replica"
)

// Env is the world as a broker sees it. The network enters through package netpoll, which opens the listeners.
type Env struct {
	Clock clock.Clock
	FS    vfs.FS
	Rand  io.Reader // crypto/rand.Reader in production; any goroutine may read from it
	Log   *slog.Logger
}

// Broker is a node that serves.
type Broker struct {
	env      Env
	config   *config.Live // what is in force: what was set at run time over what it was started with
	registry *metrics.Registry
	ctx      context.Context // ends when Close begins; handlers that wait get it
	cancel   context.CancelFunc
	started  []step // what Close has to undo, in the order of the start

	dirs      *dirs
	clusterID string
	metadata  *metadata.Node
	replicas  *replica.Set
	node      *api.Node
	server    *netpoll.Server
	quotas    *api.Quotas
	listeners []Listener
	epoch     kafka.BrokerEpoch // of this process, from its registration
	closings  closings

	coordinators *coordinators
	transactions *transactions

	failOnce sync.Once
	failure  error         // set before failed is closed
	failed   chan struct{} // closed when the broker cannot go on
}

// Listener is one listener as it was opened.
type Listener struct {
	Name           string
	Protocol       string
	Address        netip.AddrPort // that was bound
	AdvertisedHost string
	AdvertisedPort uint16
}

// Listeners are the open listeners, in the order of the configuration.
func (b *Broker) Listeners() []Listener { return b.listeners }

// NodeID is the number of this node.
func (b *Broker) NodeID() kafka.BrokerID { return b.node.ID }

// ClusterID is the id of the cluster.
func (b *Broker) ClusterID() string { return b.clusterID }

// Metrics is what this broker counts, for the endpoint that spate.metrics.listener asks for.
func (b *Broker) Metrics() *metrics.Registry { return b.registry }

// Failed is closed when the broker cannot go on, because no log directory is left. Failure then says why.
func (b *Broker) Failed() <-chan struct{} { return b.failed }

// Failure is why Failed is closed.
func (b *Broker) Failure() error { return b.failure }
