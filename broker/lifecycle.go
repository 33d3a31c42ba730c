package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"spate/broker/api"
	"spate/broker/purgatory"
	"spate/internal/config"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/metadata"
	"spate/metadata/controller"
	"spate/metadata/image"
	"spate/metadata/record"
	"spate/netpoll"
	"spate/partition"
	"spate/replica"
)

// step is one part of the life of a broker: what starts it, and what ends it again.
type step struct {
	name  string
	start func(*Broker) error
	stop  func(*Broker, context.Context) error // nil where there is nothing to end
}

// steps is the order of the start; the end goes through it backwards. Each step relies on those above it: clients are
// served when everything else runs, and nothing is taken away while they are.
var steps = []step{
	{"log directories", (*Broker).openDirs, (*Broker).closeDirs},
	{"metadata", (*Broker).openMetadata, (*Broker).closeMetadata},
	{"configuration", (*Broker).followConfigs, nil},
	{"listeners", (*Broker).openListeners, (*Broker).closeListeners},
	{"handlers", (*Broker).startHandlers, (*Broker).stopHandlers},
	{"partitions", (*Broker).loadPartitions, nil},
	{"registration", (*Broker).register, nil},
	{"moves", (*Broker).startMoves, nil},
	{"coordinators", (*Broker).startCoordinators, (*Broker).stopCoordinators},
	{"groups", (*Broker).awaitCoordinators, nil},
	{"connections", (*Broker).serve, (*Broker).drain},
}

// Open starts a broker and returns when it serves. It runs until Close.
func Open(env Env, c *config.Config) (*Broker, error) {
	b := &Broker{env: env, config: config.NewLive(c), registry: metrics.New(), failed: make(chan struct{})}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for _, s := range steps {
		if err := s.start(b); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), b.Close(b.ctx))
		}
		b.started = append(b.started, s)
	}
	return b, nil
}

// Close ends the broker. Requests that are under way are answered until ctx ends, the logs are flushed and closed, and
// the directories marked as closed cleanly.
func (b *Broker) Close(ctx context.Context) error {
	var errs []error
	for i := len(b.started) - 1; i >= 0; i-- {
		s := b.started[i]
		if s.stop == nil {
			continue
		}
		if err := s.stop(b, ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	b.started = nil
	b.cancel()
	return errors.Join(errs...)
}

func (b *Broker) openDirs() error {
	var err error
	b.dirs, b.clusterID, err = openDirs(b.env, b.config.Get(), b.registry, b.dirFailed)
	return err
}

// dirFailed makes the end of a log directory known. When none is left there is nothing to serve from.
func (b *Broker) dirFailed(dir *partition.LogDir, err error) {
	b.env.Log.Error("a log directory is offline", "dir", dir.Path(), "error", err)
	b.registry.Gauge(metrics.LogDirOffline, dir.Path()).Set(1)
	for _, other := range b.dirs.logs {
		if other.Failed() == nil {
			return
		}
	}
	b.failOnce.Do(func() {
		b.failure = allOffline(err)
		close(b.failed)
	})
}

func (b *Broker) closeDirs(context.Context) error { return b.dirs.close(b.epoch) }

func (b *Broker) openMetadata() error {
	c := b.config.Get()
	node, err := metadata.Open(metadata.Env{Clock: b.env.Clock, FS: b.env.FS, Rand: b.env.Rand, Log: b.env.Log},
		metadata.Options{
			Dir: b.dirs.metadata.Path(), DirectoryID: b.dirs.metadata.ID(),
			NodeID: kafka.BrokerID(c.NodeID()), ClusterID: b.clusterID,
			Settings: controllerSettings(c),
		})
	b.metadata = node
	return err
}

func (b *Broker) closeMetadata(context.Context) error { return b.metadata.Close() }

// openListeners binds the listeners, so that their ports are known; nobody is served before the last step.
func (b *Broker) openListeners() error {
	o := netOptions(b.env, b.config.Get())
	o.LoopLag = b.registry.Histogram(metrics.LoopLag)
	b.quotas = api.NewQuotas(b.env.Clock, b.registry, quotaOptions(b.config.Get()))
	o.Newcomers = b.quotas.Admit
	server, err := netpoll.New(o, front{b})
	if err != nil {
		return err
	}
	b.server = server
	for _, l := range b.config.Get().Listeners() {
		address, err := server.Listen(l.Name, l.Address())
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", l.Name, err), server.Shutdown(b.ctx))
		}
		open := Listener{
			Name: l.Name, Protocol: l.Protocol, Address: address,
			AdvertisedHost: l.AdvertisedHost, AdvertisedPort: l.AdvertisedPort,
		}
		if open.AdvertisedPort == 0 {
			open.AdvertisedPort = address.Port()
		}
		b.listeners = append(b.listeners, open)
	}
	return nil
}

// closeListeners frees what a server that was never started holds; drain has ended one that was.
func (b *Broker) closeListeners(ctx context.Context) error { return b.server.Shutdown(ctx) }

func (b *Broker) startHandlers() error {
	c := b.config.Get()
	b.replicas = replica.NewSet(b.dirs.logs, replica.Options{
		Self:        kafka.BrokerID(c.NodeID()),
		DirsMissing: b.dirs.missing || b.dirs.lacks(b.lastRegistration()),
		Settings: func(overrides map[string]string) replica.Settings {
			return topicSettings(b.config.Get(), overrides)
		},
		Watch: func() replica.Watcher { return new(purgatory.List) },
		Clock: b.env.Clock,
		Log:   b.env.Log,
	})
	var err error
	if b.coordinators, err = newCoordinators(b); err != nil {
		return err
	}
	b.transactions = newTransactions(b)
	b.node = &api.Node{
		ID: kafka.BrokerID(c.NodeID()), ClusterID: b.clusterID, Config: b.config, Clock: b.env.Clock, Log: b.env.Log,
		Metadata: b.metadata, Replicas: b.replicas, Meters: api.NewMeters(b.registry),
		Produces: purgatory.New(b.env.Clock), Fetches: purgatory.New(b.env.Clock),
		Sessions:      api.NewSessions(b.env.Clock, b.env.Rand, c.Int("max.incremental.fetch.session.cache.slots")),
		Writers:       api.StartWriters(b.dirs.logs),
		Workers:       api.StartWorkers(c.Int("num.io.threads")),
		Quotas:        b.quotas,
		FetchBytesMax: c.Int("fetch.max.bytes"),

		Groups: b.coordinators.host, Txns: b.transactions.host, Rand: b.env.Rand,

		AppendedRecords: b.registry.Counter(metrics.AppendedRecords),
		AppendedBytes:   b.registry.Counter(metrics.AppendedBytes),
		FetchedBytes:    b.registry.Counter(metrics.FetchedBytes),
	}
	b.watch()
	return nil
}

func (b *Broker) stopHandlers(context.Context) error {
	b.cancel()
	b.node.Workers.Close()
	b.node.Writers.Close()
	b.node.Produces.Close()
	b.replicas.Close()
	return nil
}

// loadPartitions opens the logs of the image that the metadata log ended with, and follows what comes after it.
func (b *Broker) loadPartitions() error {
	img := b.metadata.Subscribe(func(_, next *image.Image, d *image.Delta) {
		b.replicas.Apply(next, d)
		if len(d.QuotasChanged) > 0 {
			b.quotas.Publish(next)
		}
	})
	b.config.Follow(b.reconfigure)
	b.quotas.Publish(img)
	if err := b.replicas.Load(img); err != nil {
		return err
	}
	b.dirs.start()
	return nil
}

// lastRegistration is this broker as the cluster knows it from an earlier start, or nil.
func (b *Broker) lastRegistration() *image.Broker {
	return b.metadata.Image().Broker(kafka.BrokerID(b.config.Get().NodeID()))
}

// registerTimeout bounds the commit of the registration: it takes one flush of the metadata log.
const registerTimeout = time.Minute

// register makes this process the broker of its id. Its commit gives the partitions their leader.
func (b *Broker) register() error {
	incarnation, err := kafka.NewUUID(b.env.Rand)
	if err != nil {
		return fmt.Errorf("draw an incarnation id: %w", err)
	}
	cmd := controller.RegisterBroker{
		BrokerID: b.node.ID, ClusterID: b.clusterID, IncarnationID: incarnation,
		LogDirs:  b.dirs.registered(b.lastRegistration()),
		Features: features,
	}
	if rack := b.config.Get().String("broker.rack"); rack != "" {
		cmd.Rack = &rack
	}
	for _, l := range b.listeners {
		e := record.Endpoint{Name: l.Name, Host: l.AdvertisedHost, Port: l.AdvertisedPort}
		cmd.Endpoints = append(cmd.Endpoints, e)
	}
	ctx, cancel := context.WithTimeout(b.ctx, registerTimeout)
	defer cancel()
	reply, err := b.metadata.Submit(ctx, cmd)
	if err != nil {
		return err
	}
	b.epoch = reply.(controller.RegisterBrokerReply).Epoch
	b.node.Epoch = b.epoch
	return nil
}

// startMoves goes on with the moves between log directories, which end with the replicas.
func (b *Broker) startMoves() error {
	b.replicas.StartMoves(replica.MoveOptions{
		BytesPerSecond: func() int64 { return b.config.Get().Int64("replica.alter.log.dirs.io.max.bytes.per.second") },
		Assign: func(ctx context.Context, list []replica.DirAssignment) error {
			cmd := controller.AssignReplicasToDirs{BrokerID: b.node.ID}
			for _, a := range list {
				cmd.Replicas = append(cmd.Replicas, controller.DirAssignment(a))
			}
			_, err := b.metadata.Submit(ctx, cmd)
			return err
		},
	})
	return nil
}

// startCoordinators begins to load the coordinators of the partitions that this broker leads, and follows what comes
// after that. The registration has made it their leader.
func (b *Broker) startCoordinators() error {
	b.coordinators.start()
	b.transactions.start()
	return nil
}

func (b *Broker) stopCoordinators(context.Context) error {
	b.transactions.host.Close()
	b.coordinators.host.Close()
	return nil
}

// coordinatorsWait is how long a start waits for the groups: a second suffices for a million committed offsets.
const coordinatorsWait = 10 * time.Second

// awaitCoordinators lets the groups be there when the first client asks. Some clients take the answer that they are
// being loaded for the answer that nothing is committed, and begin at the wrong end of the partition. When it takes
// very long, the broker serves without them.
func (b *Broker) awaitCoordinators() error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	defer b.env.Clock.AfterFunc(coordinatorsWait, cancel).Stop()
	if !b.coordinators.host.AwaitLoads(ctx) || !b.transactions.host.AwaitLoads(ctx) {
		b.env.Log.Warn("groups or transactions are still being loaded; clients that ask for them are told so")
	}
	return nil
}

func (b *Broker) serve() error { return b.server.Start() }

// drain answers what is under way and closes the connections. Fetches that wait for records are answered without, and
// members that wait for their group are told to look for another coordinator: both may wait for long.
func (b *Broker) drain(ctx context.Context) error {
	b.node.Fetches.Close()
	b.coordinators.host.Close()
	return b.server.Shutdown(ctx)
}
