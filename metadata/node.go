package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/raft/v3"

	"spate/internal/clock"
	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// Env is the world as a Node sees it.
type Env struct {
	Clock clock.Clock
	FS    vfs.FS
	Rand  io.Reader // for topic ids; crypto/rand.Reader in production
	Log   *slog.Logger
}

// MetadataVersion is the level of the feature metadata.version whose record formats are written: Kafka's 4.3-IV0.
const MetadataVersion = 30

// Options are the parts of a Node's configuration; the zero value of a number stands for its default.
type Options struct {
	Dir         string         // metadata.log.dir: the folder that holds __cluster_metadata-0
	NodeID      kafka.BrokerID // node.id: the one voter
	DirectoryID kafka.UUID     // directory.id in the meta.properties of Dir; it stands beside the vote
	ClusterID   string
	Settings    controller.Settings
	Features    []image.Feature // finalized when the cluster is new; default: metadata.version alone

	SnapshotBytes int64 // metadata.log.max.record.bytes.between.snapshots; default 20 MiB
	SegmentBytes  int64 // metadata.log.segment.bytes; default 1 GiB
	QueueMax      int   // commands that wait for a turn; default 1000
}

// Kafka's defaults, and a queue that holds a second's worth of commands at a millisecond each.
const (
	snapshotBytesDefault = 20 << 20
	segmentBytesDefault  = 1 << 30
	queueMaxDefault      = 1000
)

func (o *Options) setDefaults() {
	if o.SnapshotBytes == 0 {
		o.SnapshotBytes = snapshotBytesDefault
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	if o.QueueMax == 0 {
		o.QueueMax = queueMaxDefault
	}
	if o.Features == nil {
		o.Features = []image.Feature{{Name: "metadata.version", Level: MetadataVersion}}
	}
}

// ErrClosed is the answer to commands of a node that is closed. ErrBusy is what Enqueue says when the queue is full.
var (
	ErrClosed = errors.New("the metadata node is closed")
	ErrBusy   = errors.New("the metadata node's queue is full")
)

// Node is one member of the metadata quorum. Submit, Enqueue, Image, Subscribe and Err may be called by any goroutine.
type Node struct {
	env     Env
	options Options
	queue   chan request
	stop    chan struct{} // closed by Close: the loop ends
	ended   chan struct{} // closed when no request is answered any more
	tasks   task.Group
	closing sync.Once
	image   atomic.Pointer[image.Image]
	failure atomic.Pointer[error]
	epoch   atomic.Int32 // of the newest leadership; 0 before the first
	stats   Stats

	mu          sync.Mutex
	subscribers []func(old, new *image.Image, d *image.Delta) // replaced, never changed in place

	// What follows belongs to the node's goroutine.

	storage    *storage
	controller *controller.Controller // ahead of image by what is in pending
	raft       *raft.RawNode          // nil while there is no leader: after a full disk, until the next command
	applied    uint64                 // the Raft index up to which image holds everything
	proposed   uint64                 // the last Raft index that is taken
	pending    []proposal             // by index
	held       []request              // taken from the queue, not decided yet
	snapshotAt int64                  // take a snapshot when the log has grown by this much since the last
}

// Stats counts what a node has done. All fields only rise.
type Stats struct {
	Commands  atomic.Int64 // answered, with or without an error
	Appends   atomic.Int64 // writes to the log, each made durable by one flush
	Snapshots atomic.Int64
}

// request is a command on its way, with what to do with the answer.
type request struct {
	command controller.Command
	done    func(controller.Reply, error)
}

// answer is what a Submit waits for.
type answer struct {
	reply controller.Reply
	err   error
}

// Open opens or creates the metadata log below options.Dir, makes this node the leader of its quorum of one and starts
// the node's goroutine. The image that it starts with holds everything that was ever acknowledged.
func Open(env Env, options Options) (*Node, error) {
	n, err := OpenPolled(env, options)
	if err != nil {
		return nil, err
	}
	n.tasks.Go("metadata", n.run)
	return n, nil
}

// OpenPolled is Open without the goroutine: the caller gives the node its turns by calling Poll, from one goroutine at
// a time, and uses Enqueue instead of Submit.
func OpenPolled(env Env, options Options) (*Node, error) {
	options.setDefaults()
	n := &Node{
		env: env, options: options,
		queue: make(chan request, options.QueueMax), stop: make(chan struct{}), ended: make(chan struct{}),
		snapshotAt: options.SnapshotBytes,
	}
	var err error
	var start *image.Image
	if n.storage, start, err = openStorage(env.FS, options); err != nil {
		return nil, fmt.Errorf("open the metadata log in %s: %w", options.Dir, err)
	}
	n.image.Store(start)
	n.applied = n.storage.snapshot.index
	if err := n.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the metadata log in %s: %w", options.Dir, err), n.storage.log.Close())
	}
	return n, nil
}

// start wins the election and finalizes the features of a new cluster.
func (n *Node) start() error {
	now := n.env.Clock.Now()
	if err := n.elect(now); err != nil {
		return err
	}
	var failed error
	n.held = append(n.held, request{
		command: controller.Bootstrap{Features: n.options.Features},
		done:    func(_ controller.Reply, err error) { failed = err },
	})
	n.Poll(now)
	return failed
}

// Image is the newest published image. It may be behind by the commands that are on their way, never by one whose
// Submit has returned.
func (n *Node) Image() *image.Image { return n.image.Load() }

// Stats are the node's counters.
func (n *Node) Stats() *Stats { return &n.stats }

// Err is why the node accepts no commands any more, nil while it does. A failed write or flush of the log ends a node:
// what is durable is not known then, and only a restart, which reads it, can tell. A full disk does not, nor does a
// lack of descriptors.
func (n *Node) Err() error {
	if err := n.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// Subscribe calls f for every image published from now on, in order, on the node's goroutine, before the Submit that
// caused it returns. It gives the image from which the first delta goes on. f must not wait for a Submit.
func (n *Node) Subscribe(f func(old, new *image.Image, d *image.Delta)) *image.Image {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.subscribers = append(slices.Clip(n.subscribers), f)
	return n.image.Load()
}

// publish makes next the node's image and tells the subscribers.
func (n *Node) publish(next *image.Image, d *image.Delta) {
	n.mu.Lock()
	old := n.image.Swap(next)
	subscribers := n.subscribers
	n.mu.Unlock()
	for _, f := range subscribers {
		f(old, next, d)
	}
}

// Submit has a command decided and gives its reply once the records that follow from it are durable, committed, applied
// and published. When ctx ends first the outcome is not known: the command may still happen.
func (n *Node) Submit(ctx context.Context, cmd controller.Command) (controller.Reply, error) {
	answered := make(chan answer, 1)
	r := request{command: cmd, done: func(reply controller.Reply, err error) { answered <- answer{reply, err} }}
	select {
	case n.queue <- r:
	case <-n.stop:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.ended:
	}
	select { // the last turn may have answered just before the end
	case a := <-answered:
		return a.reply, a.err
	default:
		return nil, ErrClosed
	}
}

// Enqueue is Submit without waiting: done is called with the answer on the goroutine that runs the turns or closes the
// node. ErrBusy means that the queue is full. It must not be called beside Close, which may miss the command.
func (n *Node) Enqueue(cmd controller.Command, done func(controller.Reply, error)) error {
	if n.stopping() {
		return ErrClosed
	}
	select {
	case n.queue <- request{command: cmd, done: done}:
		return nil
	default:
		return ErrBusy
	}
}

// run is the node's goroutine.
func (n *Node) run() {
	for {
		select {
		case r := <-n.queue:
			n.held = append(n.held, r)
			for !n.stopping() && n.Poll(n.env.Clock.Now()) { // until nothing waits
			}
		case <-n.stop:
			return
		}
	}
}

func (n *Node) stopping() bool {
	select {
	case <-n.stop:
		return true
	default:
		return false
	}
}

// Close ends the node: the turn that is under way is finished, commands that still wait are answered with ErrClosed.
func (n *Node) Close() error {
	var err error
	n.closing.Do(func() {
		close(n.stop)
		n.tasks.Wait()
		n.refuseWaiting()
		close(n.ended)
		err = n.storage.close(n.Err() == nil)
	})
	return err
}

func (n *Node) refuseWaiting() {
	for _, r := range n.held {
		r.done(nil, ErrClosed)
	}
	n.held = nil
	for {
		select {
		case r := <-n.queue:
			r.done(nil, ErrClosed)
		default:
			return
		}
	}
}
