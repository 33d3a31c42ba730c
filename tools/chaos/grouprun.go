package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/proc"
)

// GroupPlan is one run of a consumer group under faults: rounds in which members come and go while the broker fails
// and is started again, then the check.
type GroupPlan struct {
	Plan
	Consumer bool // the consumer protocol; else the classic one
	Members  int
}

const (
	groupTopic      = "chaos-group"
	groupName       = "chaos"
	groupPartitions = 6
	groupSession    = 3 * time.Second
	groupHeartbeat  = 200 * time.Millisecond
	// Each round goes on until the group has had so many more commits acknowledged.
	commitsPerRound = 100
)

// groupLoad is the group of a run, with a producer that writes to its topic and a client that asks about it.
type groupLoad struct {
	plan      *GroupPlan
	bootstrap string
	history   *GroupHistory

	cancel      context.CancelFunc
	running     sync.WaitGroup
	stopWriting func() // and wait for the last acknowledgement

	mu      sync.Mutex
	written map[place]string // what was acknowledged
	failed  []error          // of the producer

	members []*groupMember // the run's own goroutine
	started int
}

// groupMember is one consumer of the group.
type groupMember struct {
	name    string
	client  *kgo.Client
	cancel  context.CancelFunc
	polling sync.WaitGroup
}

// settings make groups quick.
func (p *GroupPlan) settings() map[string]string {
	session := fmt.Sprint(groupSession.Milliseconds())
	set := map[string]string{
		"group.initial.rebalance.delay.ms": "100", "group.min.session.timeout.ms": "1000",
		"group.consumer.session.timeout.ms": session, "group.consumer.min.session.timeout.ms": "1000",
		"group.consumer.heartbeat.interval.ms":     fmt.Sprint(groupHeartbeat.Milliseconds()),
		"group.consumer.min.heartbeat.interval.ms": "100", "offsets.topic.num.partitions": "3",
	}
	maps.Copy(set, p.Set)
	return set
}

// Run executes the plan. The error is about the run itself; violations stand in the summary.
func (p *GroupPlan) Run(ctx context.Context) (GroupSummary, error) {
	fmt.Fprintf(p.Out, "chaos: group: consumer protocol=%v members=%d rounds=%d seed=%d data=%s\n",
		p.Consumer, p.Members, p.Rounds, p.Seed, p.DataDir)
	random := rand.New(rand.NewPCG(p.Seed, 1))
	n, err := startNode(p.DataDir, p.settings())
	if err != nil {
		return GroupSummary{}, err
	}
	defer func() { n.Kill() }()
	if err := CreateTopic(ctx, n.Bootstrap, groupTopic, groupPartitions); err != nil {
		return GroupSummary{}, err
	}
	load, err := startGroup(p, n.Bootstrap)
	if err != nil {
		return GroupSummary{}, err
	}
	defer load.stop()
	var failed time.Time
	err = p.rounds(n, random, course{
		work: func() error {
			if err := load.await(n, commitsPerRound); err != nil {
				return err
			}
			// A change of the members shortly before the fault: the kill meets every step of a rebalance.
			return load.change(random)
		},
		fault: func(b *proc.Broker) error {
			failed = time.Now()
			return p.Fault(b)
		},
		told: func() string {
			load.history.Disturbed(failed, time.Now().Add(2*groupSession))
			return fmt.Sprintf("read=%d commits=%d members=%d", load.history.Distinct(),
				load.history.Acknowledged(), len(load.members))
		},
	})
	if err != nil {
		return GroupSummary{}, err
	}
	summary, err := load.finish(ctx, n)
	if err != nil {
		return summary, err
	}
	fmt.Fprintf(p.Out, "chaos: group: %v\n", summary)
	if err := n.Stop(); err != nil {
		return summary, err
	}
	return summary, verifyFiles(p.DataDir)
}

func startGroup(p *GroupPlan, bootstrap string) (*groupLoad, error) {
	l := &groupLoad{plan: p, bootstrap: bootstrap, history: NewGroupHistory(), written: map[place]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	producer, err := l.client(kgo.DefaultProduceTopic(groupTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(inFlightMax))
	if err != nil {
		return nil, err
	}
	asker, err := l.client(kgo.RetryTimeout(time.Second))
	if err != nil {
		return nil, err
	}
	writing, stopWriting := context.WithCancel(ctx)
	written := make(chan struct{})
	l.stopWriting = func() { stopWriting(); <-written }
	l.running.Go(func() {
		defer close(written)
		l.produce(writing, producer)
	})
	l.running.Go(func() { l.ask(ctx, asker) })
	for range p.Members {
		if err := l.join(); err != nil {
			l.stop()
			return nil, err
		}
	}
	return l, nil
}

func (l *groupLoad) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(l.bootstrap), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))...)
}

// produce writes small records at a pace that the group keeps up with.
func (l *groupLoad) produce(ctx context.Context, client *kgo.Client) {
	defer client.Close()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := int64(0); ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r := &kgo.Record{Partition: int32(n % groupPartitions), Value: fmt.Appendf(nil, "record %d", n)}
		client.Produce(ctx, r, func(r *kgo.Record, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if err == nil {
				l.written[place{r.Partition, r.Offset}] = string(r.Value)
			} else if ctx.Err() == nil {
				l.failed = append(l.failed, err)
			}
		})
	}
}

// ask notes what the broker says of the group. What it refuses while it is down or loads is no answer.
func (l *groupLoad) ask(ctx context.Context, client *kgo.Client) {
	defer client.Close()
	admin := kadm.NewClient(client)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		l.askOnce(ctx, admin)
		l.history.Beat(time.Now(), groupSession)
	}
}

func (l *groupLoad) askOnce(ctx context.Context, admin *kadm.Client) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	asked := time.Now()
	if offsets, err := admin.FetchOffsets(ctx, groupName); err == nil {
		answered := time.Now()
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Err == nil {
				l.history.Fetched(asked, answered, o.Partition, o.At)
			}
		})
	}
	members := map[string][]int32{}
	if l.plan.Consumer {
		groups, err := admin.DescribeConsumerGroups(ctx, groupName)
		if err != nil || groups[groupName].Err != nil {
			return
		}
		for _, m := range groups[groupName].Members {
			members[m.MemberID] = slices.Collect(maps.Keys(m.Assignment[groupTopic]))
		}
	} else {
		groups, err := admin.DescribeGroups(ctx, groupName)
		if err != nil || groups[groupName].Err != nil {
			return
		}
		for _, m := range groups[groupName].Members {
			if assigned, ok := m.Assigned.AsConsumer(); ok {
				for _, topic := range assigned.Topics {
					members[m.MemberID] = append(members[m.MemberID], topic.Partitions...)
				}
			}
		}
	}
	l.history.Snapshot(members)
}

// join starts a further member.
func (l *groupLoad) join() error {
	m := &groupMember{name: fmt.Sprintf("member-%d", l.started)}
	l.started++
	revoked := func(_ context.Context, _ *kgo.Client, of map[string][]int32) {
		l.history.Revoked(time.Now(), m.name, of[groupTopic])
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(groupName), kgo.ConsumeTopics(groupTopic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(groupSession),
		kgo.HeartbeatInterval(groupHeartbeat), kgo.RebalanceTimeout(5 * time.Second), kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(100 * time.Millisecond), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked),
		kgo.OnPartitionsAssigned(func(_ context.Context, client *kgo.Client, of map[string][]int32) {
			_, generation := client.GroupMetadata()
			l.history.Assigned(time.Now(), m.name, int(generation), of[groupTopic])
		}),
	}
	if l.plan.Consumer {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	client, err := l.client(options...)
	if err != nil {
		return err
	}
	m.client = client
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.polling.Go(func() { l.poll(ctx, m) })
	l.members = append(l.members, m)
	return nil
}

// poll reads and commits what it has read, before anything else is read.
func (l *groupLoad) poll(ctx context.Context, m *groupMember) {
	for ctx.Err() == nil {
		ends := map[int32]kgo.EpochOffset{}
		m.client.PollRecords(ctx, 200).EachRecord(func(r *kgo.Record) {
			l.history.Record(m.name, r.Partition, r.Offset, string(r.Value))
			ends[r.Partition] = kgo.EpochOffset{Epoch: -1, Offset: r.Offset + 1}
		})
		if len(ends) > 0 {
			l.commit(m, ends)
		}
		m.client.AllowRebalance()
	}
}

func (l *groupLoad) commit(m *groupMember, ends map[int32]kgo.EpochOffset) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{groupTopic: ends},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				return // no promise
			}
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					if p.ErrorCode == 0 {
						l.history.Committed(time.Now(), p.Partition, ends[p.Partition].Offset)
					}
				}
			}
		})
}

// change lets a member leave or another one join.
func (l *groupLoad) change(random *rand.Rand) error {
	if len(l.members) < 2 || len(l.members) < 2*l.plan.Members && random.IntN(2) == 0 {
		return l.join()
	}
	at := random.IntN(len(l.members))
	m := l.members[at]
	l.members = slices.Delete(l.members, at, at+1)
	l.running.Go(func() { l.leave(m) }) // the fault may come before it is through
	return nil
}

func (l *groupLoad) leave(m *groupMember) {
	m.cancel()
	m.polling.Wait()
	m.client.CloseAllowingRebalance()
	l.history.Ended(time.Now(), m.name)
}

// await waits until the group has had so many more commits acknowledged.
func (l *groupLoad) await(n *node, more int) error {
	want := l.history.Acknowledged() + more
	return l.until(n, fmt.Sprintf("%d commits", want), func() bool { return l.history.Acknowledged() >= want })
}

func (l *groupLoad) until(n *node, what string, reached func() bool) error {
	return n.until(reached, func() string {
		return fmt.Sprintf("no %s, but read=%d commits=%d shares=%v", what, l.history.Distinct(),
			l.history.Acknowledged(), l.history.Shares())
	})
}

// finish stops the producer, lets the group read what was acknowledged, and judges.
func (l *groupLoad) finish(ctx context.Context, n *node) (GroupSummary, error) {
	client, err := l.client()
	if err != nil {
		return GroupSummary{}, err
	}
	defer client.Close()
	l.stopWriting()
	if err := l.until(n, "end of what is to be read", func() bool { return l.unread() == 0 }); err != nil {
		return GroupSummary{}, fmt.Errorf("%d records are not read: %w", l.unread(), err)
	}
	l.askOnce(ctx, kadm.NewClient(client)) // after the last acknowledged commit
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := map[int32]int64{}
	for at := range l.written {
		ends[at.Partition] = max(ends[at.Partition], at.Offset+1)
	}
	// A record that was kept, though its acknowledgement was lost, has a content that only its readers know.
	summary := l.history.Check(ends, func(p int32, offset int64) string {
		at := place{p, offset}
		if value, acked := l.written[at]; acked {
			return value
		}
		return l.history.read[at]
	})
	return summary, n.told(errors.Join(l.failed...))
}

// unread counts the acknowledged records that no member has read.
func (l *groupLoad) unread() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history.mu.Lock()
	defer l.history.mu.Unlock()
	n := 0
	for at := range l.written {
		if _, seen := l.history.read[at]; !seen {
			n++
		}
	}
	return n
}

// stop ends all clients.
func (l *groupLoad) stop() {
	l.stopWriting()
	l.cancel()
	for _, m := range l.members {
		l.leave(m)
	}
	l.members = nil
	l.running.Wait()
}
