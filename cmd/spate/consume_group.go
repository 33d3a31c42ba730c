package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// groupFlags say how consume is a member of a group.
type groupFlags struct {
	name           string
	protocol       string
	assignor       string
	sessionTimeout time.Duration

	joined bool // partitions have been assigned at least once; under the reading's lock
}

// commitEvery is how often printed records are committed.
const commitEvery = time.Second

// leaveWithin bounds the last commit and the goodbye; a broker that is gone must not hold up the end.
const leaveWithin = 5 * time.Second

// add declares the flags on a command.
func (g *groupFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&g.name, "group", "g", "", "consumer group to be a member of")
	cmd.Flags().
		StringVar(&g.protocol, "protocol", "classic", "the group's protocol: classic, or consumer (KIP-848), in "+
			"which the\nbroker assigns")
	cmd.Flags().
		StringVar(&g.assignor, "assignor", "", "how partitions are shared: cooperative-sticky (the default), "+
			"sticky,\nrange or roundrobin; with --protocol consumer: uniform (the default) or range")
	cmd.Flags().DurationVar(&g.sessionTimeout, "session-timeout", 45*time.Second,
		"how long the group waits for a member that has died; classic only")
}

// groupIDMax is the longest group id, in bytes, that the protocol carries. Brokers hang up on a longer one.
const groupIDMax = math.MaxInt16

// given refuses flags that were written and would not be heeded: an empty name is often a variable that is not set.
func (g *groupFlags) given(cmd *cobra.Command) error {
	switch {
	case cmd.Flags().Changed("group") && g.name == "":
		return errors.New("--group is empty: name the group, or leave --group out to read without one")
	case cmd.Flags().Changed("session-timeout") && g.name == "":
		return errors.New("--session-timeout belongs to --group: name the group")
	case cmd.Flags().Changed("session-timeout") && g.protocol == "consumer":
		return errors.New("--session-timeout: with --protocol consumer the broker says it " +
			"(group.consumer.session.timeout.ms)")
	}
	return nil
}

// check refuses flags that do not go together.
func (g *groupFlags) check() error {
	if g.name == "" {
		if g.assignor != "" || g.protocol != "classic" {
			return errors.New("--protocol and --assignor belong to --group: name the group")
		}
		return nil
	}
	if len(g.name) > groupIDMax {
		return fmt.Errorf("--group has %d bytes: a group id has at most %d", len(g.name), groupIDMax)
	}
	if g.protocol != "classic" && g.protocol != "consumer" {
		return fmt.Errorf("--protocol %q: must be classic or consumer", g.protocol)
	}
	if _, ok := assignors[g.protocol][g.assignor]; !ok {
		names := slices.DeleteFunc(
			slices.Sorted(maps.Keys(assignors[g.protocol])),
			func(s string) bool { return s == "" },
		)
		return fmt.Errorf("--assignor %q: with --protocol %s it must be of %s", g.assignor, g.protocol,
			strings.Join(names, ", "))
	}
	return nil
}

// assignors are the client's balancers by protocol and name. With the consumer protocol they stand for the broker's.
var assignors = map[string]map[string]func() kgo.GroupBalancer{
	"classic": {
		"": kgo.CooperativeStickyBalancer, "cooperative-sticky": kgo.CooperativeStickyBalancer,
		"sticky": kgo.StickyBalancer, "range": kgo.RangeBalancer, "roundrobin": kgo.RoundRobinBalancer,
	},
	"consumer": {"": kgo.StickyBalancer, "uniform": kgo.StickyBalancer, "range": kgo.RangeBalancer},
}

// failure explains an error of a member that does not pass. The others, such as a broker that is away for a while, are
// got over by trying again.
func (g *groupFlags) failure(e kgo.FetchError) error {
	switch {
	case errors.Is(e.Err, kerr.InconsistentGroupProtocol):
		return fmt.Errorf("group %s: its members share partitions in another way: give theirs with --assignor, or "+
			"--protocol consumer (\"spate group describe %s\" shows it)", g.name, g.name)
	case errors.Is(e.Err, kerr.GroupMaxSizeReached):
		return fmt.Errorf("group %s has as many members as the broker allows (group.max.size)", g.name)
	case errors.Is(e.Err, kerr.InvalidSessionTimeout):
		return fmt.Errorf("group %s: --session-timeout %v is outside of what the broker allows "+
			"(group.min.session.timeout.ms, group.max.session.timeout.ms)", g.name, g.sessionTimeout)
	case errors.Is(e.Err, kerr.GroupAuthorizationFailed), errors.Is(e.Err, kerr.InvalidGroupID),
		errors.Is(e.Err, kerr.UnsupportedAssignor):
		return explainGroup(g.name, e.Err)
	case errors.Is(e.Err, kerr.TopicAuthorizationFailed), errors.Is(e.Err, kerr.KafkaStorageError):
		return fmt.Errorf("partition %d: %w", e.Partition, explain(e.Topic, e.Err, ""))
	}
	return nil
}

// asMember reads as a member of a group.
func (r *reading) asMember(ctx context.Context) error {
	if err := r.checkCluster(ctx); err != nil {
		return err
	}
	g := &r.flags.group
	reset := kgo.NewOffset().AtStart()
	if r.from.all.kind == atLatest {
		reset = kgo.NewOffset().AtEnd()
	}
	options := append(r.options(),
		kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(r.topics...), kgo.Balancers(assignors[g.protocol][g.assignor]()),
		kgo.SessionTimeout(g.sessionTimeout), kgo.HeartbeatInterval(min(3*time.Second, g.sessionTimeout/3)),
		kgo.ConsumeResetOffset(reset), kgo.AdjustFetchOffsetsFn(r.begin),
		// What is printed is marked, and only what is marked is committed. A rebalance waits until it is.
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(commitEvery), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(r.assigned), kgo.OnPartitionsRevoked(r.revoked), kgo.OnPartitionsLost(r.lost),
		kgo.AutoCommitCallback(r.autoCommitted), kgo.WithHooks(memberHook{r}),
	)
	if g.protocol == "consumer" {
		options = append(options, kgo.ServerSideBalancer())
	}
	client, err := r.flags.connect(ctx, options...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if isTerminal(r.status) {
		r.say("joining group %s", g.name)
	}
	err = r.run(ctx, client, func() {
		r.mark(ctx, client)
		client.AllowRebalance()
	})
	r.line.erase()
	return errors.Join(err, r.leave(ctx, client))
}

// checkCluster finds out what would otherwise only show as waiting for ever.
func (r *reading) checkCluster(ctx context.Context) error {
	v, err := r.flags.viewer(ctx)
	if err != nil {
		return err
	}
	defer v.client.Close()
	details, err := v.admin.ListTopics(ctx, r.topics...)
	if err != nil {
		return err
	}
	for _, topic := range r.topics {
		if err := details[topic].Err; err != nil {
			return explain(topic, err, "")
		}
	}
	if r.flags.group.protocol == "consumer" {
		return v.serves(ctx, kmsg.ConsumerGroupHeartbeat, 1, "the consumer protocol (KIP-848); leave --protocol out")
	}
	return nil
}

// begin says where to begin in partitions that were assigned: at the committed offset, or where there is none, as the
// flags say. The client calls it.
func (r *reading) begin(
	ctx context.Context,
	offsets map[string]map[int32]kgo.Offset,
) (map[string]map[int32]kgo.Offset,
	error,
) {
	client, err := r.flags.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	topics := slices.Sorted(maps.Keys(offsets))
	if len(topics) == 0 {
		return offsets, nil
	}
	b, err := r.listBounds(ctx, kadm.NewClient(client), topics)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, partitions := range offsets {
		for p, offset := range partitions {
			at := kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}
			committed := offset.EpochOffset().Offset
			first, _ := b.starts.Lookup(topic, p)
			last, _ := b.ends.Lookup(topic, p)
			if first.Err == nil && last.Err == nil && committed >= first.Offset && committed <= last.Offset {
				r.spans[at] = &span{next: committed, end: last.Offset, epoch: -1, marked: true}
				continue
			}
			s, _, err := r.span(b, topic, p)
			if err != nil {
				return nil, err
			}
			if committed >= 0 {
				r.say(
					"the committed offset %d of %s is not there any more (it holds %d to %d): going on at %d",
					committed,
					at,
					first.Offset,
					last.Offset,
					s.next,
				)
			}
			r.spans[at] = s
			partitions[p] = kgo.NewOffset().At(s.next)
		}
	}
	return offsets, nil
}

// say tells the one who reads along what happens to the member.
func (r *reading) say(format string, args ...any) {
	if !r.flags.quiet {
		r.line.say(r.status, format, args...)
	}
}

// assigned is called when partitions are assigned; begin has been or will be called with them.
func (r *reading) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, numbers := range partitions {
		for _, p := range numbers {
			at := kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}
			if r.spans[at] == nil {
				r.spans[at] = &span{next: -1} // not finished before begin has said where it ends
			}
		}
	}
	r.fallen = false
	if len(partitions) > 0 || !r.flags.group.joined {
		r.say("assigned: %s", cmp.Or(assignedText(partitions), "no partition yet"))
	}
	r.flags.group.joined = true
}

// revoked commits what was printed of partitions that another member gets.
func (r *reading) revoked(ctx context.Context, client *kgo.Client, partitions map[string][]int32) {
	if len(partitions) == 0 {
		return
	}
	if err := client.CommitMarkedOffsets(ctx); err != nil {
		r.say(
			"the commit before partitions are given back failed: %v; their new member will read some records again",
			err,
		)
	}
	r.drop("given back", partitions)
}

// memberHook tells why a member falls out of its group.
type memberHook struct{ r *reading }

// OnGroupManageError is called when the member has to join again, and each time that this fails.
func (h memberHook) OnGroupManageError(err error) {
	h.r.mu.Lock()
	defer h.r.mu.Unlock()
	if h.r.left || h.r.fallen {
		return
	}
	h.r.fallen = true
	h.r.say("out of group %s: %s; trying to join again (Ctrl-C ends)", h.r.flags.group.name, whyFallen(err))
}

// whyFallen says in words why a member fell out of its group.
func whyFallen(err error) string {
	var protocol *kerr.Error
	switch {
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedMemberEpoch):
		return "the group took it for dead, as no heartbeat came in time"
	case errors.Is(err, kerr.FencedInstanceID):
		return "another member has its instance id"
	case errors.As(err, &protocol):
		return "its coordinator says " + protocol.Message
	}
	return "its coordinator does not answer (" + err.Error() + ")"
}

// lost forgets partitions that the member has no longer, without having been asked.
func (r *reading) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	r.drop("lost", partitions)
}

// drop forgets partitions.
func (r *reading) drop(how string, partitions map[string][]int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(partitions) == 0 || r.left {
		return
	}
	for topic, numbers := range partitions {
		for _, p := range numbers {
			delete(r.spans, kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)})
		}
	}
	r.say("%s: %s", how, assignedText(partitions))
}

// autoCommitted hears how a commit on the way went.
func (r *reading) autoCommitted(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse,
	err error,
) {
	if err == nil {
		err = commitError(response)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.failing = false
	case !r.failing && !r.left:
		r.failing = true
		r.say("a commit failed: %v; the next one tries again", err)
	}
}

// commitError is the first error in the answer to a commit.
func commitError(response *kmsg.OffsetCommitResponse) error {
	if response == nil {
		return nil
	}
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
		}
	}
	return nil
}

// mark makes what was printed part of the next commit.
func (r *reading) mark(ctx context.Context, client *kgo.Client) {
	r.mu.Lock()
	marked := make(map[string]map[int32]kgo.EpochOffset)
	begun := make(map[string]map[int32]kgo.EpochOffset)
	for at, s := range r.spans {
		offsets := marked
		switch {
		case s.next < 0, s.marked:
			continue
		case s.epoch < 0:
			offsets = begun
		}
		if offsets[at.Topic] == nil {
			offsets[at.Topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[at.Topic][int32(at.Partition)] = kgo.EpochOffset{Epoch: s.epoch, Offset: s.next}
		s.marked = true
	}
	r.mu.Unlock()
	client.MarkCommitOffsets(marked)
	if len(begun) > 0 {
		r.commitBeginnings(ctx, client, begun)
	}
}

// commitBeginnings commits where the group begins in partitions that had no committed offset. Records that come later
// are then not passed over by a member that begins at the end, and lag can be told. The client by itself commits only
// what is behind a record.
func (r *reading) commitBeginnings(ctx context.Context, client *kgo.Client,
	offsets map[string]map[int32]kgo.EpochOffset,
) {
	client.CommitOffsetsSync(ctx, offsets, r.autoCommitted)
}

// leave commits the rest, says goodbye to the group, and says how far it got.
func (r *reading) leave(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	r.mu.Lock()
	r.left = true // from here on the partitions that are given back are still those that were read
	r.mu.Unlock()
	failed := client.CommitMarkedOffsets(ctx)
	client.AllowRebalance()
	left := client.LeaveGroupContext(ctx)
	if failed != nil {
		return fmt.Errorf(
			"group %s: the last commit failed, so some records will be read again: %w",
			r.flags.group.name,
			failed,
		)
	}
	if left != nil {
		r.say("the group was not told (%v); it will notice after the session timeout", left)
	}
	if r.flags.quiet || !r.hasJoined() {
		return nil
	}
	fmt.Fprintf(r.status, "read %s; group %s is at%s\n", r.meter.summary(), r.flags.group.name, r.positions())
	return nil
}

// hasJoined reports whether the member was ever assigned anything, if only nothing.
func (r *reading) hasJoined() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flags.group.joined
}

// positionsMax is how many partitions the last line names.
const positionsMax = 20

// positions says where in each partition the run ended.
func (r *reading) positions() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	for i, at := range sortedPartitions(slices.Collect(maps.Keys(r.spans))) {
		if i == positionsMax {
			fmt.Fprintf(&text, " and in %d more", len(r.spans)-i)
			break
		}
		if s := r.spans[at]; s.next >= 0 {
			fmt.Fprintf(&text, " %s:%d", at, s.next)
		}
	}
	if text.Len() == 0 {
		return " no partition"
	}
	return text.String()
}
