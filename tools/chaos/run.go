package chaos

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"time"

	"spate/internal/proc"
)

// Fault makes the broker fail and leaves its data directory ready for the next start, or leaves the broker running.
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
	// roundWithin is when something must have moved again, roundMax when all that a round waits for must be there.
	roundWithin = 2 * time.Minute
	roundMax    = 10 * time.Minute
)

// Run executes the plan and returns what the clients saw. The error is about the run itself; violations stand in the
// summary.
func (p Plan) Run(ctx context.Context) (Summary, error) {
	fmt.Fprintf(p.Out, "chaos: rounds=%d seed=%d data=%s\n", p.Rounds, p.Seed, p.DataDir)
	n, err := startNode(p.DataDir, p.Set)
	if err != nil {
		return Summary{}, err
	}
	defer func() { n.Kill() }()
	if err := CreateTopic(ctx, n.Bootstrap, topic, partitions); err != nil {
		return Summary{}, err
	}
	load, err := StartLoad(n.Bootstrap, topic, partitions, producers)
	if err != nil {
		return Summary{}, err
	}
	defer load.Stop()
	err = p.rounds(n, rand.New(rand.NewPCG(p.Seed, 0)), course{
		work:  func() error { return load.await(n, recordsPerRound) },
		fault: p.Fault,
		told:  func() string { return fmt.Sprintf("acknowledged=%d", load.Acked()) },
	})
	if err != nil {
		return Summary{}, err
	}
	load.Stop()
	readCtx, cancel := context.WithTimeout(ctx, roundMax)
	defer cancel()
	final, err := load.ReadAll(readCtx)
	if err != nil {
		return Summary{}, n.told(err)
	}
	summary := load.History.Check(final)
	fmt.Fprintf(p.Out, "chaos: %v (records given up by producers: %d)\n", summary, load.failed.Load())
	if err := n.Stop(); err != nil {
		return summary, err
	}
	return summary, verifyFiles(p.DataDir)
}

// await waits until the load has had so many more acknowledgements.
func (l *Load) await(n *node, more int) error {
	want := l.Acked() + more
	return n.until(func() bool { return l.Acked() >= want }, func() string {
		return fmt.Sprintf("only %d of %d records were acknowledged", l.Acked(), want)
	})
}

// course is what happens in each round of a plan.
type course struct {
	work  func() error // lets the load do a round's work
	fault Fault
	told  func() string // how far the load has come
}

// rounds goes through the rounds of a plan: work, a random while more, the fault, and the next start, unless the fault
// has left the broker running. In the end there is work once more.
func (p Plan) rounds(n *node, random *rand.Rand, c course) error {
	for round := range p.Rounds {
		if err := c.work(); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		<-time.After(time.Duration(random.Int64N(int64(roundExtraMax))))
		if err := c.fault(n.Broker); err != nil {
			return fmt.Errorf("round %d: %w: %s", round, err, n.LogTail())
		}
		select {
		case <-n.Exited():
			if err := n.start(); err != nil {
				return fmt.Errorf("round %d: restart: %w", round, err)
			}
		default:
		}
		fmt.Fprintf(p.Out, "chaos: round %d: %s restart_ms=%d\n", round, c.told(), n.Startup.Milliseconds())
	}
	if err := c.work(); err != nil {
		return fmt.Errorf("after the last fault: %w", err)
	}
	return nil
}

// node is the broker of a run, which is started again at the same address.
type node struct {
	*proc.Broker
	options proc.Options
}

// startNode starts a broker with its data in dir.
func startNode(dir string, set map[string]string) (*node, error) {
	listen, err := proc.FreeAddress()
	if err != nil {
		return nil, err
	}
	n := &node{options: proc.Options{DataDir: dir, Listen: listen, Set: set}}
	return n, n.start()
}

// start starts the broker again. One that does not start leaves the one before it, which is dead.
func (n *node) start() error {
	b, err := proc.Start(n.options)
	if err == nil {
		n.Broker = b
	}
	return err
}

// until waits for what the load is to do, and tells in the end how much of it is missing. A slow machine has more time
// as long as that becomes less.
func (n *node) until(reached func() bool, missing func() string) error {
	began, last := time.Now(), missing()
	for since := began; !reached(); {
		select {
		case <-n.Exited():
			return fmt.Errorf("the broker died by itself: %s", n.LogTail())
		case <-time.After(5 * time.Millisecond):
		}
		now, left := time.Now(), missing()
		if left != last {
			last, since = left, now
		}
		if now.Sub(since) > roundWithin || now.Sub(began) > roundMax {
			return fmt.Errorf("%s after %v, of which %v without a change: %s", left, now.Sub(began), now.Sub(since),
				n.LogTail())
		}
	}
	return nil
}

// told adds the broker's last words to what went wrong with it.
func (n *node) told(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, n.LogTail())
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
