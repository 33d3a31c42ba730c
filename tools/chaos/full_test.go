//go:build crash

package chaos

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/proc"
)

// diskBytes is room for what all rounds write, in blocks that are allocated ahead.
const diskBytes = "512m"

// stalledFor is how long nothing is committed when the disk is taken to be full, also what was allocated ahead.
const stalledFor = time.Second

// Goal: what TestTransactionsKillNine wants, on a disk that is full now and then: what the broker has decided it
// carries out when there is room, and what it could not write has not happened. Method: the data directory lies on a
// tmpfs, which a ballast file fills and leaves, under load; every other time the broker is killed while it is full.
// Needs root (make crash).
func TestTransactionsFullDisk(t *testing.T) {
	mount := t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+diskBytes, "tmpfs", mount).CombinedOutput()
	if err != nil {
		t.Fatalf("mount a tmpfs (as root): %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	ballast, round := filepath.Join(mount, "ballast"), 0
	runTxnPlan(t, TxnPlan{
		Plan: Plan{DataDir: filepath.Join(mount, "data"), Set: txnSettings(nil), Rounds: (*rounds + 1) / 2},
		FaultUnderLoad: func(b *proc.Broker, committed func() int) error {
			round++
			err := errors.Join(fillUp(ballast), awaitStall(committed))
			if round%2 == 0 {
				b.Kill()
			}
			return errors.Join(err, os.Remove(ballast))
		},
	})
}

// awaitStall waits until nothing is committed any more.
func awaitStall(committed func() int) error {
	last, since := committed(), time.Now()
	for deadline := time.Now().Add(roundMax); time.Since(since) < stalledFor; {
		<-time.After(10 * time.Millisecond)
		if now := committed(); now != last {
			last, since = now, time.Now()
		}
		if time.Now().After(deadline) {
			return errors.New("transactions are committed on a full disk")
		}
	}
	return nil
}

// fillUp writes a file until no byte more fits.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for size := len(block); size > 0 && err == nil; {
		_, err = f.Write(block[:size])
		if errors.Is(err, unix.ENOSPC) {
			size, err = size/2, nil
		}
	}
	return errors.Join(err, f.Close())
}
