package bench

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"spate/internal/proc"
	"spate/internal/task"
)

// relay passes on what clients and a broker say to each other, until its listener is closed. Before the answer to a
// request that contains a word, answered is called.
func relay(listener net.Listener, broker string, word []byte, answered func()) {
	var running task.Group
	defer running.Wait()
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", broker)
		if err != nil {
			_ = client.Close()
			continue
		}
		var asked atomic.Bool
		pass := func(to, from net.Conn, look func(said []byte)) {
			defer to.Close()
			for said := make([]byte, 64<<10); ; {
				n, err := from.Read(said)
				look(said[:n])
				if _, failed := to.Write(said[:n]); err != nil || failed != nil {
					return
				}
			}
		}
		running.Go("requests", func() {
			pass(server, client, func(said []byte) {
				if bytes.Contains(said, word) {
					asked.Store(true)
				}
			})
		})
		running.Go("answers", func() {
			pass(client, server, func([]byte) {
				if asked.Swap(false) {
					answered()
				}
			})
		})
	}
}

// TestInterruptCreating ends a run when the broker has made its topic, and the answer is still on its way: the run is
// one that found out nothing, and the topic does not stay.
func TestInterruptCreating(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, err := proc.Start(proc.Options{DataDir: t.TempDir(), Set: map[string]string{
		"advertised.listeners": "PLAINTEXT://" + listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var relaying task.Group
	relaying.Go("relay", func() {
		relay(listener, b.Bootstrap, []byte("half-made"), func() {
			if ctx.Err() == nil {
				cancel()
				<-time.After(300 * time.Millisecond) // for a client that does not wait for the answer
			}
		})
	})
	defer relaying.Wait()
	defer listener.Close()
	defer b.Kill()
	r, err := Run(ctx, Target{Bootstrap: listener.Addr().String()}, workload(t, "produce", "topic=half-made"),
		RunOptions{})
	if ctx.Err() == nil {
		t.Error("it was not interrupted")
	}
	if err != nil || !r.Interrupted || r.Failed() != nil {
		t.Errorf("%v, %+v", err, r.Verification)
	}
	checkNothingLeft(t, listener.Addr().String())
}
