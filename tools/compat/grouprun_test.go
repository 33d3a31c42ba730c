package compat

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/tools/chaos"
)

// groupRun is one topic that a producer writes to while groups of many members read it, and what all of them saw.
type groupRun struct {
	t          *testing.T
	target     *target
	topic      string
	partitions int32
	groups     map[string]*watchedGroup

	producer  *kgo.Client
	ctx       context.Context // of producing and watching
	cancel    context.CancelFunc
	stopWrite context.CancelFunc
	writing   sync.WaitGroup
	watching  sync.WaitGroup

	mu      sync.Mutex
	written map[int32]map[int64]string // what was acknowledged: partition → offset → value
	acked   int
}

// watchedGroup is one group of a run.
type watchedGroup struct {
	run     *groupRun
	name    string
	history *chaos.GroupHistory
	hosts   map[library]*host
	members map[string]*runningMember
	// What members subscribe to, if not the topic's name.
	subscription string

	mu      sync.Mutex
	stopped map[string]bool // members that said that they have ended
	failed  map[string]int  // commits that were refused, by reason
}

type runningMember struct {
	host *host
}

const (
	// awaitWithin bounds the wait for any state of a group: many rebalances and sessions fit in, and every pause of a
	// busy machine.
	awaitWithin = 4 * time.Minute
	recordKeys  = 60
	writePause  = 5 * time.Millisecond
)

// startRun makes the topic and begins to write to it.
func startRun(t *testing.T, tg *target, partitions int32) *groupRun {
	t.Helper()
	r := &groupRun{t: t, target: tg, topic: "groups-" + runID(), partitions: partitions,
		groups: map[string]*watchedGroup{}, written: map[int32]map[int64]string{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(tg.bootstrap), kgo.DefaultProduceTopic(r.topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // kafkajs and aiokafka bring no other codec by themselves
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	r.producer = client
	r.ctx, r.cancel = context.WithCancel(t.Context())
	admin := adminOf(client)
	if _, err := admin.CreateTopic(r.ctx, partitions, 1, nil, r.topic); err != nil {
		t.Fatal(err)
	}
	if tg.isKafka {
		if err := settle(r.ctx, admin); err != nil {
			t.Fatal(err)
		}
	}
	writeCtx, stop := context.WithCancel(r.ctx)
	r.stopWrite = stop
	r.writing.Go(func() { r.write(writeCtx) })
	t.Cleanup(r.end)
	return r
}

func (r *groupRun) end() {
	r.cancel()
	r.writing.Wait()
	r.watching.Wait()
	r.producer.Close()
}

// write sends a record after the other, each of one of recordKeys keys, whose partition it decides.
func (r *groupRun) write(ctx context.Context) {
	tick := time.NewTicker(writePause)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := r.producer.Flush(r.ctx); err != nil && r.ctx.Err() == nil {
				r.t.Error(err)
			}
			return
		}
		key := n % recordKeys
		record := &kgo.Record{Partition: int32(key) % r.partitions, Key: fmt.Appendf(nil, "key-%d", key),
			Value: fmt.Appendf(nil, "key-%d %d", key, n/recordKeys)}
		r.producer.Produce(r.ctx, record, func(record *kgo.Record, err error) {
			if err != nil {
				if r.ctx.Err() == nil {
					r.t.Errorf("produce: %v", err)
				}
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.written[record.Partition] == nil {
				r.written[record.Partition] = map[int64]string{}
			}
			r.written[record.Partition][record.Offset] = string(record.Value)
			r.acked++
		})
	}
}

// acknowledged is the number of records that were written.
func (r *groupRun) acknowledged() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// watch begins a group, and asks the broker about it again and again until the run ends.
func (r *groupRun) watch(name string) *watchedGroup {
	g := &watchedGroup{run: r, name: name, history: chaos.NewGroupHistory(), hosts: map[library]*host{},
		members: map[string]*runningMember{}, stopped: map[string]bool{}, failed: map[string]int{}}
	r.groups[name] = g
	r.watching.Go(g.ask)
	return g
}

// ask notes committed offsets and assignments as the broker tells them. What fails while the broker is down, or the
// group is not there yet, is no answer.
func (g *watchedGroup) ask() {
	client, err := kgo.NewClient(kgo.SeedBrokers(g.run.target.bootstrap), kgo.RetryTimeout(2*time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }))
	if err != nil {
		g.run.t.Error(err)
		return
	}
	defer client.Close()
	admin := adminOf(client)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.run.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(g.run.ctx, 5*time.Second)
		asked := time.Now()
		if offsets, err := admin.FetchOffsets(ctx, g.name); err == nil {
			answered := time.Now()
			offsets.Each(func(o kadm.OffsetResponse) {
				if o.Err == nil && o.Topic == g.run.topic {
					g.history.Fetched(asked, answered, o.Partition, o.At)
				}
			})
		}
		g.describe(ctx, admin)
		cancel()
	}
}

func (g *watchedGroup) describe(ctx context.Context, admin *kadm.Client) {
	members := map[string][]int32{}
	if groups, err := admin.DescribeConsumerGroups(ctx, g.name); err == nil && groups[g.name].Err == nil {
		for _, m := range groups[g.name].Members {
			members[m.MemberID] = slices.Collect(maps.Keys(m.Assignment[g.run.topic]))
		}
		g.history.Snapshot(members)
		return
	}
	groups, err := admin.DescribeGroups(ctx, g.name)
	if err != nil || groups[g.name].Err != nil {
		return
	}
	for _, m := range groups[g.name].Members {
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				members[m.MemberID] = append(members[m.MemberID], topic.Partitions...)
			}
		}
	}
	g.history.Snapshot(members)
}

// host starts a further process for members of a library.
func (g *watchedGroup) host(l library) *host {
	g.run.t.Helper()
	cmd, err := l.host()
	if err != nil {
		g.run.t.Fatal(err)
	}
	return startHost(g.run.t, cmd, g.heard)
}

func (g *watchedGroup) heard(member string, e *memberEvent) {
	at := time.UnixMilli(e.Timestamp)
	partitions := make([]int32, len(e.Partitions))
	for i, p := range e.Partitions {
		partitions[i] = p.Partition
	}
	switch e.Name {
	case "partitions_assigned":
		generation := -1
		if e.Generation != nil {
			generation = *e.Generation
		}
		g.history.Assigned(at, member, generation, partitions)
	case "partitions_revoked":
		g.history.Revoked(at, member, partitions)
	case "record_data":
		g.history.Record(member, e.Partition, e.Offset, e.Value)
	case "offsets_committed":
		if !e.Success {
			g.mu.Lock()
			defer g.mu.Unlock()
			if e.Error != nil {
				g.failed[*e.Error]++
			}
			return
		}
		for _, o := range e.Offsets {
			// Its moment was cut to a whole millisecond: a question within that one may have been before it.
			g.history.Committed(at.Add(time.Millisecond), o.Partition, o.Offset)
		}
	case "shutdown_complete":
		g.history.Ended(at, member)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.stopped[member] = true
	}
}

// join starts a member in a host. Its options' address and group are those of the run.
func (g *watchedGroup) join(h *host, l library, name string, o memberOptions) {
	g.run.t.Helper()
	o.bootstrap, o.group, o.clientID = g.run.target.bootstrap, g.name, name
	g.members[name] = &runningMember{h}
	if l == (aiokafkaHost{}) { // it looks at the errors of partitions only, which OffsetFetch 2 to 7 do not have
		g.history.Forgetful(name)
	}
	topic := g.run.topic
	if g.subscription != "" {
		topic = g.subscription
	}
	h.send(g.run.t, map[string]any{"op": "start", "member": name, "topic": topic, "config": l.config(&o)})
}

// leave stops a member and waits for its end.
func (g *watchedGroup) leave(name string) {
	g.run.t.Helper()
	m := g.members[name]
	delete(g.members, name)
	m.host.send(g.run.t, map[string]any{"op": "stop", "member": name})
	g.await("the end of "+name, func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.stopped[name]
	})
	g.mu.Lock()
	delete(g.stopped, name)
	g.mu.Unlock()
}

// leaveAll stops all members at once.
func (g *watchedGroup) leaveAll() {
	g.run.t.Helper()
	for name, m := range g.members {
		m.host.send(g.run.t, map[string]any{"op": "stop", "member": name})
	}
	g.await(fmt.Sprintf("the end of %d members", len(g.members)), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.stopped) == len(g.members)
	})
	clear(g.members)
}

// killHost ends a process and with it the members in it.
func (g *watchedGroup) killHost(h *host) {
	at := time.Now()
	h.kill()
	for name, m := range g.members {
		if m.host == h {
			g.history.Ended(at, name)
			delete(g.members, name)
		}
	}
}

// await waits for a state of the group.
func (g *watchedGroup) await(what string, reached func() bool) {
	g.run.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(g.run.ctx, awaitWithin)
	defer cancel()
	if err := waitFor(ctx, func() (bool, error) { return reached(), nil }); err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.run.t.Fatalf("group %s: %v without %s; shares %v, read %d of %d, commits %d, refused %v", g.name,
			time.Since(began), what, g.history.Shares(), g.history.Distinct(), g.run.acknowledged(),
			g.history.Acknowledged(), g.failed)
	}
	g.run.t.Logf("%s: %s after %v", g.name, what, time.Since(began).Round(10*time.Millisecond))
}

// awaitShared waits until every partition has one owner, and every member owns some if there are enough for all. That
// the owner before has given a partition up may be heard after that it has a new one.
func (g *watchedGroup) awaitShared(what string) {
	g.run.t.Helper()
	want := min(len(g.members), int(g.run.partitions))
	g.await(fmt.Sprintf("%d members sharing %d partitions %s", want, g.run.partitions, what), func() bool {
		partitions, members := g.history.Owners()
		owned := 0
		for _, n := range g.history.Shares() {
			owned += n
		}
		return partitions == int(g.run.partitions) && owned == partitions && members == want
	})
}

// awaitRead waits until the group has read all that was written before the call.
func (g *watchedGroup) awaitRead(what string) {
	g.run.t.Helper()
	all := g.run.acknowledged()
	g.await(fmt.Sprintf("having read %d records %s", all, what), func() bool { return g.history.Distinct() >= all })
}

// killBroker ends the broker with -9 and starts it again. Until the sessions of that time are over, members may have
// been thrown out without knowing.
func (r *groupRun) killBroker() {
	r.t.Helper()
	began := time.Now()
	if err := r.target.restart(); err != nil {
		r.t.Fatal(err)
	}
	for _, g := range r.groups {
		g.history.Disturbed(began, time.Now().Add(2*sessionMs*time.Millisecond))
	}
	r.t.Logf("the broker was killed and started again after %v", time.Since(began).Round(time.Millisecond))
}

// finish stops writing, waits until every group has read all, stops the members and judges what was seen.
func (r *groupRun) finish() {
	r.t.Helper()
	r.stopWrite()
	r.writing.Wait()
	for _, g := range r.groups {
		g.awaitRead("in the end")
		g.leaveAll()
	}
	r.cancel()
	r.watching.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	ends := map[int32]int64{}
	for p, records := range r.written {
		for offset := range records {
			ends[p] = max(ends[p], offset+1)
		}
	}
	for _, g := range r.groups {
		summary := g.history.Check(ends, func(p int32, offset int64) string { return r.written[p][offset] })
		if len(summary.Violations) > 0 {
			r.t.Errorf("group %s: %v", g.name, summary)
		} else {
			r.t.Logf("group %s: %v; refused commits %v", g.name, summary, g.failed)
		}
		if summary.Commits == 0 || summary.Fetches == 0 || summary.Snapshots == 0 {
			r.t.Errorf("group %s: the run proved nothing: %v", g.name, summary)
		}
	}
}
