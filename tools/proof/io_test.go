package proof

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/proc"
)

const megabytes = 64

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := proc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// start runs a broker, whose last words are told if the test fails.
func start(t *testing.T, o proc.Options) *proc.Broker {
	t.Helper()
	b, err := proc.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.LogTail())
		}
	})
	return b
}

// Goal: fetches above 32 KiB leave the broker by sendfile. Method: the kernel's own record of the broker's system
// calls (strace) must show sendfile moving at least nine tenths of what a consumer read, and the broker's metrics must
// agree with it.
func TestLargeFetchesLeaveBySendfile(t *testing.T) {
	if err := proc.Install("strace", "strace"); err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 3*time.Minute)
	trace, metrics := filepath.Join(t.TempDir(), "trace"), freeAddress(t)
	b := start(t, proc.Options{DataDir: t.TempDir(), Set: map[string]string{"spate.metrics.listener": metrics},
		Wrap: []string{"strace", "-f", "-qq", "-e", "trace=sendfile", "-e", "signal=none", "-o", trace}})
	defer b.Kill()
	if err := fill(ctx, b.Bootstrap, "t", megabytes); err != nil {
		t.Fatal(err)
	}
	if err := drain(ctx, b.Bootstrap, "t", megabytes); err != nil {
		t.Fatal(err)
	}
	counted, err := scrape(ctx, metrics, "spate_network_sendfile_bytes_total")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	traced, calls := int64(0), 0
	// A call that was interrupted by another thread's line is resumed on a line of its own; both end in its result.
	for _, m := range regexp.MustCompile(`(?m)sendfile.*= (\d+)$`).FindAllSubmatch(text, -1) {
		n, err := strconv.ParseInt(string(m[1]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		traced += n
		calls++
	}
	t.Logf(
		"%d MiB read by the consumer; sendfile moved %d bytes in %d calls; the metric says %.0f",
		megabytes,
		traced,
		calls,
		counted,
	)
	if traced < megabytes<<20*9/10 {
		t.Errorf("sendfile moved %d bytes of %d", traced, megabytes<<20)
	}
	if int64(counted) != traced {
		t.Errorf("the metric counts %.0f bytes by sendfile, the kernel %d", counted, traced)
	}
}

// Goal: a consumer whose data is not in the page cache is served, and its disk reads are made by workers, not by the
// loop. Method: write, stop, drop the files from the page cache, start, read; the metric counts the workers' reads.
// That the loop serves others meanwhile is pinned by netpoll's and broker's tests, on reads that never end.
func TestColdReadsAreMadeByWorkers(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	dir, metrics := t.TempDir(), freeAddress(t)
	options := proc.Options{DataDir: dir, Set: map[string]string{"spate.metrics.listener": metrics}}
	b := start(t, options)
	if err := fill(ctx, b.Bootstrap, "t", megabytes); err != nil {
		t.Fatal(err)
	}
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	dropFromCache(t, filepath.Join(dir, "t-0", "00000000000000000000.log"))
	b = start(t, options)
	defer b.Kill()
	if err := drain(ctx, b.Bootstrap, "t", megabytes); err != nil {
		t.Fatal(err)
	}
	cold, err := scrape(ctx, metrics, "spate_cold_reads_total")
	if err != nil {
		t.Fatal(err)
	}
	if cold == 0 {
		t.Error("no cold read was handed to a worker")
	}
	t.Logf("%d MiB read cold; %.0f reads by workers", megabytes, cold)
}

// dropFromCache writes a file's dirty pages back and evicts it from the page cache.
func dropFromCache(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
