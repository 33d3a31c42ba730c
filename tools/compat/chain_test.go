package compat

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// chainPlan says how chains run, and what befalls them.
type chainPlan struct {
	version   int16             // transaction.version
	protocols map[string]string // of the group, by library
	each      []fault           // what befalls each library's processes, in any order; then the same again
	broker    int               // how often at least the broker is killed
	lasting   time.Duration     // at least
}

// fault is what befalls the process in a place.
type fault struct {
	place string
	pause time.Duration // stopped for so long; 0: killed
}

// The places of a chain's processes: who writes the input, and two who transform it.
const chainInput, chainFirst, chainSecond = "input", "first", "second"

const (
	chainInPartitions  = 4
	chainOutPartitions = 5
	chainPause         = sessionMs * 5 / 4 * time.Millisecond
	// A process must do so many transactions before the next thing befalls it.
	chainProgress = 3
	// It bounds the wait for anything: the transactions and the sessions of all processes run out in it many times.
	chainWithin = 4 * time.Minute
	// A process that ends by itself is started again; this often it is broken.
	chainEndsMax = 200
)

// TestChains has a chain in each of three libraries: a producer writes numbers in transactions, two members of a group
// read what is committed and write what f makes of it, in transactions that commit the group's offsets. The processes
// and the broker are killed with -9 at any step, and started again; some are stopped for longer than their session. In
// the end the output is f of the input, exactly once, in the order of each partition of the input.
func TestChains(t *testing.T) {
	t.Parallel()
	plan := chainPlan{version: 2, broker: 2,
		protocols: map[string]string{"java": "consumer", "confluent": "classic", "franz": "consumer"},
		each:      []fault{{chainInput, 0}, {chainFirst, 0}, {chainSecond, 0}, {chainFirst, chainPause}}}
	if *long {
		plan.lasting = 4 * time.Minute
		other := plan
		other.version = 1
		other.protocols = map[string]string{"java": "classic", "confluent": "consumer", "franz": "classic"}
		t.Run("transaction.version 1", func(t *testing.T) { runChains(t, &other) })
	}
	t.Run("transaction.version 2", func(t *testing.T) { runChains(t, &plan) })
}

// chainRun is a broker and the chains on it.
type chainRun struct {
	*testing.T
	plan   *chainPlan
	target *target
	admin  *kadm.Client
	chains []*chain

	brokerKills int
}

func runChains(t *testing.T, plan *chainPlan) {
	settings := groupSettings()
	settings["transaction.state.log.num.partitions"] = "5"
	settings["transaction.abort.timed.out.transaction.cleanup.interval.ms"] = "500"
	r := &chainRun{T: t, plan: plan, target: startTarget(t, settings)}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r.admin = adminOf(client)
	if err := r.run(t.Context(), client); err != nil {
		t.Error(err)
	}
	for _, c := range r.chains {
		t.Log(c)
	}
}

func (r *chainRun) run(ctx context.Context, client *kgo.Client) error {
	if err := setTransactionVersion(ctx, client, r.plan.version); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	producing, stopProducing := context.WithCancel(ctx)
	defer stopProducing()
	running, stopRunning := context.WithCancel(ctx)
	defer stopRunning()
	var producers, members errorGroup
	defer func() { cancel(); _ = errors.Join(producers.wait(), members.wait()) }()
	for _, name := range []string{"java", "confluent", "franz"} {
		c := newChain(r, name)
		r.chains = append(r.chains, c)
		_, err := r.admin.CreateTopic(ctx, chainInPartitions, 1, nil, c.in)
		_, err2 := r.admin.CreateTopic(ctx, chainOutPartitions, 1, nil, c.out)
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		producers.do(cancel, func() error { return c.keep(producing, chainInput) })
		for _, place := range []string{chainFirst, chainSecond} {
			members.do(cancel, func() error { return c.keep(running, place) })
		}
	}
	var disturbing errorGroup
	until := time.Now().Add(r.plan.lasting)
	disturbing.do(cancel, func() error { return r.disturbBroker(ctx, until) })
	for _, c := range r.chains {
		disturbing.do(cancel, func() error { return c.disturb(ctx, until) })
	}
	err := disturbing.wait()
	if err == nil { // the producers leave a transaction open
		stopProducing()
		err = producers.wait()
	}
	if err == nil {
		err = r.drain(ctx)
	}
	stopRunning()
	if err := errors.Join(err, producers.wait(), members.wait()); err != nil {
		return err
	}
	if err := r.check(ctx); err != nil {
		return err
	}
	for _, c := range r.chains {
		c.note()
	}
	return nil
}

// errorGroup is goroutines, the first of which to fail ends the others.
type errorGroup struct {
	running sync.WaitGroup
	mu      sync.Mutex
	err     error
}

func (g *errorGroup) do(cancel func(), f func() error) {
	g.running.Go(func() {
		if err := f(); err != nil {
			g.mu.Lock()
			if g.err == nil {
				g.err = err
			}
			g.mu.Unlock()
			cancel()
		}
	})
}

func (g *errorGroup) failed() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

func (g *errorGroup) wait() error {
	g.running.Wait()
	return g.failed()
}

func setTransactionVersion(ctx context.Context, client *kgo.Client, level int16) error {
	request := kmsg.NewPtrUpdateFeaturesRequest()
	request.TimeoutMillis = 30_000
	update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	update.Feature, update.MaxVersionLevel, update.UpgradeType = "transaction.version", level, 1
	if level < 2 {
		update.UpgradeType = 2 // a downgrade that is safe
	}
	request.FeatureUpdates = append(request.FeatureUpdates, update)
	response, err := request.RequestWith(ctx, client)
	if err == nil && response.ErrorCode != 0 {
		err = fmt.Errorf("transaction.version %d: code %d %v", level, response.ErrorCode, response.ErrorMessage)
	}
	return err
}

// chain is the processes of one library, and all that they have told.
type chain struct {
	run               *chainRun
	library, protocol string
	in, out, group    string

	mu      sync.Mutex
	hosts   map[string]*host // by place
	killed  map[*host]bool
	input   []*inputTransaction
	waiting map[[2]string][]chan struct{} // for the process in a place to come to a step
	done    map[string]map[string]int     // transactions by place and end
	kills   map[string]int                // by place and step
	pauses  int
	last    map[string]string // the last step by place
	errors  map[string]int    // why transactions were aborted
	ends    map[string]int    // why processes ended by themselves

	records struct{ in, out, aborted int } // in the end
}

// inputTransaction is numbers that were to be written all or not at all.
type inputTransaction struct {
	from, to int64
	end      string // committed, aborted, or "" where the producer died before it knew
}

func newChain(r *chainRun, name string) *chain {
	return &chain{run: r, library: name, protocol: r.plan.protocols[name], in: "numbers-" + name, out: "made-" + name,
		group: "chain-" + name, hosts: map[string]*host{}, killed: map[*host]bool{}, errors: map[string]int{},
		waiting: map[[2]string][]chan struct{}{}, done: map[string]map[string]int{}, kills: map[string]int{},
		ends: map[string]int{}, last: map[string]string{}}
}

// String is what has happened to the chain.
func (c *chain) String() string {
	return fmt.Sprintf("%s: transactions %v, killed at %v, %d times stopped for a while, the broker killed %d times; "+
		"aborted for %v; ended by themselves %v", c.library, c.done, c.kills, c.pauses, c.run.brokerKills, c.errors,
		c.ends)
}

// program prepares a process.
func (c *chain) program() (*exec.Cmd, error) {
	switch c.library {
	case "java":
		return javaProgram("Chain")
	case "confluent":
		return confluentProgram("chain.py")
	}
	return franzProgram("chain")
}

// command is what the process in a place is to do.
func (c *chain) command(place string) map[string]any {
	command := map[string]any{"op": "chain", "member": place, "topic": c.in, "to": c.out,
		"partitions": chainOutPartitions, "producer": c.producerConfig(place)}
	if place == chainInput {
		delete(command, "to")
		command["op"], command["partitions"], command["from"] = "produce", chainInPartitions, c.numbers()
		return command
	}
	o := memberOptions{bootstrap: c.run.target.bootstrap, group: c.group, protocol: c.protocol, clientID: place}
	if c.protocol == "classic" {
		o.assignor = map[string]string{"java": "cooperative-sticky", "confluent": "range", "franz": "sticky"}[c.library]
	}
	config := libraryNamed(c.library).config(&o)
	if c.library != "franz" { // it has its own
		config["max.poll.interval.ms"] = 30_000 // so long a rebalance waits for who does not come back
	}
	command["config"] = config
	return command
}

func (c *chain) producerConfig(place string) map[string]any {
	id, address := c.group+"-"+place, c.run.target.bootstrap
	if c.library == "franz" {
		return map[string]any{"bootstrap": address, "id": id, "timeoutMs": chainTransactionMs}
	}
	config := map[string]any{"bootstrap.servers": address, "transactional.id": id, "linger.ms": 5,
		"transaction.timeout.ms": chainTransactionMs, "reconnect.backoff.max.ms": 500}
	if c.library == "java" {
		config["retry.backoff.max.ms"] = 500
		return config
	}
	// librdkafka 2.16 drops a broker when none is up, and waits for it to come up (confluentinc/librdkafka issue 5511).
	config["metadata.recovery.strategy"] = "none"
	return config
}

// numbers is the first number that no producer has had in hand.
func (c *chain) numbers() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.input) == 0 {
		return 0
	}
	return c.input[len(c.input)-1].to
}

// keep has a process in a place all the time.
func (c *chain) keep(ctx context.Context, place string) error {
	for ends := 0; ctx.Err() == nil; {
		cmd, err := c.program()
		if err != nil {
			return err
		}
		h, err := launchHost(cmd, c.heard)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.hosts[place] = h
		c.mu.Unlock()
		_ = h.tell(c.command(place)) // where it has ended already, that is seen below
		select {
		case <-h.ended:
		case <-ctx.Done():
			h.kill()
			return nil
		}
		c.mu.Lock()
		if !c.killed[h] {
			ends++
			c.ends[lastLine(h.errs.String())]++
		}
		delete(c.killed, h)
		c.mu.Unlock()
		if ends == chainEndsMax {
			return fmt.Errorf("%s %s has ended %d times: %s", c.library, place, ends, h.errs)
		}
	}
	return nil
}

// heard takes what a process tells.
func (c *chain) heard(place string, e *memberEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[place] = e.Name
	at := [2]string{place, e.Name}
	for _, reached := range c.waiting[at] {
		close(reached)
	}
	delete(c.waiting, at)
	if e.Name == "committed" || e.Name == "aborted" {
		if c.done[place] == nil {
			c.done[place] = map[string]int{}
		}
		c.done[place][e.Name]++
	}
	if e.Error != nil {
		c.errors[lastLine(*e.Error)]++
	}
	if place != chainInput {
		return
	}
	switch e.Name {
	case "began":
		c.input = append(c.input, &inputTransaction{from: e.From, to: e.To})
	case "committed", "aborted":
		c.input[len(c.input)-1].end = e.Name
	}
}

// reached is closed when the process in a place comes to a step.
func (c *chain) reached(place, step string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	reached, at := make(chan struct{}), [2]string{place, step}
	c.waiting[at] = append(c.waiting[at], reached)
	return reached
}

// stepOf gives any step of what a process in a place does over and over.
func stepOf(place string) string {
	steps := []string{"began", "produced", "ending", "committed"}
	if place == chainInput {
		steps = []string{"began", "ending", "committed"}
	}
	return steps[rand.IntN(len(steps))]
}

// await waits until the process in a place comes to a step.
func (c *chain) await(ctx context.Context, place, step string) error {
	select {
	case <-c.reached(place, step):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(chainWithin):
		return fmt.Errorf("%s %s has not come to %q: %v", c.library, place, step, c.complaints())
	}
}

// goesOn waits until the process in a place has committed some transactions.
func (c *chain) goesOn(ctx context.Context, place string) error {
	for range chainProgress {
		if err := c.await(ctx, place, "committed"); err != nil {
			return err
		}
	}
	return nil
}

func (c *chain) complaints() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]string{}
	for place, h := range c.hosts {
		all[place] = fmt.Sprintf("last %s; %s", c.last[place], h.errs)
	}
	return all
}

// disturb lets the faults befall the processes one after the other.
func (c *chain) disturb(ctx context.Context, until time.Time) error {
	for again := true; again; again = time.Now().Before(until) {
		faults := slices.Clone(c.run.plan.each)
		rand.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for _, f := range faults {
			if err := c.goesOn(ctx, f.place); err != nil {
				return err
			}
			if err := c.befall(ctx, f); err != nil {
				return err
			}
		}
	}
	return c.goesOn(ctx, chainFirst)
}

// befall has a fault befall the process in its place, at some step. One that has ended by itself meanwhile is none to
// be stopped: the next one is.
func (c *chain) befall(ctx context.Context, f fault) error {
	for {
		step := stepOf(f.place)
		if err := c.await(ctx, f.place, step); err != nil {
			return err
		}
		c.mu.Lock()
		h := c.hosts[f.place]
		c.mu.Unlock()
		if f.pause == 0 {
			c.kill(f.place, step, h)
			return nil
		}
		if paused, err := h.pause(ctx, f.pause); paused || err != nil {
			c.pauses++
			return err
		}
	}
}

func (c *chain) kill(place, step string, h *host) {
	c.mu.Lock()
	c.killed[h] = true
	c.kills[place+" "+step]++
	c.mu.Unlock()
	h.kill()
}

// disturbBroker kills the broker while any process is at any step.
func (r *chainRun) disturbBroker(ctx context.Context, until time.Time) error {
	for r.brokerKills < r.plan.broker || time.Now().Before(until) {
		for _, c := range r.chains {
			if err := c.goesOn(ctx, chainInput); err != nil {
				return err
			}
		}
		place := []string{chainInput, chainFirst, chainSecond}[rand.IntN(3)]
		if err := r.chains[rand.IntN(len(r.chains))].await(ctx, place, stepOf(place)); err != nil {
			return err
		}
		r.brokerKills++
		if err := r.target.restart(); err != nil {
			return err
		}
	}
	return nil
}

// chainsSeen are the chains that ran, in the words of the table.
var chainsSeen struct {
	sync.Mutex
	rows []string
}

// note adds the chain to the table.
func (c *chain) note() {
	transactions := func(places ...string) string {
		committed, aborted := 0, 0
		for _, place := range places {
			committed += c.done[place]["committed"]
			aborted += c.done[place]["aborted"]
		}
		return fmt.Sprintf("%d, %d", committed, aborted)
	}
	killed := map[bool]int{}
	for at, n := range c.kills {
		killed[strings.HasPrefix(at, chainInput)] += n
	}
	chainsSeen.Lock()
	defer chainsSeen.Unlock()
	row := fmt.Sprintf("| %s | %s | %d | %d | %s | %d | %s | %d |", c.library, c.protocol, c.run.plan.version,
		c.records.in, transactions(chainInput), c.records.out, transactions(chainFirst, chainSecond), c.records.aborted)
	row += fmt.Sprintf(" %d | %d | %d | %d |", killed[true], killed[false], c.pauses, c.run.brokerKills)
	chainsSeen.rows = append(chainsSeen.rows, row)
}

func writeChainResults(out *strings.Builder) {
	out.WriteString(`
## Consume, transform, produce

A chain in each of three libraries: a producer writes records in transactions, and two members of a group read what is
committed and write what they make of it, in transactions that commit the group's offsets; every fifth they abort and do
again. Producers, members and the broker are killed with -9 at any step, and members are stopped for longer than their
session. In the end the output is what must be made of the input, exactly once and in the order of each partition:
franz-go reads it, and after one more death of the broker another library the same. The group is at the end of the
input, and no transaction is open, in any partition or at its coordinator.

| library | protocol | transaction.version | records in | in transactions committed, aborted | records out | in transactions committed, aborted | aborted records | producer killed | member killed | member stopped | broker killed |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
`)
	chainsSeen.Lock()
	defer chainsSeen.Unlock()
	slices.Sort(chainsSeen.rows)
	for _, row := range chainsSeen.rows {
		out.WriteString(row + "\n")
	}
}
