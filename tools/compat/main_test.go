package compat

import (
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"spate/internal/proc"
)

var (
	bootstrap = flag.String("bootstrap", os.Getenv("SPATE_BOOTSTRAP"),
		"test the broker at this host:port instead of starting bin/spate")
	dataDir = flag.String("data", "", "with -bootstrap: the log directory of that broker, on this machine")
	rewrite = flag.Bool("rewrite", false, "with -bootstrap of an Apache Kafka: record its answers as the expected ones")
	results = flag.String("results", "", "write the table of results to this file")

	kafkaTarget = flag.Bool("kafka", false, "test groups, chains, Connect and Streams on an Apache Kafka of their own")
	transcript  = flag.String("transcripts", "", "write what Apache Kafka's group tools print to this directory")
	long        = flag.Bool("long", false, "up to 50 members in every library, minutes of faults")
)

// underTest is the broker that the tests talk to, and where it keeps its data.
var underTest struct {
	bootstrap string
	data      string
	stop      func() error
}

func TestMain(m *testing.M) {
	if os.Getenv(franzHostEnv) != "" {
		runFranzHost()
		return
	}
	flag.Parse()
	if err := start(); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := underTest.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		code = 1
	}
	if code == 0 && *results != "" {
		if err := writeResults(*results); err != nil {
			fmt.Fprintln(os.Stderr, "compat:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// start builds and starts bin/spate, unless -bootstrap or SPATE_BIN name something else.
func start() error {
	if *bootstrap != "" {
		underTest.bootstrap, underTest.data = *bootstrap, *dataDir
		underTest.stop = func() error { return nil }
		return nil
	}
	if *kafkaTarget {
		underTest.stop = func() error { return nil }
		return nil
	}
	if os.Getenv("SPATE_BIN") == "" {
		if out, err := exec.Command("make", "-s", "-C", "../..", "build").CombinedOutput(); err != nil {
			return fmt.Errorf("make build: %w\n%s", err, out)
		}
	}
	dir, err := os.MkdirTemp("", "spate-compat-")
	if err != nil {
		return err
	}
	// kafkajs reads in a group of its own each time: the wait for further members would only add up.
	b, err := proc.Start(proc.Options{DataDir: dir, Set: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
	if err != nil {
		return err
	}
	underTest.bootstrap, underTest.data = b.Bootstrap, dir
	underTest.stop = func() error {
		if err := b.Stop(); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	}
	return nil
}

// runID makes names that no earlier run on the same broker has used.
func runID() string { return rand.Text()[:8] }
