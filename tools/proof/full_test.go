//go:build crash

package proof

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"

	"spate/internal/proc"
)

// Goal: on a full disk writes are answered with KAFKA_STORAGE_ERROR, reads go on, and service resumes when there is
// room. Method: the data directory lies on a small tmpfs, which a ballast file fills and leaves. Needs root.
func TestFullDisk(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	mount := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", mount).CombinedOutput(); err != nil {
		t.Fatalf("mount a tmpfs (as root): %v %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	b := start(t, proc.Options{DataDir: filepath.Join(mount, "data")})
	defer b.Kill()
	if err := fill(ctx, b.Bootstrap, "t", 4); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(mount, "ballast")
	fillUp(t, ballast)
	producer, err := kgo.NewClient(
		kgo.SeedBrokers(b.Bootstrap),
		kgo.DefaultProduceTopic("t"),
		kgo.DisableIdempotentWrite(),
		kgo.RecordRetries(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	send := func(ctx context.Context) error {
		return producer.ProduceSync(ctx, &kgo.Record{Value: make([]byte, 64<<10)}).FirstErr()
	}
	stored := 0 // what still went into blocks that were allocated ahead
	for err = nil; err == nil; stored++ {
		if stored > 1024 {
			t.Fatal("64 MiB were stored on a full disk of that size")
		}
		err = send(ctx)
	}
	stored-- // the one that failed
	if !errors.Is(err, kerr.KafkaStorageError) {
		t.Fatalf("a write on a full disk got %v, want KAFKA_STORAGE_ERROR", err)
	}
	if err := drain(ctx, b.Bootstrap, "t", 4); err != nil {
		t.Fatalf("reading on a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for err := send(ctx); err != nil; err = send(ctx) {
		if !errors.Is(err, kerr.KafkaStorageError) || ctx.Err() != nil {
			t.Fatalf("service did not resume: %v", err)
		}
	}
	t.Logf("%d more records were stored in allocated blocks, then KAFKA_STORAGE_ERROR, then service resumed", stored)
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
}

func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
