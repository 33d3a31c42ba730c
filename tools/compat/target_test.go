package compat

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/proc"
)

// target is a broker of its own that a test may kill and start again at its address: bin/spate, or an Apache Kafka.
type target struct {
	bootstrap string
	isKafka   bool
	dir       string // where its partitions lie
	kill      func()
	start     func() error
	stop      func() error // for good
}

// restart kills the broker and starts it again.
func (tg *target) restart() error {
	tg.kill()
	return tg.start()
}

// groupSettings make groups quick: the values that a test would otherwise have to wait for.
func groupSettings() map[string]string {
	return map[string]string{
		"group.initial.rebalance.delay.ms":         "500",
		"group.min.session.timeout.ms":             "1000",
		"group.consumer.session.timeout.ms":        strconv.Itoa(sessionMs),
		"group.consumer.min.session.timeout.ms":    "1000",
		"group.consumer.heartbeat.interval.ms":     strconv.Itoa(heartbeatMs),
		"group.consumer.min.heartbeat.interval.ms": "100",
		"offsets.topic.num.partitions":             "5",
		"auto.create.topics.enable":                "false",
	}
}

// patientSettings are groupSettings with a long session for all members of the consumer protocol.
func patientSettings() map[string]string {
	settings := groupSettings()
	settings["group.consumer.session.timeout.ms"] = strconv.Itoa(patientMs)
	return settings
}

const (
	sessionMs   = 6000
	heartbeatMs = 500
	// patientMs is the session of members that are thought to own their partitions as long as they live: no pause of a
	// busy machine may end it.
	patientMs = 15_000
)

// startTarget starts a broker that ends with the test: Spate, or with -kafka an Apache Kafka.
func startTarget(t *testing.T, settings map[string]string) *target {
	t.Helper()
	if *kafkaTarget {
		return startKafka(t, settings)
	}
	return startSpate(t, settings)
}

func startSpate(t *testing.T, settings map[string]string) *target {
	t.Helper()
	dir, err := os.MkdirTemp("", "compat-spate-") // a comma in TempDir's would divide log.dirs
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := freeAddress(t)
	var b *proc.Broker
	tg := &target{bootstrap: address, dir: dir}
	tg.start = func() error {
		started, err := proc.Start(proc.Options{DataDir: dir, Listen: address, Set: settings})
		if err == nil {
			b = started
		}
		return err
	}
	tg.kill = func() { b.Kill() }
	stopped := false
	tg.stop = func() error { stopped = true; return b.Stop() }
	if err := tg.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-b.Exited():
			if !stopped {
				t.Errorf("the broker ended by itself: %s", b.LogTail())
			}
		default:
		}
		b.Kill()
		if t.Failed() {
			t.Logf("the end of the broker's log:\n%s", b.LogTail())
		}
	})
	return tg
}

// starting lets one Kafka start at a time: two of them would take more than twice as long.
var starting sync.Mutex

func startKafka(t *testing.T, settings map[string]string) *target {
	t.Helper()
	dir, err := os.MkdirTemp("", "compat-kafka-")
	if err != nil {
		t.Fatal(err)
	}
	starting.Lock()
	defer starting.Unlock()
	port := freePort(t)
	tg := &target{bootstrap: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), isKafka: true,
		dir: filepath.Join(dir, "data")}
	var k *proc.Kafka
	tg.start = func() error {
		started, err := proc.StartKafka(dir, port, settings)
		if err == nil {
			k = started
		}
		return err
	}
	tg.kill = func() { k.Kill() }
	tg.stop = func() error { return k.Stop() }
	if err := tg.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return tg
}

// settle waits until an Apache Kafka does what its controller has said to be done. Its broker learns of changes in
// order: it takes those that there are at once, shows them, and puts them into effect one by one, before it takes more.
// So a change that is made now shows when those before it show, and one that is made after that shows when those are in
// effect.
func settle(ctx context.Context, admin *kadm.Client) error {
	name := "settled"
	entity := kadm.ClientQuotaEntity{{Type: "user", Name: &name}}
	for _, isSet := range []bool{true, false} {
		op := kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Value: 1e9, Remove: !isSet}
		entry := kadm.AlterClientQuotaEntry{Entity: entity, Ops: []kadm.AlterClientQuotaOp{op}}
		altered, err := admin.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{entry})
		if err == nil {
			err = altered[0].Err
		}
		if err != nil {
			return err
		}
		err = waitFor(ctx, func() (bool, error) {
			only := []kadm.DescribeClientQuotaComponent{{Type: "user", MatchName: &name}}
			found, err := admin.DescribeClientQuotas(ctx, true, only)
			return len(found) > 0 == isSet, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// adminOf is an administrator who does not give a topic up because the machine is slow, after 15 s.
func adminOf(client *kgo.Client) *kadm.Client {
	admin := kadm.NewClient(client)
	admin.SetTimeoutMillis(int32(clientTimeout.Milliseconds()))
	return admin
}

// freePort gives a loopback port for one broker, now and when it starts again, with the one after it.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := proc.FreePortPair()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t)))
}
