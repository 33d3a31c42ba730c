package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
	"spate/internal/metrics"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/image"
)

// oneShard gives groups one coordinator, so that a test knows which.
func oneShard() nodeOption {
	return with("offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=0")
}

// findCoordinator waits until the coordinator of a group is there and serves.
func (c *client) findCoordinator(group string) {
	c.t.Helper()
	eventually(c.t, "a coordinator", func() bool {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.SetVersion(4)
		r.CoordinatorKeys = []string{group}
		if ask[*kmsg.FindCoordinatorResponse](c, r).Coordinators[0].ErrorCode != 0 {
			return false
		}
		_, code := c.committed(group, "orders", 0)
		return code == 0
	})
}

// commit commits an offset from outside any membership and gives the error's name, "" for none.
func (c *client) commit(group, topic string, partition int32, offset int64) string {
	c.t.Helper()
	return c.commitAs(group, "", -1, topic, partition, offset)
}

func commitRequest(group, member string, generation int32, topic string, partition int32, offset int64,
) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.SetVersion(8)
	r.Group, r.MemberID, r.Generation = group, member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.Partitions = topic, []kmsg.OffsetCommitRequestTopicPartition{p}
	r.Topics = []kmsg.OffsetCommitRequestTopic{t}
	return r
}

func (c *client) commitAs(group, member string, generation int32, topic string, partition int32, offset int64) string {
	c.t.Helper()
	r := commitRequest(group, member, generation, topic, partition, offset)
	return errorName(ask[*kmsg.OffsetCommitResponse](c, r).Topics[0].Partitions[0].ErrorCode)
}

func errorName(code int16) string {
	if code == 0 {
		return ""
	}
	return kafka.ErrorOf(code).Error()
}

// committed is the committed offset of a partition, or the error code of the group.
func (c *client) committed(group, topic string, partition int32) (int64, int16) {
	c.t.Helper()
	r := kmsg.NewPtrOffsetFetchRequest()
	r.SetVersion(8)
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = topic, []int32{partition}
	g.Topics = append(g.Topics, t)
	r.Groups = append(r.Groups, g)
	answer := ask[*kmsg.OffsetFetchResponse](c, r).Groups[0]
	if answer.ErrorCode != 0 {
		return -1, answer.ErrorCode
	}
	return answer.Topics[0].Partitions[0].Offset, answer.Topics[0].Partitions[0].ErrorCode
}

func (c *client) expectCommitted(group string, want int64) {
	c.t.Helper()
	if got, code := c.committed(group, "orders", 0); got != want || code != 0 {
		c.t.Fatalf("group %s has offset %d (%s), want %d", group, got, errorName(code), want)
	}
}

func joinRequest(group, member string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.SetVersion(7)
	r.Group, r.MemberID, r.ProtocolType = group, member, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 30_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte{0, 0, 0, 0, 0, 1, 0, 6, 'o', 'r', 'd', 'e', 'r', 's', 0, 0, 0, 0}
	r.Protocols = append(r.Protocols, p)
	return r
}

// join makes the client the only member of a group, and gives its id and generation.
func (c *client) join(group string) (string, int32) {
	c.t.Helper()
	first := ask[*kmsg.JoinGroupResponse](c, joinRequest(group, ""))
	if errorName(first.ErrorCode) != "MEMBER_ID_REQUIRED" {
		c.t.Fatalf("the first join: %s", errorName(first.ErrorCode))
	}
	joined := ask[*kmsg.JoinGroupResponse](c, joinRequest(group, first.MemberID))
	if joined.ErrorCode != 0 {
		c.t.Fatalf("join: %s", errorName(joined.ErrorCode))
	}
	s := kmsg.NewPtrSyncGroupRequest()
	s.SetVersion(5)
	s.Group, s.MemberID, s.Generation = group, joined.MemberID, joined.Generation
	s.ProtocolType, s.Protocol = joined.ProtocolType, joined.Protocol
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = joined.MemberID, []byte("mine")
	s.GroupAssignment = append(s.GroupAssignment, a)
	synced := ask[*kmsg.SyncGroupResponse](c, s)
	if synced.ErrorCode != 0 || string(synced.MemberAssignment) != "mine" {
		c.t.Fatalf("sync: %s, %q", errorName(synced.ErrorCode), synced.MemberAssignment)
	}
	return joined.MemberID, joined.Generation
}

func (c *client) heartbeat(group, member string, generation int32) string {
	c.t.Helper()
	r := kmsg.NewPtrHeartbeatRequest()
	r.SetVersion(4)
	r.Group, r.MemberID, r.Generation = group, member, generation
	return errorName(ask[*kmsg.HeartbeatResponse](c, r).ErrorCode)
}

// Goal: a group, its members and its offsets outlive a restart and a kill. Method: a member joins and commits; the
// broker is restarted over its directory, and started over a copy of it as a kill would leave it.
func TestAGroupOutlivesItsBroker(t *testing.T) {
	disk := vfs.NewMem()
	n := startNode(t, on(disk, "/a"), oneShard())
	n.createTopic("orders", 1)
	c := n.client()
	c.findCoordinator("g")
	member, generation := c.join("g")
	if e := c.commitAs("g", member, generation, "orders", 0, 7); e != "" {
		t.Fatal(e)
	}
	killed := startNode(t, on(disk.CrashClone(rand.New(rand.NewPCG(1, 1))), "/a"), oneShard())
	n.restart()
	for name, n := range map[string]*node{"restarted": n, "killed": killed} {
		if state := n.coordinators.host.Shards()[0].State; state != runtime.Serving { // before the first client can ask
			t.Errorf("%s: the coordinator is %s when the broker serves", name, state)
		}
		c := n.client()
		c.findCoordinator("g")
		c.expectCommitted("g", 7)
		if e := c.heartbeat("g", member, generation); e != "" {
			t.Errorf("%s: heartbeat: %s", name, e)
		}
		if e := c.commitAs("g", member, generation, "orders", 0, 8); e != "" {
			t.Errorf("%s: commit: %s", name, e)
		}
		if e := c.commitAs("g", "stranger", generation, "orders", 0, 9); e != "UNKNOWN_MEMBER_ID" {
			t.Errorf("%s: a stranger commits: %q", name, e)
		}
		c.expectCommitted("g", 8)
	}
}

// Goal: an operator sees what coordinators do and hold.
func TestCoordinatorsAreCounted(t *testing.T) {
	n := startNode(t, oneShard())
	n.createTopic("orders", 1)
	c := n.client()
	c.findCoordinator("g")
	member, generation := c.join("g")
	if e := c.commitAs("g", member, generation, "orders", 0, 7); e != "" {
		t.Fatal(e)
	}
	value := func(name metrics.Name, labels ...string) (found float64) {
		n.Metrics().Read(name, func(v metrics.Value) {
			if slices.Equal(v.Labels, labels) {
				found = v.Number
			}
		})
		return found
	}
	eventually(t, "the report is there", func() bool { return value(metrics.GroupOffsets) == 1 })
	for _, want := range []struct {
		name   metrics.Name
		labels []string
		least  float64
	}{
		{metrics.Groups, []string{"classic", "Stable"}, 1}, {metrics.GroupMembers, nil, 1},
		{metrics.Coordinators, []string{ofGroups, "serving"}, 1},
		{metrics.CoordinatorCommands, []string{ofGroups}, 4},
		{metrics.CoordinatorRecords, []string{ofGroups}, 3}, {metrics.CoordinatorBytes, []string{ofGroups}, 200},
	} {
		if got := value(want.name, want.labels...); got < want.least {
			t.Errorf("%s%v is %v, want %v at least", want.name, want.labels, got, want.least)
		}
	}
	queued, failed := value(metrics.CoordinatorQueue, ofGroups), value(metrics.CoordinatorErrors, ofGroups, "append")
	if queued+failed != 0 {
		t.Errorf("%v commands, %v errors", queued, failed)
	}
	for _, name := range []metrics.Name{metrics.CoordinatorLoadTime, metrics.CoordinatorTime} {
		if n.Metrics().Histogram(name, ofGroups).Snapshot().Sum == 0 {
			t.Errorf("%s has not been counted", name)
		}
	}
	n.restart()
	n.client().findCoordinator("g")
	if got := value(metrics.CoordinatorLoaded, ofGroups); got < 3 {
		t.Errorf("%v records were loaded", got)
	}
}

// Goal: whatever moment the power goes, no committed offset is lost or moved back, and none is there that nobody sent.
// Method: groups commit rising offsets; the disk is copied in the middle, with what was not flushed torn at random.
func TestAPowerCutLosesNoCommittedOffset(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 11))
			disk := vfs.NewMem()
			n := startNode(t, on(disk, "/a"), with("offsets.topic.num.partitions=3"))
			n.createTopic("orders", 1)
			n.client().findCoordinator("g0")
			const groups = 4
			var acked, sent [groups]atomic.Int64
			var count atomic.Int64
			enough, want := make(chan struct{}), int64(20+random.IntN(200))
			var clients sync.WaitGroup
			for g := range groups {
				acked[g].Store(-1)
				c := n.client()
				clients.Go(func() {
					for offset := int64(1); ; offset++ {
						sent[g].Store(offset)
						r := commitRequest(fmt.Sprint("g", g), "", -1, "orders", 0, offset)
						if _, err := c.conn.Write(c.formatter.AppendRequest(nil, r, int32(offset))); err != nil {
							return
						}
						response, err := c.tryReceive(r)
						if err != nil {
							return
						}
						if response.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode == 0 {
							acked[g].Store(offset)
						}
						if count.Add(1) == want {
							close(enough)
						}
					}
				})
			}
			<-enough
			var before [groups]int64
			for g := range groups {
				before[g] = acked[g].Load()
			}
			after := startNode(t, on(disk.CrashClone(random), "/a"))
			n.stop()
			clients.Wait()
			c := after.client()
			for g := range groups {
				group := fmt.Sprint("g", g)
				c.findCoordinator(group)
				got, code := c.committed(group, "orders", 0)
				if code != 0 || got < before[g] || got > sent[g].Load() {
					t.Errorf("%s has %d (%s); %d was acknowledged, %d sent",
						group, got, errorName(code), before[g], sent[g].Load())
				}
			}
		})
	}
}

// Goal: on a full disk commits are refused with an error that clients try again after, nothing that was acknowledged is
// lost, what is asked is answered and members stay in their group, without a load of the state for each refusal; and
// all works again once there is room. Method: a disk in memory with a capacity.
func TestCommitsOnAFullDisk(t *testing.T) {
	disk := vfs.NewMem()
	n := startNode(t, on(disk, "/a"), oneShard())
	n.createTopic("orders", 1)
	c := n.client()
	c.findCoordinator("g")
	member, generation := c.join("members")
	disk.SetCapacity(disk.UsedBytes() + 10_000)
	acked, refused := int64(-1), ""
	for offset := int64(0); refused == ""; offset++ {
		if refused = c.commit("g", "orders", 0, offset); refused == "" {
			acked = offset
		}
		if offset > 100_000 {
			t.Fatal("the disk does not fill")
		}
	}
	if refused != "NOT_COORDINATOR" || acked < 1 {
		t.Fatalf("refused with %s after %d", refused, acked)
	}
	for range 3 {
		c.expectCommitted("g", acked)
		if e := c.heartbeat("members", member, generation); e != "" {
			t.Fatalf("heartbeat: %s", e)
		}
		if e := c.commit("g", "orders", 0, 1<<40); e != "NOT_COORDINATOR" {
			t.Fatalf("refused with %q", e)
		}
	}
	if loads := n.coordinators.host.Stats().Loads.Load(); loads != 1 {
		t.Errorf("the state was loaded %d times", loads)
	}
	disk.SetCapacity(1 << 30)
	if e := c.commit("g", "orders", 0, acked+1); e != "" {
		t.Errorf("with room again: %s", e)
	}
	n.restart()
	c = n.client()
	c.findCoordinator("g")
	c.expectCommitted("g", acked+1)
}

// Goal: a member that waits for its group does not hold the shutdown up. Method: a join that would wait for a minute.
func TestAJoinThatWaitsIsAnsweredAtShutdown(t *testing.T) {
	n := startNode(t, with("group.initial.rebalance.delay.ms=60000"))
	n.createTopic("orders", 1)
	c := n.client()
	c.findCoordinator("g")
	first := ask[*kmsg.JoinGroupResponse](c, joinRequest("g", ""))
	r := joinRequest("g", first.MemberID)
	c.send(r)
	other := n.client()
	eventually(t, "the member waits", func() bool {
		d := kmsg.NewPtrDescribeGroupsRequest()
		d.SetVersion(5)
		d.Groups = []string{"g"}
		return ask[*kmsg.DescribeGroupsResponse](other, d).Groups[0].State == "PreparingRebalance"
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	n.Broker = nil
	if e := errorName(c.receive(r).(*kmsg.JoinGroupResponse).ErrorCode); e != "NOT_COORDINATOR" {
		t.Errorf("the join was answered %q", e)
	}
}

// Goal: with their topic the coordinators end; a new topic begins empty.
func TestDeletingTheTopicOfTheGroupsEndsThem(t *testing.T) {
	n := startNode(t, oneShard())
	n.createTopic("orders", 1)
	c := n.client()
	c.findCoordinator("g")
	if e := c.commit("g", "orders", 0, 5); e != "" {
		t.Fatal(e)
	}
	n.deleteTopic(kafka.ConsumerOffsetsTopic)
	if e := c.commit("g", "orders", 0, 6); e != "NOT_COORDINATOR" {
		t.Errorf("without the topic: %q", e)
	}
	if led := n.coordinators.host.Led(); len(led) != 0 {
		t.Errorf("still led: %v", led)
	}
	c.findCoordinator("g")
	c.expectCommitted("g", -1)
	if e := c.commit("g", "orders", 0, 7); e != "" {
		t.Error(e)
	}
}

// Goal: no change of the metadata while a broker starts makes it forget the partitions that it leads. Method: news that
// are not about them arrive before the start has looked at who leads.
func TestNewsDuringTheStartDoNotHideWhoLeads(t *testing.T) {
	n := startNode(t, with("offsets.topic.num.partitions=3"))
	n.client().findCoordinator("g")
	c, err := newCoordinators(n.Broker)
	if err != nil {
		t.Fatal(err)
	}
	defer c.host.Close()
	img := n.metadata.Image()
	c.follow(img, &image.Delta{}, c.news)
	c.start()
	if led := c.host.Led(); len(led) != 3 {
		t.Errorf("led are %v", led)
	}
}

// Goal: when the disk of a coordinator's partition fails, its clients are told to look for another coordinator, and the
// broker serves on; a restart with the disk well again finds what was acknowledged.
func TestACoordinatorWhoseDiskFails(t *testing.T) {
	disk := newSickDisk(vfs.NewMem(), vfs.OpWrite)
	disk.err = syscall.EIO
	n := startNode(t, on(disk, "/a,/b"), oneShard())
	n.createTopic("orders", 1)
	c := n.client()
	c.findCoordinator("g")
	if e := c.commit("g", "orders", 0, 5); e != "" {
		t.Fatal(e)
	}
	below := "/" + kafka.ConsumerOffsetsTopic
	disk.below.Store(&below)
	for range 3 {
		if e := c.commit("g", "orders", 0, 6); e != "NOT_COORDINATOR" {
			t.Errorf("answered %q", e)
		}
	}
	if s := n.coordinators.host.Shards()[0].State; s != runtime.Fallen {
		t.Errorf("the coordinator is %s", s)
	}
	disk.below.Store(nil)
	n.restart()
	c = n.client()
	c.findCoordinator("g")
	c.expectCommitted("g", 5)
}

// Goal: a coordinator whose log is damaged is not served, in part or in whole, and the others are. Method: a bit of the
// log is turned while the broker is down.
func TestACoordinatorWhoseLogIsDamaged(t *testing.T) {
	n := startNode(t, with("offsets.topic.num.partitions=2"))
	n.createTopic("orders", 1)
	c := n.client()
	groups := map[kafka.PartitionIndex]string{}
	for i := 0; len(groups) < 2; i++ {
		group := fmt.Sprint("g", i)
		c.findCoordinator(group)
		if e := c.commit(group, "orders", 0, 5); e != "" {
			t.Fatal(e)
		}
		groups[n.coordinators.host.PartitionFor(group)] = group
	}
	n.stop()
	file := filepath.Join(n.dirs, kafka.ConsumerOffsetsTopic+"-1", "00000000000000000000.log")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-3] ^= 1
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
	n.start()
	c = n.client()
	c.findCoordinator(groups[0])
	c.expectCommitted(groups[0], 5)
	if state := n.coordinators.host.Shards()[1].State; state != runtime.Corrupt {
		t.Errorf("the other is %s", state)
	}
	if e := c.commit(groups[1], "orders", 0, 6); e != "COORDINATOR_NOT_AVAILABLE" {
		t.Errorf("answered %q", e)
	}
	if text := n.log.String(); !strings.Contains(text, "a coordinator is not served") {
		t.Errorf("the log says\n%s", text)
	}
}

// Goal: ten thousand members of one group cost what they are worth. Method: they join at once, over connections that
// send as many requests as may be due, and all are answered in one generation.
func TestTenThousandMembersJoinAtOnce(t *testing.T) {
	n := startNode(t, with("offsets.topic.num.partitions=1", "group.initial.rebalance.delay.ms=2000"))
	n.createTopic("orders", 1)
	n.client().findCoordinator("g")
	const clients, each = 25, 400
	started := time.Now()
	var joining sync.WaitGroup
	var leaders atomic.Int64
	for range clients {
		c := n.client()
		joining.Go(func() {
			r := joinRequest("g", "")
			r.SetVersion(3) // does not ask for a member id first
			var out []byte
			for i := range int32(each) {
				out = append(out, c.formatter.AppendRequest(nil, r, i+1)...)
			}
			if _, err := c.conn.Write(out); err != nil {
				t.Error(err)
				return
			}
			for range each {
				response, err := c.tryReceive(r)
				if err != nil {
					t.Error(err)
					return
				}
				joined := response.(*kmsg.JoinGroupResponse)
				if joined.ErrorCode != 0 || joined.Generation != 1 {
					t.Errorf("%s, generation %d", errorName(joined.ErrorCode), joined.Generation)
					return
				}
				if len(joined.Members) == clients*each {
					leaders.Add(1)
				}
			}
		})
	}
	joining.Wait()
	if leaders.Load() != 1 {
		t.Errorf("%d leaders were told of all members", leaders.Load())
	}
	t.Logf("%d members joined in %v", clients*each, time.Since(started))
}
