package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata"
	"spate/metadata/controller"
)

// Goal: no id is given twice and none of a block is left out, however many ask at once. Method: many goroutines, and
// blocks with gaps between them.
func TestProducerIDsAreUnique(t *testing.T) {
	const goroutines, each = 16, 500
	var p ProducerIDs
	var blocks atomic.Int64
	allocate := func(context.Context) (kafka.ProducerID, error) {
		return kafka.ProducerID(blocks.Add(1) * 10 * controller.ProducerIDBlock), nil
	}
	var mutex sync.Mutex
	seen := map[kafka.ProducerID]bool{}
	var running sync.WaitGroup
	for range goroutines {
		running.Go(func() {
			for range each {
				id, err := p.Next(context.Background(), allocate)
				mutex.Lock()
				if err != nil || seen[id] {
					t.Errorf("id %d, %v", id, err)
				}
				seen[id] = true
				mutex.Unlock()
			}
		})
	}
	running.Wait()
	if want := int64(goroutines * each / controller.ProducerIDBlock); blocks.Load() != want {
		t.Errorf("%d blocks for %d ids", blocks.Load(), goroutines*each)
	}
}

// Goal: a failed allocation fails only those that asked for it; the next one tries again.
func TestProducerIDsTryAgain(t *testing.T) {
	var p ProducerIDs
	broken := errors.New("no controller")
	ctx := context.Background()
	_, err := p.Next(ctx, func(context.Context) (kafka.ProducerID, error) { return 0, broken })
	if err != broken {
		t.Fatal(err)
	}
	id, err := p.Next(ctx, func(context.Context) (kafka.ProducerID, error) { return 5000, nil })
	if id != 5000 || err != nil {
		t.Fatal(id, err)
	}
}

// Goal: while one allocation is under way the others wait for it, as long as the broker runs. Method: an allocation
// that is held back.
func TestProducerIDsWaitForOneAllocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p ProducerIDs
		release := make(chan struct{})
		allocate := func(context.Context) (kafka.ProducerID, error) {
			<-release
			return 1000, nil
		}
		results := make(chan error, 3)
		ctx, stop := context.WithCancel(t.Context())
		next := func(ctx context.Context) {
			_, err := p.Next(ctx, allocate)
			results <- err
		}
		go next(t.Context())
		synctest.Wait()
		go next(t.Context())
		go next(ctx)
		synctest.Wait()
		stop()
		if err := <-results; !errors.Is(err, kafka.CoordinatorLoadInProgress) {
			t.Fatal(err)
		}
		close(release)
		for range 2 {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Goal: a command that the controller does not decide in time is REQUEST_TIMED_OUT, one that the broker cannot wait for
// closes the connection. Method: a metadata node that never gets a turn.
func TestDecideIsBoundedByTheRequest(t *testing.T) {
	env := metadata.Env{Clock: clock.Real{}, FS: vfs.NewMem(), Log: slog.New(slog.DiscardHandler), Rand: zeros{}}
	stuck, err := metadata.OpenPolled(env, metadata.Options{Dir: "/metadata", NodeID: 1, ClusterID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	c := &Context{Node: &Node{Metadata: stuck, Clock: clock.Real{}}}
	ended, end := context.WithCancel(context.Background())
	end()
	cases := []struct {
		name      string
		ctx       context.Context
		timeoutMs int32
		want      error
	}{
		{"no time", context.Background(), 0, kafka.RequestTimedOut},
		{"less than no time", context.Background(), -1, kafka.RequestTimedOut},
		{"time runs out", context.Background(), 10, kafka.RequestTimedOut},
		{"the broker shuts down", ended, 60_000, errClosing},
	}
	for _, tc := range cases {
		begin := time.Now()
		if _, err := c.decide(tc.ctx, tc.timeoutMs, controller.DeleteTopics{}); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v after %v", tc.name, err, time.Since(begin))
		}
	}
}

// zeros is a source of randomness that nothing here depends on.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

var _ io.Reader = zeros{}
