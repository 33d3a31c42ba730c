package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExchange swaps two folders on every disk.
func TestExchange(t *testing.T) {
	for name, d := range disks(t) {
		t.Run(name, func(t *testing.T) {
			a, b := path.Join(d.dir, "a"), path.Join(d.dir, "b")
			for _, dir := range []string{a, b} {
				must(t, d.fs.MkdirAll(dir, 0o755))
				must(t, ReplaceFile(d.fs, path.Join(dir, "name"), []byte(path.Base(dir))))
			}
			must(t, d.fs.Exchange(a, b))
			for dir, want := range map[string]string{a: "b", b: "a"} {
				if data, err := ReadFile(d.fs, path.Join(dir, "name")); err != nil || string(data) != want {
					t.Errorf("%s holds %q, %v", dir, data, err)
				}
			}
			if err := d.fs.Exchange(a, path.Join(d.dir, "none")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("with nothing: %v", err)
			}
			if err := d.fs.Exchange(path.Join(d.dir, "none"), a); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("nothing with something: %v", err)
			}
		})
	}
}

// TestCrashExchangesAtomically cuts the power after an exchange that was not synced: both names are as before, or both
// as after.
func TestCrashExchangesAtomically(t *testing.T) {
	m := NewMem()
	must(t, ReplaceFile(m, "a", []byte("1")))
	must(t, ReplaceFile(m, "b", []byte("2")))
	must(t, m.Exchange("a", "b"))
	seen := map[string]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		clone := m.CrashClone(random)
		a, err := ReadFile(clone, "a")
		must(t, err)
		b, err := ReadFile(clone, "b")
		must(t, err)
		seen[string(a)+string(b)] = true
	}
	if len(seen) != 2 || !seen["12"] || !seen["21"] {
		t.Errorf("after a crash: %v", seen)
	}
}

// TestLockKeepsKafkaOut takes the lock that Kafka takes, a record lock, and finds it held; and the other way round.
func TestLockKeepsKafkaOut(t *testing.T) {
	file := path.Join(t.TempDir(), ".lock")
	recordLock := func() (io.Closer, error) {
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
		must(t, err)
		// Of the open file, as the test has one process for both; the kernel lets the two kinds exclude each other.
		return f, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	ours, err := OS{}.Lock(file)
	must(t, err)
	theirs, err := recordLock()
	if err == nil {
		t.Error("Kafka's lock was given beside ours")
	}
	must(t, theirs.Close())
	must(t, ours.Close())
	theirs, err = recordLock()
	must(t, err)
	if _, err := (OS{}).Lock(file); !errors.Is(err, ErrLocked) {
		t.Errorf("our lock beside Kafka's: %v", err)
	}
	must(t, theirs.Close())
}
