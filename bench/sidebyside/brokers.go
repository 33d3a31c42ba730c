package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"spate/bench"
	"spate/bench/versus"
	"spate/internal/proc"
)

// broker is one of the two under test.
type broker struct {
	name       string
	durability string // what an acknowledgement means in this run, for the report
	topics     string // configs of the topics of the part "durable"
	// start begins with what the directory holds; the settings come on top of the broker's own.
	start func(dir string, settings map[string]string) (*running, error)
}

type running struct {
	bench.Target
	startup time.Duration
	kill    func()
	stop    func() error
}

func startKafka(dir string, settings map[string]string) (*running, error) {
	port, err := proc.FreePortPair()
	if err != nil {
		return nil, err
	}
	k, err := proc.StartKafka(dir, port, settings)
	if err != nil {
		return nil, err
	}
	return &running{bench.Target{Bootstrap: k.Bootstrap, PID: k.PID}, k.Startup, k.Kill, k.Stop}, nil
}

func startSpate(durability string) func(dir string, settings map[string]string) (*running, error) {
	return func(dir string, settings map[string]string) (*running, error) {
		all := map[string]string{"spate.ack.durability": durability}
		maps.Copy(all, settings)
		began := time.Now()
		b, err := proc.Start(proc.Options{DataDir: filepath.Join(dir, "data"), Set: all})
		if err != nil {
			return nil, err
		}
		return &running{bench.Target{Bootstrap: b.Bootstrap, PID: b.PID}, time.Since(began), b.Kill, b.Stop}, nil
	}
}

// serve starts a broker with what a directory holds, has it measured, and stops it.
func serve(b broker, dir string, settings map[string]string, limit time.Duration,
	measure func(ctx context.Context, t *running) error,
) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	t, err := b.start(dir, settings)
	if err != nil {
		return err
	}
	defer t.kill()
	if err := measure(ctx, t); err != nil {
		return err
	}
	return t.stop()
}

// onFresh has a broker measured that begins with nothing.
func onFresh(b broker, limit time.Duration, measure func(ctx context.Context, t *running, dir string) error) error {
	dir, err := os.MkdirTemp("", "spate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return serve(b, dir, nil, limit, func(ctx context.Context, t *running) error { return measure(ctx, t, dir) })
}

// onFilled fills a directory of each broker once, and has them measured in turn on what is there.
func onFilled(brokers []broker, rounds int, say sayer, fill func(b broker, dir string) error,
	measure func(n int, dir string) error,
) error {
	dirs := make([]string, len(brokers))
	for n, b := range brokers {
		dir, err := os.MkdirTemp("", "spate-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		dirs[n] = dir
		say("filling %s", b.name)
		if err := fill(b, dir); err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	return inTurn(brokers, rounds, say, func(n int) error { return measure(n, dirs[n]) })
}

// sayer tells whoever waits how far the measuring is.
type sayer func(format string, args ...any)

// inTurn measures each broker once a round.
func inTurn(brokers []broker, rounds int, say sayer, measure func(n int) error) error {
	for round := range rounds {
		for _, n := range versus.Order(len(brokers), round) { // drift of the machine weighs on all alike
			say("round %d of %d: %s", round+1, rounds, brokers[n].name)
			if err := measure(n); err != nil {
				return fmt.Errorf("%s: %w", brokers[n].name, err)
			}
		}
	}
	return nil
}

// settle gives a broker that has just started the time to finish what it does in the background.
func settle() { time.Sleep(3 * time.Second) }

func addMemory(r results, row string, t *running) error {
	u, err := bench.SpentBy(t.PID)
	r.add(row, float64(u.AnonymousBytes)/(1<<20))
	return err
}
