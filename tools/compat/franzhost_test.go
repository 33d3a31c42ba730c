package compat

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// franzHostEnv turns the test binary into a host of franz-go members, or into a process of a chain.
const franzHostEnv = "SPATE_COMPAT_FRANZ_HOST"

type franzConfig struct {
	Bootstrap, Group, Protocol, Assignor, Instance, Client string
	Session                                                int  // in milliseconds
	Committed                                              bool // read committed records only
}

type franzCommand struct {
	Op, Member, Topic string
	Config            franzConfig

	// Of a transformation.
	To, ID string
	Count  int
}

// franzMember is one member: a client, and the goroutine that polls it.
type franzMember struct {
	name, topic string
	client      *kgo.Client
	polling     sync.WaitGroup
	cancel      context.CancelFunc
}

var franzPrinting sync.Mutex

func (m *franzMember) write(name string, fields map[string]any) {
	fields["timestamp"], fields["name"] = time.Now().UnixMilli(), name
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings and numbers
	}
	franzPrinting.Lock()
	defer franzPrinting.Unlock()
	fmt.Printf("%s %s\n", m.name, line)
}

// runFranzHost takes commands until standard input ends.
func runFranzHost() {
	if os.Getenv(franzHostEnv) == "chain" {
		runFranzChain()
	}
	members := map[string]*franzMember{}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var c franzCommand
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if c.Op == "stop" {
			go members[c.Member].stop()
			delete(members, c.Member)
			continue
		}
		if c.Op == "transform" {
			go c.transform()
			continue
		}
		m, err := startFranzMember(&c)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		members[c.Member] = m
	}
}

func franzPartitions(of map[string][]int32) []map[string]any {
	all := []map[string]any{}
	for topic, partitions := range of {
		for _, p := range partitions {
			all = append(all, map[string]any{"topic": topic, "partition": p})
		}
	}
	return all
}

// options are those of a consumer in the group.
func (c *franzConfig) options(topic string) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(c.Bootstrap), kgo.ClientID(c.Client), kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(c.Group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(time.Duration(c.Session) * time.Millisecond),
		kgo.HeartbeatInterval(heartbeatMs * time.Millisecond),
		kgo.RebalanceTimeout(20 * time.Second), kgo.DisableAutoCommit(),
		kgo.FetchMaxWait(200 * time.Millisecond), kgo.MetadataMaxAge(5 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	}
	if c.Instance != "" {
		options = append(options, kgo.InstanceID(c.Instance))
	}
	if c.Committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	switch c.Assignor {
	case "range":
		options = append(options, kgo.Balancers(kgo.RangeBalancer()))
	case "roundrobin":
		options = append(options, kgo.Balancers(kgo.RoundRobinBalancer()))
	case "sticky":
		options = append(options, kgo.Balancers(kgo.StickyBalancer()))
	}
	if c.Protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return options
}

func startFranzMember(c *franzCommand) (*franzMember, error) {
	m := &franzMember{name: c.Member, topic: c.Topic}
	revoked := func(_ context.Context, _ *kgo.Client, of map[string][]int32) {
		m.write("partitions_revoked", map[string]any{"partitions": franzPartitions(of)})
	}
	options := append(c.Config.options(c.Topic), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, client *kgo.Client, of map[string][]int32) {
			member, generation := client.GroupMetadata()
			m.write("partitions_assigned", map[string]any{"partitions": franzPartitions(of), "member": member,
				"generation": generation})
		}),
		kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	m.client = client
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	m.polling.Go(func() { m.poll(ctx) })
	return m, nil
}

func (m *franzMember) poll(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := m.client.PollRecords(ctx, 500)
		ends := map[int32]kgo.EpochOffset{}
		fetches.EachRecord(func(r *kgo.Record) {
			m.write("record_data", map[string]any{"key": string(r.Key), "value": string(r.Value), "topic": r.Topic,
				"partition": r.Partition, "offset": r.Offset})
			ends[r.Partition] = kgo.EpochOffset{Epoch: -1, Offset: r.Offset + 1}
		})
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, m.name, e.Err)
			}
		}
		if len(ends) > 0 {
			m.commit(ends)
		}
		m.client.AllowRebalance()
	}
}

// commit waits for the answer, and tells of the offsets that were taken.
func (m *franzMember) commit(ends map[int32]kgo.EpochOffset) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		fields := map[string]any{"success": err == nil}
		if err != nil {
			fields["error"] = err.Error()
			m.write("offsets_committed", fields)
			return
		}
		taken := []map[string]any{}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode == 0 {
					taken = append(taken, map[string]any{"partition": p.Partition, "offset": ends[p.Partition].Offset})
				}
			}
		}
		fields["offsets"] = taken
		m.write("offsets_committed", fields)
	}
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: ends}, done)
}

// stop leaves the group; a static member stays in it.
func (m *franzMember) stop() {
	m.cancel()
	m.polling.Wait()
	m.client.CloseAllowingRebalance()
	m.write("shutdown_complete", map[string]any{})
}

// transform copies records in transactions; see Host.java. An abort takes the session back to where it was, so that
// the transactions that are aborted come first: one is committed when all of its records have been in such a one.
func (c *franzCommand) transform() {
	m := &franzMember{name: c.Member}
	if err := c.transformAll(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, m.name, err)
		return
	}
	m.write("shutdown_complete", map[string]any{})
}

func (c *franzCommand) transformAll(ctx context.Context) error {
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(c.Config.Bootstrap), kgo.ClientID(c.Config.Client),
		kgo.TransactionalID(c.ID), kgo.DefaultProduceTopic(c.To), kgo.ConsumeTopics(c.Topic),
		kgo.ConsumerGroup(c.Config.Group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(200*time.Millisecond))
	if err != nil {
		return err
	}
	defer session.Close()
	type place struct {
		partition int32
		offset    int64
	}
	aborted := map[place]bool{}
	for c.Count > 0 {
		fetches := session.PollRecords(ctx, 50)
		if err := fetches.Err(); err != nil {
			return err
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		// A poll need not give what the one before it gave.
		what, end := "committed", kgo.TryCommit
		fetches.EachRecord(func(r *kgo.Record) {
			if at := (place{r.Partition, r.Offset}); !aborted[at] {
				aborted[at], what, end = true, "aborted", kgo.TryAbort
			}
		})
		var copies []*kgo.Record
		fetches.EachRecord(func(r *kgo.Record) {
			value := fmt.Appendf(nil, "%s %s %s", what, c.Member, r.Value)
			copies = append(copies, &kgo.Record{Key: r.Key, Value: value})
		})
		if err := session.ProduceSync(ctx, copies...).FirstErr(); err != nil {
			return err
		}
		done, err := session.End(ctx, end)
		if err != nil {
			return err
		}
		if done && end == kgo.TryCommit {
			c.Count -= len(copies)
		}
	}
	return nil
}
