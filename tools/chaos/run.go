package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"time"

	"spate/internal/proc"
)

// Fault makes the broker fail and leaves its data directory ready for the next start.
type Fault func(b *proc.Broker) error

// Plan is one run: rounds of load, fault and restart, then the check.
type Plan struct {
	DataDir string // log.dirs
	Rounds  int
	Seed    uint64
	Fault   Fault
	Set     map[string]string // broker configs beside the defaults
	Out     io.Writer         // progress and counts
}

const (
	topic      = "chaos"
	partitions = 3
	producers  = 4
	// Each round runs until this many more records are acknowledged, then a random while longer: a slow machine gets
	// more time, not less work.
	recordsPerRound = 3000
	roundExtraMax   = 400 * time.Millisecond
	roundWithin     = 2 * time.Minute
)

// Run executes the plan and returns what the clients saw. The error is about the run itself; violations stand in the
// summary.
func (p Plan) Run(ctx context.Context) (Summary, error) {
	fmt.Fprintf(p.Out, "chaos: rounds=%d seed=%d data=%s\n", p.Rounds, p.Seed, p.DataDir)
	random := rand.New(rand.NewPCG(p.Seed, 0))
	listen, err := freeAddress()
	if err != nil {
		return Summary{}, err
	}
	start := func() (*proc.Broker, error) {
		return proc.Start(proc.Options{DataDir: p.DataDir, Listen: listen, Set: p.Set})
	}
	broker, err := start()
	if err != nil {
		return Summary{}, err
	}
	defer func() { broker.Kill() }()
	if err := CreateTopic(ctx, broker.Bootstrap, topic, partitions); err != nil {
		return Summary{}, err
	}
	load, err := StartLoad(broker.Bootstrap, topic, partitions, producers)
	if err != nil {
		return Summary{}, err
	}
	defer load.Stop()
	for round := range p.Rounds {
		if err := load.await(load.Acked()+recordsPerRound, broker); err != nil {
			return Summary{}, fmt.Errorf("round %d: %w", round, err)
		}
		<-time.After(time.Duration(random.Int64N(int64(roundExtraMax))))
		if err := p.Fault(broker); err != nil {
			return Summary{}, fmt.Errorf("round %d: %w", round, err)
		}
		if broker, err = start(); err != nil {
			return Summary{}, fmt.Errorf("round %d: restart: %w", round, err)
		}
		fmt.Fprintf(
			p.Out,
			"chaos: round %d: acknowledged=%d restart_ms=%d\n",
			round,
			load.Acked(),
			broker.Startup.Milliseconds(),
		)
	}
	if err := load.await(load.Acked()+recordsPerRound, broker); err != nil {
		return Summary{}, fmt.Errorf("after the last restart: %w", err)
	}
	load.Stop()
	readCtx, cancel := context.WithTimeout(ctx, roundWithin)
	defer cancel()
	final, err := load.ReadAll(readCtx)
	if err != nil {
		return Summary{}, err
	}
	summary := load.History.Check(final)
	fmt.Fprintf(p.Out, "chaos: %v (records given up by producers: %d)\n", summary, load.failed.Load())
	if err := broker.Stop(); err != nil {
		return summary, err
	}
	return summary, verifyFiles(p.DataDir)
}

// await waits until the load has had want acknowledgements.
func (l *Load) await(want int, b *proc.Broker) error {
	deadline := time.Now().Add(roundWithin)
	for l.Acked() < want {
		select {
		case <-b.Exited():
			return fmt.Errorf("the broker died by itself: %s", b.LogTail())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf(
				"only %d of %d records were acknowledged in %v: %s",
				l.Acked(),
				want,
				roundWithin,
				b.LogTail(),
			)
		}
	}
	return nil
}

// verifyFiles runs "spate verify" over the log directories of a stopped broker, separated by commas.
func verifyFiles(dir string) error {
	binary, err := proc.Binary()
	if err != nil {
		return err
	}
	args := append([]string{"verify"}, strings.Split(dir, ",")...)
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("spate verify %s: %w\n%s", dir, err, out)
	}
	return nil
}

// freeAddress picks a loopback port that nothing listens on, so that a restarted broker keeps its address.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
