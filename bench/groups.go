package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"spate/bench/result"
)

// Commits describes many groups that commit at once, each waiting for one commit before it sends the next.
type Commits struct {
	Topic      string
	Partitions int32 // of a commit, all of one topic
	Groups     int
	Each       int // commits a group
}

// Run commits. A record of the sample is a commit; the latencies are those of single commits.
func (c Commits) Run(ctx context.Context, t Target) (Sample, error) {
	var clients []*kgo.Client
	defer func() { closeAll(clients) }()
	for n := range c.Groups {
		client, err := groupClient(t)
		if err != nil {
			return Sample{}, err
		}
		clients = append(clients, client)
		// Connects, and finds the coordinator, which may be on its way.
		if err := again(ctx, func() error { return c.commit(ctx, client, n, 0) }); err != nil {
			return Sample{}, err
		}
	}
	return measure(t, func() (Sample, error) {
		latencies, err := timed(clients, func(n int, client *kgo.Client, own *result.Histogram) error {
			for i := range c.Each {
				began := time.Now()
				if err := c.commit(ctx, client, n, int64(i+1)); err != nil {
					return err
				}
				own.Record(time.Since(began))
			}
			return nil
		})
		return Sample{
			Records: int64(c.Groups) * int64(c.Each), P50: latencies.At(50), P99: latencies.At(99),
		}, err
	})
}

func (c Commits) commit(ctx context.Context, client *kgo.Client, group int, offset int64) error {
	return commit(ctx, client, fmt.Sprintf("%s-commits-%d", c.Topic, group), c.Topic, c.Partitions, offset)
}

// groupClient makes a client whose requests are sent again at once while a coordinator is on its way. Its requests
// name topics, as those of most clients do: from version 10 on they would name ids.
func groupClient(t Target) (*kgo.Client, error) {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	versions.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 9)
	return kgo.NewClient(kgo.SeedBrokers(t.Bootstrap), kgo.MaxVersions(versions),
		kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
}

// again calls f until it has no error that passes.
func again(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil || !kerr.IsRetriable(err) || ctx.Err() != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// commit writes one offset for each of the first partitions of a topic, as a group without members.
func commit(ctx context.Context, client *kgo.Client, group, topic string, partitions int32, offset int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	for p := range partitions {
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset = p, offset
		t.Partitions = append(t.Partitions, one)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit of %s, partition %d: %w", group, p.Partition, err)
			}
		}
	}
	return nil
}

// Groups describes many groups that have committed offsets of one topic, and no members.
type Groups struct {
	Topic      string
	Count      int
	Partitions int32 // of the topic: the offsets of each group
}

// fillers bounds the groups that commit at one time while a broker is filled.
const fillers = 16

func (g Groups) name(n int) string { return fmt.Sprintf("group-%06d", n) }

// offset is what group n has committed of every partition.
func (g Groups) offset(n int) int64 { return int64(n)*7 + 1 }

// Fill makes the topic and commits the offsets of every group, uncounted.
func (g Groups) Fill(ctx context.Context, t Target) error {
	if err := CreateTopic(ctx, t, g.Topic, g.Partitions); err != nil {
		return err
	}
	errs := make([]error, fillers)
	var running sync.WaitGroup
	for worker := range fillers {
		running.Go(func() {
			client, err := groupClient(t)
			if err != nil {
				errs[worker] = err
				return
			}
			defer client.Close()
			for n := worker; n < g.Count && errs[worker] == nil; n += fillers {
				errs[worker] = again(ctx, func() error {
					return commit(ctx, client, g.name(n), g.Topic, g.Partitions, g.offset(n))
				})
			}
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// fetchGroups is how many groups one question names.
const fetchGroups = 1000

// AwaitServed returns when the broker, which may just have begun to load, lists every group and has given one
// committed offset of each, which must be the right one.
func (g Groups) AwaitServed(ctx context.Context, t Target) error {
	client, err := groupClient(t)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		n, err := g.listed(ctx, client)
		if err == nil && n == g.Count {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d groups are listed (%w)", n, g.Count, errors.Join(ctx.Err(), err))
		}
		time.Sleep(5 * time.Millisecond)
	}
	for first := 0; first < g.Count; first += fetchGroups {
		end := min(first+fetchGroups, g.Count)
		if err := again(ctx, func() error { return g.check(ctx, client, first, end) }); err != nil {
			return err
		}
	}
	return nil
}

// listed counts the groups that the broker lists; an error is that of a broker that is still loading.
func (g Groups) listed(ctx context.Context, client *kgo.Client) (int, error) {
	resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	return len(resp.Groups), kerr.ErrorForCode(resp.ErrorCode)
}

// check asks for an offset of each group from first to the one before end.
func (g Groups) check(ctx context.Context, client *kgo.Client, first, end int) error {
	req := kmsg.NewPtrOffsetFetchRequest()
	want := map[string]int64{}
	for n := first; n < end; n++ {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = g.Topic, []int32{int32(n) % g.Partitions}
		group := kmsg.NewOffsetFetchRequestGroup()
		group.Group, group.Topics = g.name(n), append(group.Topics, t)
		req.Groups = append(req.Groups, group)
		want[group.Group] = g.offset(n)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, group := range resp.Groups {
		if err := kerr.ErrorForCode(group.ErrorCode); err != nil {
			return fmt.Errorf("offsets of %s: %w", group.Group, err)
		}
		for _, t := range group.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("offset of %s, partition %d: %w", group.Group, p.Partition, err)
				}
				if p.Offset != want[group.Group] {
					return fmt.Errorf("%s has committed %d of partition %d, not %d", group.Group, p.Offset, p.Partition,
						want[group.Group])
				}
				delete(want, group.Group)
			}
		}
	}
	if len(want) > 0 {
		return fmt.Errorf("no offset of %d of %d groups", len(want), end-first)
	}
	return nil
}
