package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spate/internal/proc"
)

// TestMoveReplica moves a topic for real: the command says what begins, and log-dirs in the end where it is.
func TestMoveReplica(t *testing.T) {
	base := t.TempDir()
	a, b := filepath.Join(base, "a"), filepath.Join(base, "b")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	broker, err := proc.Start(proc.Options{DataDir: a + "," + b})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Kill()
	run := func(args ...string) string {
		t.Helper()
		r := spate(t, "one\ntwo\n", append(args, "-b", broker.Bootstrap)...)
		if r.code != 0 {
			t.Fatalf("%v: %s", args, r.err)
		}
		return r.out
	}
	run("topic", "create", "orders", "-p", "2")
	run("produce", "orders", "-q", "-p", "1")
	for _, to := range []string{a, b, a} {
		text := run("cluster", "move-replica", "orders", "--to", to)
		for _, want := range []string{"moving orders-0 to " + to, "moving orders-1 to " + to} {
			if !strings.Contains(text, want) {
				t.Errorf("it says %q, not %q", text, want)
			}
		}
		deadline := time.Now().Add(patience)
		for where := ""; strings.Count(where, to) != 2 || strings.Contains(where, "moving"); {
			if time.Now().After(deadline) {
				t.Fatalf("after a move to %s:\n%s", to, where)
			}
			where = run("cluster", "log-dirs", "--topic", "orders")
		}
	}
	if got := run("consume", "orders", "-q", "--from", "earliest", "--count", "2"); got != "one\ntwo\n" {
		t.Errorf("after the moves it holds %q", got)
	}
}
