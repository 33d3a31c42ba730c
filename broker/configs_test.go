package broker

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/partition"
)

// alterBroker sets configs of the broker, or of all brokers for the empty name; an empty value takes one away.
func (n *node) alterBroker(name string, configs map[string]string) {
	n.t.Helper()
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Version = 1
	r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: name}
	for key, value := range configs {
		c := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Value: &value}
		if value == "" {
			c.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, c)
	}
	request.Resources = append(request.Resources, r)
	response := ask[*kmsg.IncrementalAlterConfigsResponse](n.client(), request)
	if got := response.Resources[0]; got.ErrorCode != 0 {
		n.t.Fatalf("%v: error %d: %v", configs, got.ErrorCode, got.ErrorMessage)
	}
}

// logConfig is what the log of a partition goes by.
func (n *node) logConfig(topic string) partition.Config {
	return *n.replicas.TopicNamed(topic).Partition(0).View().Log.Config()
}

// Goal: what topics inherit from the broker changes under them, when the alteration is answered; what a topic sets for
// itself stays; and a restart keeps it all, whichever way the broker ended.
func TestTopicsFollowTheBroker(t *testing.T) {
	n := startNode(t)
	n.createTopic("plain", 1)
	n.createTopic("own", 1, "max.message.bytes=3000000")
	check := func(when string, plain int, retention time.Duration) {
		t.Helper()
		c := n.logConfig("plain")
		if c.BatchBytesMax != plain || c.RetentionAge != retention || n.logConfig("own").BatchBytesMax != 3_000_000 {
			t.Errorf("%s: %d, %s, %d", when, c.BatchBytesMax, c.RetentionAge, n.logConfig("own").BatchBytesMax)
		}
	}
	const week = 7 * 24 * time.Hour
	check("at first", 1048588, week)
	n.alterBroker("", map[string]string{"message.max.bytes": "2000", "log.retention.ms": "5000"})
	check("set for all", 2000, 5*time.Second)
	n.alterBroker("1", map[string]string{"message.max.bytes": "1000"})
	check("set on the broker", 1000, 5*time.Second)
	big := batch(string(make([]byte, 1500)))
	response := ask[*kmsg.ProduceResponse](n.client(), produceRequest(9, -1, "plain", kafka.UUID{}, 0, big))
	if code := response.Topics[0].Partitions[0].ErrorCode; code != kafka.MessageTooLarge.Code {
		t.Errorf("a batch above the limit: error %d", code)
	}
	n.restart()
	check("after a restart", 1000, 5*time.Second)
	n.createTopic("late", 1)
	if got := n.logConfig("late").BatchBytesMax; got != 1000 {
		t.Errorf("a topic that is made later has %d", got)
	}
	n.alterBroker("1", map[string]string{"message.max.bytes": ""})
	check("taken away on the broker", 2000, 5*time.Second)
	n.alterBroker("", map[string]string{"message.max.bytes": "", "log.retention.ms": ""})
	check("taken away", 1048588, week)
}

// Goal: the broker is durable the moment it says so: an alteration that was answered is there after the power went.
func TestAnsweredConfigsSurviveAPowerCut(t *testing.T) {
	disk := vfs.NewMem()
	n := startNode(t, on(disk, "/data"))
	n.createTopic("plain", 1)
	n.alterBroker("", map[string]string{"message.max.bytes": "2000"})
	after := startNode(t, on(disk.CrashClone(rand.New(rand.NewPCG(1, 2))), "/data"))
	if got := after.logConfig("plain").BatchBytesMax; got != 2000 {
		t.Errorf("after the cut it is %d", got)
	}
}

// Goal: limits of connections hold for newcomers from the answer on, and from the first connection on after a restart.
func TestConnectionLimitsChange(t *testing.T) {
	n := startNode(t)
	refuses := func() bool {
		conn, err := net.Dial("tcp", n.address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		frame := kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1)
		if _, err := conn.Write(frame); err != nil {
			return true
		}
		_, err = conn.Read(make([]byte, 4))
		return err != nil
	}
	held := n.client()
	ask[*kmsg.ApiVersionsResponse](held, kmsg.NewPtrApiVersionsRequest())
	if refuses() {
		t.Fatal("a newcomer is refused at first")
	}
	alter := func(set string) {
		t.Helper()
		r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}
		c := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "max.connections.per.ip.overrides", Value: &set}
		r.Configs = append(r.Configs, c)
		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		request.Resources = append(request.Resources, r)
		if got := ask[*kmsg.IncrementalAlterConfigsResponse](held, request).Resources[0]; got.ErrorCode != 0 {
			t.Fatalf("%+v", got)
		}
	}
	alter("127.0.0.1:1")
	if !refuses() {
		t.Error("a newcomer above the limit is taken")
	}
	alter("127.0.0.1:9")
	eventually(t, "a newcomer is taken again", func() bool { return !refuses() })
	alter("127.0.0.1:0")
	n.restart()
	if !refuses() {
		t.Error("after a restart a newcomer is taken")
	}
}

// Goal: pools and ages follow. Method: what each part says of itself.
func TestPoolsFollowTheBroker(t *testing.T) {
	n := startNode(t)
	for _, threads := range []int{16, 8, 5, 10} {
		n.alterBroker("1", map[string]string{"num.io.threads": strconv.Itoa(threads)})
		if got := n.node.Workers.Size(); got != threads {
			t.Errorf("%d workers, not %d", got, threads)
		}
	}
	n.alterBroker("", map[string]string{
		"producer.id.expiration.ms": "5000", "num.recovery.threads.per.data.dir": "4",
		"group.consumer.assignment.interval.ms": "77",
	})
	for _, dir := range n.replicas.Dirs() {
		if dir.ProducerExpiration() != 5*time.Second || dir.RecoveryThreads() != 4 {
			t.Errorf("%s, %d", dir.ProducerExpiration(), dir.RecoveryThreads())
		}
	}
	if got := n.coordinators.groupSettings(nil).Consumer.AssignmentInterval; got != 77*time.Millisecond {
		t.Errorf("groups wait for %s", got)
	}
}

// Goal: a downgrade of the consumer groups is kept by a restart, which would finalize what is not, and so is what comes
// after it. Method: heartbeats before and after.
func TestADowngradeIsKept(t *testing.T) {
	n := startNode(t)
	code := func() int16 {
		request := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		request.Version, request.Group, request.RebalanceTimeoutMillis = 0, "g", 60_000
		request.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		return ask[*kmsg.ConsumerGroupHeartbeatResponse](n.client(), request).ErrorCode
	}
	update := func(level int16, upgradeType int8) {
		t.Helper()
		n.updateFeature("group.version", level, upgradeType)
	}
	if code() == kafka.UnsupportedVersion.Code {
		t.Fatal("the consumer protocol is off at first")
	}
	update(0, 2)
	for range 2 {
		if code() != kafka.UnsupportedVersion.Code {
			t.Error("the consumer protocol is on")
		}
		n.restart()
	}
	update(1, 1)
	for range 2 {
		if code() == kafka.UnsupportedVersion.Code {
			t.Error("the consumer protocol is off")
		}
		n.restart()
	}
}

func (n *node) updateFeature(name string, level int16, upgradeType int8) {
	n.t.Helper()
	request := kmsg.NewPtrUpdateFeaturesRequest()
	request.Version = 2
	request.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{
		{Feature: name, MaxVersionLevel: level, UpgradeType: upgradeType},
	}
	if r := ask[*kmsg.UpdateFeaturesResponse](n.client(), request); r.ErrorCode != 0 {
		n.t.Fatalf("%+v", r)
	}
}
