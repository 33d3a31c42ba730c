package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// groupView is what there is to know of a group at one moment.
type groupView struct {
	Name            string       `json:"group"`
	Type            string       `json:"type"` // classic or consumer
	State           string       `json:"state"`
	ProtocolType    string       `json:"protocolType"`
	Assignor        string       `json:"assignor"`
	Coordinator     int32        `json:"coordinator"`
	Epoch           *int32       `json:"epoch,omitempty"`           // of a consumer group
	AssignmentEpoch *int32       `json:"assignmentEpoch,omitempty"` // of a consumer group
	Members         []memberView `json:"members"`
	Lag             int64        `json:"lag"`        // of all partitions together, in records
	LagSeconds      *float64     `json:"lagSeconds"` // of the partition that is most behind; null: not known
	Partitions      []lagView    `json:"partitions"`
	Reasons         []string     `json:"reasons"` // why it does not move, in words

	at     time.Time        // when the offsets were read
	topics map[string]int32 // partitions of each topic of these groups that exists
}

// memberView is one member.
type memberView struct {
	ID         string             `json:"member"`
	InstanceID string             `json:"instance,omitempty"`
	RackID     string             `json:"rack,omitempty"`
	ClientID   string             `json:"client"`
	Host       string             `json:"host"`
	Epoch      *int32             `json:"epoch,omitempty"` // in a consumer group
	Subscribed []string           `json:"subscribed"`
	Regex      string             `json:"regex,omitempty"`
	Assigned   map[string][]int32 `json:"assigned"`
	Target     map[string][]int32 `json:"target,omitempty"` // in a consumer group: what it is to have
}

// lagView is how far a group is in one partition. An offset of -1 is not known, or not there.
type lagView struct {
	Topic       string   `json:"topic"`
	Partition   int32    `json:"partition"`
	Committed   int64    `json:"committed"` // the next record to consume
	Start       int64    `json:"start"`
	End         int64    `json:"end"`
	Stable      int64    `json:"lastStable"`
	Lag         *int64   `json:"lag"`        // in records
	LagSeconds  *float64 `json:"lagSeconds"` // age of the first record that is not consumed yet
	Member      string   `json:"member,omitempty"`
	Host        string   `json:"host,omitempty"`
	Client      string   `json:"client,omitempty"`
	Transaction string   `json:"openTransaction,omitempty"` // what is known of the one that holds the last stable offset
}

// partition names the partition.
func (l lagView) partition() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: l.Topic, Partition: kafka.PartitionIndex(l.Partition)}
}

// viewer asks a cluster about groups.
type viewer struct {
	flags  *clientFlags
	client *kgo.Client
	admin  *kadm.Client
}

// viewer connects to a cluster, and checks that it has groups at all.
func (f *clientFlags) viewer(ctx context.Context) (*viewer, error) {
	client, err := f.connect(ctx)
	if err != nil {
		return nil, err
	}
	v := &viewer{f, client, kadm.NewClient(client)}
	if err := v.serves(ctx, kmsg.DescribeGroups, 0, "consumer groups"); err != nil {
		client.Close()
		return nil, err
	}
	return v, nil
}

// serves gives an error unless the brokers serve a version of a request.
func (v *viewer) serves(ctx context.Context, key kmsg.Key, version int16, what string) error {
	answers, err := v.admin.ApiVersions(ctx)
	if err != nil {
		return err
	}
	for _, broker := range answers.Sorted() {
		if broker.Err != nil {
			continue // one that is away says nothing about the cluster
		}
		if highest, ok := broker.KeyMaxVersion(key.Int16()); !ok || highest < version {
			return fmt.Errorf("this cluster does not serve %s", what)
		}
	}
	return nil
}

// groups describes groups, all of the cluster where no names are given. What was found is given along with the errors.
func (v *viewer) groups(ctx context.Context, names []string) ([]*groupView, error) {
	if len(names) == 0 {
		listed, err := listGroups(ctx, v.client, nil, nil)
		if err != nil {
			return nil, err
		}
		for _, g := range listed {
			if g.Type != "share" && g.Type != "streams" { // they have descriptions of their own
				names = append(names, g.Name)
			}
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	views, err := v.describe(ctx, names)
	if len(views) == 0 {
		return nil, err
	}
	return views, errors.Join(err, v.measure(ctx, views))
}

// describe asks for states and members, first by the consumer protocol's request, then by the classic one.
func (v *viewer) describe(ctx context.Context, names []string) ([]*groupView, error) {
	found := make(map[string]*groupView)
	var failed []error
	var classic []string
	// A cluster that does not know the request fails it; then all groups are classic, and that request says the rest.
	modern, _ := v.admin.DescribeConsumerGroups(ctx, names...)
	for _, name := range names {
		switch g, ok := modern[name]; {
		case !ok, errors.Is(g.Err, kerr.GroupIDNotFound), errors.Is(g.Err, kerr.UnsupportedVersion):
			classic = append(classic, name)
		case g.Err != nil:
			failed = append(failed, explainGroup(name, g.Err))
		default:
			found[name] = modernView(g)
		}
	}
	if len(classic) > 0 {
		described, err := v.admin.DescribeGroups(ctx, classic...)
		if err != nil && len(described) == 0 {
			return nil, explainGroup(strings.Join(classic, ", "), unwrapShards(err))
		}
		for _, name := range classic {
			switch g, ok := described[name]; {
			case !ok:
				failed = append(failed, explainGroup(name, unwrapShards(err)))
			case g.Err != nil:
				failed = append(failed, explainGroup(name, g.Err))
			case g.State == "Dead" && len(g.Members) == 0: // how brokers before 4.0 say it
				failed = append(failed, explainGroup(name, kerr.GroupIDNotFound))
			default:
				found[name] = classicView(g)
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *groupView) int { return cmp.Compare(a.Name, b.Name) }),
		errors.Join(failed...)
}

// modernView is a group of the consumer protocol.
func modernView(g kadm.DescribedConsumerGroup) *groupView {
	view := &groupView{
		Name: g.Group, Type: "consumer", State: g.State, ProtocolType: "consumer", Assignor: g.AssignorName,
		Coordinator: g.Coordinator.NodeID, Epoch: &g.Epoch, AssignmentEpoch: &g.AssignmentEpoch,
		Members: []memberView{},
	}
	for _, m := range g.Members {
		view.Members = append(view.Members, memberView{
			ID: m.MemberID, InstanceID: orEmpty(m.InstanceID), RackID: orEmpty(m.RackID), ClientID: m.ClientID,
			Host: m.ClientHost, Epoch: &m.MemberEpoch, Subscribed: m.SubscribedTopics,
			Regex: orEmpty(m.SubscribedTopicRegex), Assigned: sortedSet(m.Assignment),
			Target: sortedSet(m.TargetAssignment),
		})
	}
	return view
}

// classicView is a group of the classic protocol.
func classicView(g kadm.DescribedGroup) *groupView {
	view := &groupView{
		Name: g.Group, Type: "classic", State: g.State, ProtocolType: g.ProtocolType, Assignor: g.Protocol,
		Coordinator: g.Coordinator.NodeID, Members: []memberView{},
	}
	for _, m := range g.Members {
		member := memberView{
			ID: m.MemberID, InstanceID: orEmpty(m.InstanceID), ClientID: m.ClientID, Host: m.ClientHost,
			Assigned: make(map[string][]int32),
		}
		if join, ok := m.Join.AsConsumer(); ok {
			member.Subscribed = slices.Sorted(slices.Values(join.Topics))
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				member.Assigned[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
			}
		}
		view.Members = append(view.Members, member)
	}
	return view
}

// orEmpty is a text that may be absent.
func orEmpty(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// sortedSet is a set of partitions as sorted lists.
func sortedSet(set kadm.TopicsSet) map[string][]int32 {
	lists := make(map[string][]int32, len(set))
	for topic, partitions := range set {
		if len(partitions) > 0 {
			lists[topic] = slices.Sorted(maps.Keys(partitions))
		}
	}
	return lists
}

// measure asks for the offsets of the groups and of the partitions that they read.
func (v *viewer) measure(ctx context.Context, views []*groupView) error {
	names := make([]string, len(views))
	for i, view := range views {
		names[i] = view.Name
	}
	committed := v.admin.FetchManyOffsets(ctx, names...)
	topics := make(map[string]struct{})
	for _, view := range views {
		fetched := committed[view.Name]
		if fetched.Err != nil {
			return explainGroup(view.Name, fetched.Err)
		}
		view.at = time.Now()
		view.layPartitions(fetched.Fetched)
		for _, p := range view.Partitions {
			topics[p.Topic] = struct{}{}
		}
		for _, m := range view.Members {
			for _, topic := range m.Subscribed {
				topics[topic] = struct{}{}
			}
		}
	}
	if len(topics) == 0 {
		for _, view := range views {
			view.sum()
		}
		return nil
	}
	o, err := v.offsets(ctx, slices.Sorted(maps.Keys(topics)))
	if err != nil {
		return err
	}
	for _, view := range views {
		view.topics = o.partitions
		view.addUnread()
		for i := range view.Partitions {
			view.Partitions[i].place(o)
		}
	}
	v.age(ctx, views)
	v.transactions(ctx, views)
	for _, view := range views {
		view.sum()
	}
	return nil
}

// layPartitions makes the rows of a group: partitions with a committed offset, and those that a member has.
func (g *groupView) layPartitions(committed kadm.OffsetResponses) {
	rows := make(map[kafka.TopicPartition]*lagView)
	row := func(topic string, p int32) *lagView {
		at := kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}
		if rows[at] == nil {
			rows[at] = &lagView{Topic: topic, Partition: p, Committed: -1, Start: -1, End: -1, Stable: -1}
		}
		return rows[at]
	}
	committed.Each(func(o kadm.OffsetResponse) {
		if o.Err == nil && o.At >= 0 {
			row(o.Topic, o.Partition).Committed = o.At
		}
	})
	for _, m := range g.Members {
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				r := row(topic, p)
				r.Member, r.Host, r.Client = m.ID, m.Host, m.ClientID
			}
		}
	}
	g.Partitions = make([]lagView, 0, len(rows))
	for _, r := range rows {
		g.Partitions = append(g.Partitions, *r)
	}
}

// addUnread adds the other partitions of the topics that the group reads: those of which nothing is committed and that
// nobody has.
func (g *groupView) addUnread() {
	known := make(map[kafka.TopicPartition]bool)
	topics := make(map[string]bool)
	for _, p := range g.Partitions {
		known[p.partition()], topics[p.Topic] = true, true
	}
	for topic := range topics {
		for p := range g.topics[topic] {
			if !known[kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}] {
				g.Partitions = append(g.Partitions,
					lagView{Topic: topic, Partition: p, Committed: -1, Start: -1, End: -1, Stable: -1})
			}
		}
	}
	g.sortPartitions()
}

// sortPartitions puts the rows in order.
func (g *groupView) sortPartitions() {
	slices.SortFunc(g.Partitions, func(a, b lagView) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// topicOffsets are the ends of all partitions of some topics.
type topicOffsets struct {
	partitions           map[string]int32 // of each topic that exists
	starts, ends, stable kadm.ListedOffsets
}

// offsets asks where the partitions of topics begin and end.
func (v *viewer) offsets(ctx context.Context, topics []string) (topicOffsets, error) {
	o := topicOffsets{partitions: make(map[string]int32)}
	details, err := v.admin.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return o, err
	}
	for name, detail := range details {
		if detail.Err == nil {
			o.partitions[name] = int32(len(detail.Partitions))
		}
	}
	existing := slices.Sorted(maps.Keys(o.partitions))
	if len(existing) == 0 {
		return o, nil
	}
	if o.starts, err = v.admin.ListStartOffsets(ctx, existing...); err != nil && len(o.starts) == 0 {
		return o, unwrapShards(err)
	}
	if o.ends, err = v.admin.ListEndOffsets(ctx, existing...); err != nil && len(o.ends) == 0 {
		return o, unwrapShards(err)
	}
	// After the ends: a last stable offset below the end is then of a transaction that was open all the time between.
	if o.stable, err = v.admin.ListCommittedOffsets(ctx, existing...); err != nil && len(o.stable) == 0 {
		return o, unwrapShards(err)
	}
	return o, nil
}

// place fills in where the partition begins and ends, and the lag in records.
func (l *lagView) place(o topicOffsets) {
	for _, x := range []struct {
		from kadm.ListedOffsets
		to   *int64
	}{{o.starts, &l.Start}, {o.ends, &l.End}, {o.stable, &l.Stable}} {
		if listed, ok := x.from.Lookup(l.Topic, l.Partition); ok && listed.Err == nil {
			*x.to = listed.Offset
		}
	}
	if l.Committed >= 0 && l.End >= 0 {
		lag := max(0, l.End-l.Committed)
		l.Lag = &lag
	}
}

// next is the offset of the next record that can be consumed.
func (l *lagView) next() int64 { return max(l.Committed, l.Start) }

// sum adds up the lag.
func (g *groupView) sum() {
	most, unknown := 0.0, false
	for _, p := range g.Partitions {
		if p.Lag == nil {
			continue
		}
		g.Lag += *p.Lag
		if p.LagSeconds == nil {
			unknown = true
			continue
		}
		most = max(most, *p.LagSeconds)
	}
	if !unknown {
		g.LagSeconds = &most
	}
}

// age fills in the lag in seconds: how long the first record that was not consumed has been there. It reads that record
// of each partition that is behind; where it does not come in time, the lag stays unknown.
func (v *viewer) age(ctx context.Context, views []*groupView) {
	wanted := make(map[kafka.TopicPartition]map[int64]*time.Time) // by offset; zero: nothing to consume
	for _, view := range views {
		for i := range view.Partitions {
			p := &view.Partitions[i]
			if p.Lag == nil || *p.Lag == 0 || p.Start < 0 {
				continue
			}
			at := p.partition()
			if wanted[at] == nil {
				wanted[at] = make(map[int64]*time.Time)
			}
			wanted[at][p.next()] = nil
		}
	}
	// Groups that read the same partitions are at different offsets, and one client reads a partition at one place. One
	// round is nearly always all.
	for rounds := 0; rounds < ageRoundsMax && v.ageRound(ctx, wanted); rounds++ {
	}
	for _, view := range views {
		for i := range view.Partitions {
			p := &view.Partitions[i]
			if p.Lag == nil {
				continue
			}
			seconds := 0.0
			if *p.Lag > 0 {
				first := wanted[p.partition()][p.next()]
				if first == nil {
					continue
				}
				if !first.IsZero() {
					seconds = max(0, view.at.Sub(*first).Round(time.Millisecond).Seconds())
				}
			}
			p.LagSeconds = &seconds
		}
	}
}

// ageRoundsMax bounds how many offsets of one partition are looked up.
const ageRoundsMax = 64

// ageRound looks up one offset of each partition that has any left, and reports whether that made a difference.
func (v *viewer) ageRound(ctx context.Context, wanted map[kafka.TopicPartition]map[int64]*time.Time) bool {
	from := make(map[string]map[int32]kgo.Offset)
	places := make(map[kafka.TopicPartition]int64)
	for at, offsets := range wanted {
		for _, offset := range slices.Sorted(maps.Keys(offsets)) {
			if offsets[offset] == nil {
				if from[at.Topic] == nil {
					from[at.Topic] = make(map[int32]kgo.Offset)
				}
				from[at.Topic][int32(at.Partition)] = kgo.NewOffset().At(offset)
				places[at] = offset
				break
			}
		}
	}
	if len(places) == 0 {
		return false
	}
	client, err := v.flags.connect(ctx, kgo.ConsumePartitions(from), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(ageBytesMax))
	if err != nil {
		return false
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	found := false
	for len(places) > 0 && ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			at := kafka.TopicPartition{Topic: p.Topic, Partition: kafka.PartitionIndex(p.Partition)}
			offset, open := places[at]
			if first, ok := firstConsumable(p, offset); open && ok {
				wanted[at][offset] = &first
				found = true
				delete(places, at)
				client.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
			}
		})
	}
	return found
}

// ageBytesMax is what is read of a partition to see its next record: a few batches.
const ageBytesMax = 64 << 10

// firstConsumable is the timestamp of the first record at or after an offset that a consumer would see: zero where only
// markers of transactions follow. It is not ok while that is open.
func firstConsumable(p kgo.FetchTopicPartition, offset int64) (time.Time, bool) {
	for _, r := range p.Records {
		if r.Offset < offset {
			continue
		}
		if !r.Attrs.IsControl() {
			return r.Timestamp, true
		}
		if r.Offset+1 >= p.HighWatermark {
			return time.Time{}, true
		}
	}
	return time.Time{}, false
}

// transactions finds out about the open transactions that hold a group up: those at which it waits.
func (v *viewer) transactions(ctx context.Context, views []*groupView) {
	held := make(kadm.TopicsSet)
	for _, view := range views {
		for _, p := range view.Partitions {
			if p.heldUp() {
				held.Add(p.Topic, p.Partition)
			}
		}
	}
	if len(held) == 0 {
		return
	}
	// A cluster that does not serve this request leaves the producer unnamed.
	producers, _ := v.admin.DescribeProducers(ctx, held)
	for _, view := range views {
		for i := range view.Partitions {
			p := &view.Partitions[i]
			if !p.heldUp() {
				continue
			}
			p.Transaction = "producer not known"
			for _, producer := range producers[p.Topic].Partitions[p.Partition].ActiveProducers {
				if producer.CurrentTxnStartOffset == p.Stable {
					p.Transaction = fmt.Sprintf(
						"of producer id %d, epoch %d, which last wrote at %s",
						producer.ProducerID,
						producer.ProducerEpoch,
						time.UnixMilli(producer.LastTimestamp).UTC().Format(timestampLayout),
					)
				}
			}
		}
	}
}

// heldUp reports whether an open transaction lies right before what the group would read next.
func (l *lagView) heldUp() bool { return l.Stable >= 0 && l.Stable < l.End && l.Committed >= l.Stable }
