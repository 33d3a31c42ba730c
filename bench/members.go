package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/result"
	"spate/internal/task"
)

// group is a reader that is a consumer group, whose members come and go. A record may be given to it again when its
// partition has moved, but none may be left out.
type group struct {
	*reader
	id string

	mu      sync.Mutex
	members []*member
	alone   map[int]time.Time // partitions that were taken from a member, and when
	leaving task.Group        // members that are on their way out
}

// member is one member of a group.
type member struct {
	client  *kgo.Client
	cancel  context.CancelFunc
	reading task.Group
}

// commitEvery is how often a member commits what it has read: so much is read again after a member has vanished.
const commitEvery = 500 * time.Millisecond

// addGroup makes the group with its first members, and waits until they own all partitions.
func (r *run) addGroup() error {
	g := &group{reader: &reader{run: r, name: "group", from: r.writers, timed: true, counted: true,
		guards: make([]sync.Mutex, r.partitions)}, id: fmt.Sprintf("spate-bench-%08x", r.id),
		alone: map[int]time.Time{}}
	g.next = offsetsAt(r.starts)
	for p := range r.partitions {
		g.logs = append(g.logs, r.newLog(p, true))
		g.alone[p] = time.Now()
	}
	g.leave = g.end
	r.readers, r.group = append(r.readers, g.reader), g
	for range r.w.Members {
		if err := g.join(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(makeWithin)
	for g.open() > 0 {
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("group %s: %d partitions have no owner after %v", g.id, g.open(), makeWithin),
				r.meter.firstError())
		}
		if r.soft.Err() != nil {
			return nil
		}
		time.Sleep(settled)
	}
	r.meter.moves.Store(0)
	return nil
}

// open is how many partitions have no owner.
func (g *group) open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.alone)
}

// join lets a new member in.
func (g *group) join() error {
	r := g.run
	options := []kgo.Opt{kgo.ConsumerGroup(g.id), kgo.ConsumeTopics(r.topics...), kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(g.assigned), kgo.OnPartitionsRevoked(g.revoked), kgo.OnPartitionsLost(g.lost)}
	if r.w.GroupProtocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	client, err := r.client(options...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.hard)
	m := &member{client: client, cancel: cancel}
	g.mu.Lock()
	g.members = append(g.members, m)
	g.mu.Unlock()
	m.reading.Go("bench: member", func() {
		committed := time.Now()
		for ctx.Err() == nil {
			polling, done := context.WithTimeout(ctx, commitEvery)
			g.take(client.PollFetches(polling))
			done()
			if time.Since(committed) >= commitEvery {
				g.committed(client.CommitUncommittedOffsets(ctx))
				committed = time.Now()
			}
			client.AllowRebalance()
		}
	})
	return nil
}

// committed counts a commit that failed for another reason than that the group changes.
func (g *group) committed(err error) {
	for _, passes := range []error{nil, context.Canceled, kerr.RebalanceInProgress, kerr.IllegalGeneration,
		kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch} {
		if errors.Is(err, passes) {
			return
		}
	}
	g.run.meter.failed(fmt.Errorf("commit offsets of %s: %w", g.id, err))
}

// assigned is called by a client that got partitions.
func (g *group) assigned(_ context.Context, _ *kgo.Client, got map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range got {
		for _, p := range partitions {
			n := g.run.partition(topic, p)
			if since, alone := g.alone[n]; alone {
				g.run.meter.recorders[result.LatencyRebalance].record(time.Since(since))
				delete(g.alone, n)
			}
			g.run.meter.moves.Add(1)
		}
	}
}

// revoked is called by a client that is about to lose partitions, and may commit what it has read of them.
func (g *group) revoked(ctx context.Context, client *kgo.Client, taken map[string][]int32) {
	if len(taken) > 0 {
		g.committed(client.CommitUncommittedOffsets(ctx))
	}
	g.lost(ctx, client, taken)
}

// lost is called by a client that has lost partitions, and cannot commit any more.
func (g *group) lost(_ context.Context, _ *kgo.Client, taken map[string][]int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for topic, partitions := range taken {
		for _, p := range partitions {
			g.alone[g.run.partition(topic, p)] = time.Now()
		}
	}
}

// churn lets the oldest member leave and a new one join, again and again until the context ends.
func (g *group) churn(ctx context.Context) {
	ticker := time.NewTicker(g.run.w.Churn)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		g.mu.Lock()
		oldest := g.members[0]
		g.members = g.members[1:]
		g.mu.Unlock()
		g.leaving.Go("bench: a member leaves", oldest.leave)
		if err := g.join(); err != nil {
			g.run.meter.failed(err)
			return
		}
		g.run.meter.rebalances.Add(1)
	}
}

// leave ends a member: it commits what it has read, and tells the group.
func (m *member) leave() {
	m.cancel()
	m.reading.Wait()
	m.client.CloseAllowingRebalance()
}

// end lets all members leave.
func (g *group) end() {
	g.leaving.Wait()
	var last task.Group
	for _, m := range g.members {
		last.Go("bench: a member leaves", m.leave)
	}
	last.Wait()
	g.members = nil
}

// deleteGroup deletes the group of the run, whose offsets nobody needs any more.
func (r *run) deleteGroup() {
	if r.group == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.hard), dialWithin)
	defer cancel()
	responses, err := kadm.NewClient(r.admin).DeleteGroups(ctx, r.group.id)
	if err == nil {
		err = responses.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		r.note("The group %s could not be deleted (%v): delete it yourself.", r.group.id, err)
	}
}
