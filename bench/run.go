package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/result"
	"spate/bench/spec"
	"spate/bench/verify"
	"spate/internal/task"
)

// RunOptions are the wishes of whoever starts a run.
type RunOptions struct {
	Tool string // version of the tool, for the result
	// Observe is told of the run's progress once a second and at each change of phase, by one goroutine at a time.
	Observe func(Progress)
	// GiveUp ends a run at once that was interrupted before and still waits or verifies: what is known is the result.
	GiveUp <-chan struct{}

	patience time.Duration // giveUpAfter, for tests; 0: that
}

// Run runs a workload and gives what it found out. A workload that ran is a result, also with lost records or
// refused ones (see Result.Failed); an error is that it could not run. A context that ends is an interruption: the load
// stops, what is on its way arrives and is verified, and the result so far is given.
func Run(ctx context.Context, t Target, w spec.Workload, o RunOptions) (*result.Result, error) {
	hard, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	r := &run{t: t, w: w, soft: ctx, hard: hard, id: rand.Uint32(), partitions: w.Topics * w.Partitions}
	var giveUp task.Group
	giveUp.Go("bench: give up", func() {
		select {
		case <-o.GiveUp:
			cancel(errGivenUp)
		case <-hard.Done():
		}
	})
	defer giveUp.Wait()
	defer cancel(nil)
	var stopSending context.CancelFunc
	r.sending, stopSending = context.WithCancel(hard)
	defer stopSending()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.Drain, stopSending) })()
	r.result = &result.Result{Format: result.Format, Name: w.Name, Workload: w.Kind}
	for _, key := range w.Settings() {
		_, given := w.Value(key.Name)
		r.result.Settings = append(r.result.Settings, result.Setting{Key: key.Name, Value: key.Default, Given: given})
	}
	r.result.Environment = Environment(t, o.Tool)
	r.progress.observe = o.Observe
	r.meter = newMeter(t.PID, r.progress.second)
	giveUp.Go("bench: watchdog", func() { r.watch(cmp.Or(o.patience, giveUpAfter), stopSending) })
	return r.result, r.all()
}

var errGivenUp = errors.New("given up")

// run is the state of one run.
type run struct {
	t Target
	w spec.Workload
	// soft ends when the user interrupts the load; hard when the user does not want to wait any longer either.
	soft, hard context.Context
	// sending ends with hard, some time after soft (the key drain), and when the broker acknowledges nothing any more.
	sending    context.Context
	id         uint32
	partitions int // of all topics
	topics     []string
	topicIndex map[string]int
	admin      *kgo.Client
	progress   progress
	meter      *meter
	fillers    []*writer // what was written before the load
	writers    []*writer
	readers    []*reader
	clients    []*kgo.Client // of the writers
	idle       []net.Conn
	group      *group  // of the workload groups
	starts     []int64 // by partition: where the run begins
	cut        bool    // the readers were not to read everything
	result     *result.Result
}

// all is the run, phase by phase.
func (r *run) all() error {
	r.progress.enter(result.PhasePrepare, 0)
	admin, err := r.client()
	if err != nil {
		return err
	}
	defer admin.Close()
	r.admin = admin
	made, err := r.makeTopics()
	if made && !r.w.KeepTopic {
		defer r.deleteTopics()
	}
	if err != nil {
		return err
	}
	r.describe()
	defer r.deleteGroup()
	defer r.close()
	if r.soft.Err() == nil {
		if err := r.prepare(); err != nil {
			return err
		}
	}
	if r.cut = r.soft.Err() != nil; !r.cut {
		r.load()
	}
	r.result.Interrupted = r.soft.Err() != nil
	if err := r.check(); err != nil {
		return err
	}
	r.finish()
	return nil
}

// client makes a client with what all clients of a run have in common.
func (r *run) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(r.t.Bootstrap, ",")...),
		kgo.ClientID("spate-bench"), kgo.DialTimeout(dialWithin)}, options...)...)
}

const dialWithin = 10 * time.Second

// prepare connects all clients, and fills the topics where there must be something to read first.
func (r *run) prepare() error {
	if err := r.connectIdle(); err != nil {
		return err
	}
	for n := range r.w.Producers {
		w, err := r.newWriter(uint32(n))
		if err != nil {
			return err
		}
		r.writers = append(r.writers, w)
	}
	if r.w.Fills() {
		if err := r.fill(); err != nil {
			return err
		}
	}
	if r.w.Members > 0 {
		return r.addGroup()
	}
	for n := range r.w.Readers {
		if err := r.addReader(fmt.Sprintf("reader %d", n+1), !r.w.Fills() || r.w.Kind == "catch-up"); err != nil {
			return err
		}
	}
	return nil
}

// fill writes what the load is to read. Who reads nothing but that needs no other writers.
func (r *run) fill() error {
	r.progress.enter(result.PhaseFill, 0)
	r.progress.counting(r.meter.due.Load, func() int64 { return r.w.Records })
	defer r.progress.ticking()()
	s := r.newStep(0, 0, 0)
	s.records, s.backlog = r.w.Records, true
	r.fillers = r.writers
	s.write(r.writers)
	if r.meter.due.Load() == 0 && r.soft.Err() == nil {
		return fmt.Errorf("the topic could not be filled: %w", r.meter.firstError())
	}
	if r.w.Kind == "consume" {
		r.writers = nil
		return nil
	}
	// What comes now is numbered from 0 again, so that a reader of the end can see whether it has all.
	r.writers = nil
	for n, filler := range r.fillers {
		r.writers = append(r.writers, filler.again(uint32(len(r.fillers)+n)))
	}
	return nil
}

func (r *run) close() {
	for _, reader := range r.readers {
		reader.close()
	}
	for _, client := range r.clients {
		client.Close()
	}
	for _, conn := range r.idle {
		_ = conn.Close() // nothing was written
	}
}

// written is what all given writers wrote into a partition.
func written(writers []*writer, partition int) []verify.Written {
	var all []verify.Written
	for _, w := range writers {
		all = append(all, w.written(partition))
	}
	return all
}
