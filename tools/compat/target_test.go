package compat

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"spate/internal/proc"
)

// target is a broker of its own that a test may kill and start again at its address: bin/spate, or an Apache Kafka.
type target struct {
	bootstrap string
	dir       string // where its partitions lie
	kill      func()
	start     func() error
	stop      func() error // for good
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

const (
	sessionMs   = 6000
	heartbeatMs = 500
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
	dir, address := t.TempDir(), freeAddress(t)
	var b *proc.Broker
	tg := &target{bootstrap: address, dir: dir}
	tg.start = func() (err error) {
		b, err = proc.Start(proc.Options{DataDir: dir, Listen: address, Set: settings})
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

// ports keeps two tests of this process from choosing the same.
var ports sync.Mutex

func startKafka(t *testing.T, settings map[string]string) *target {
	t.Helper()
	dir, err := os.MkdirTemp("", "compat-kafka-")
	if err != nil {
		t.Fatal(err)
	}
	ports.Lock()
	defer ports.Unlock()
	port, err := proc.FreePortPair()
	if err != nil {
		t.Fatal(err)
	}
	tg := &target{bootstrap: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: filepath.Join(dir, "data")}
	var k *proc.Kafka
	tg.start = func() (err error) {
		k, err = proc.StartKafka(dir, port, settings)
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

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
