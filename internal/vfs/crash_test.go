package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"
)

// crashes runs check on many clones of the disk after a power cut, and counts the answers.
func crashes(m *Mem, check func(*Mem) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(400) {
		seen[check(m.CrashClone(rand.New(rand.NewPCG(seed, 1))))]++
	}
	return seen
}

// content is a file in words: its bytes as runs, or that it is not there.
func content(disk FS, name string) string {
	data, err := ReadFile(disk, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "none"
	}
	if err != nil {
		return err.Error()
	}
	text := ""
	for len(data) > 0 {
		n := len(data) - len(bytes.TrimLeft(data, string(data[:1])))
		text += fmt.Sprintf("%c%d", data[0]|0x40, n)
		data = data[n:]
	}
	return text
}

func create(t *testing.T, m *Mem, name string) File {
	t.Helper()
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	return f
}

func write(t *testing.T, f File, value byte, n int, off int64) {
	t.Helper()
	_, err := f.WriteAt(bytes.Repeat([]byte{value}, n), off)
	must(t, err)
}

// TestCrashKeepsWhatWasSynced never loses content that was synced under a name that was.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f")
	write(t, f, 'a', 1000, 0)
	must(t, f.Datasync())
	must(t, m.SyncDir("/"))
	seen := crashes(m, func(c *Mem) string { return content(c, "f") })
	if len(seen) != 1 || seen["a1000"] == 0 {
		t.Errorf("seen %v", seen)
	}
}

// TestCrashLosesNames forgets a file whose directory was not synced, in some of the crashes, and keeps it in others.
func TestCrashLosesNames(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f")
	write(t, f, 'a', 10, 0)
	must(t, f.Datasync())
	must(t, m.MkdirAll("d/e", 0o755))
	seen := crashes(m, func(c *Mem) string { return content(c, "f") })
	if len(seen) != 2 || seen["none"] < 50 || seen["a10"] < 50 {
		t.Errorf("seen %v", seen)
	}
	must(t, m.SyncDir("/"))
	seen = crashes(m, func(c *Mem) string {
		_, err := c.Stat("d/e")
		return content(c, "f") + fmt.Sprint(err == nil)
	})
	if len(seen) != 2 || seen["a10true"] < 50 || seen["a10false"] < 50 {
		t.Errorf("seen %v", seen)
	}
}

// TestCrashTearsBetweenSectors overwrites two sectors: each may be old or new, none is mixed.
func TestCrashTearsBetweenSectors(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f")
	write(t, f, 'a', 1024, 0)
	must(t, f.Datasync())
	must(t, m.SyncDir("/"))
	write(t, f, 'b', 1024, 0)
	want := map[string]bool{"a1024": true, "b1024": true, "a512b512": true, "b512a512": true}
	seen := crashes(m, func(c *Mem) string { return content(c, "f") })
	for got := range seen {
		if !want[got] {
			t.Errorf("seen %q", got)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("only seen %v", seen)
	}
}

// TestCrashMixesSizeAndContent grows and shortens a file: its size may be of one moment and its sectors of others, with
// zeros where nothing was written yet.
func TestCrashMixesSizeAndContent(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f")
	must(t, m.SyncDir("/"))
	write(t, f, 'a', 600, 0)
	must(t, f.Truncate(100))
	write(t, f, 'b', 500, 100)
	seen := crashes(m, func(c *Mem) string { return content(c, "f") })
	for _, want := range []string{"", "a600", "a100", "a100b500", "@600", "a100b412@88", "@512b88"} {
		if seen[want] == 0 {
			t.Errorf("never seen %q", want)
		}
	}
	must(t, f.Datasync())
	if seen := crashes(m, func(c *Mem) string { return content(c, "f") }); len(seen) != 1 || seen["a100b500"] == 0 {
		t.Errorf("after a sync %v", seen)
	}
}

// TestCrashRenamesAtomically has the old or the new file under a name, never none.
func TestCrashRenamesAtomically(t *testing.T) {
	m := NewMem()
	must(t, ReplaceFile(m, "f", []byte("aaa")))
	temp := create(t, m, "f.tmp")
	write(t, temp, 'b', 3, 0)
	must(t, temp.Datasync())
	must(t, m.Rename("f.tmp", "f"))
	seen := crashes(m, func(c *Mem) string { return content(c, "f") })
	if len(seen) != 2 || seen["a3"] == 0 || seen["b3"] == 0 {
		t.Errorf("seen %v", seen)
	}
}

// TestCrashAcrossDirectories syncs the two directories of a rename on their own.
func TestCrashAcrossDirectories(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("x", 0o755))
	must(t, m.MkdirAll("y", 0o755))
	must(t, m.SyncDir("/"))
	must(t, ReplaceFile(m, "x/f", []byte("aaa")))
	must(t, m.Rename("x/f", "y/f"))
	both := func(c *Mem) string { return content(c, "x/f") + " " + content(c, "y/f") }
	if seen := crashes(m, both); len(seen) != 4 {
		t.Errorf("seen %v", seen)
	}
	must(t, m.SyncDir("y"))
	if seen := crashes(m, both); len(seen) != 2 || seen["a3 a3"] == 0 || seen["none a3"] == 0 {
		t.Errorf("seen %v", seen)
	}
	// A file of two names is still one.
	clone := NewMem()
	for seed := uint64(0); content(clone, "x/f") == "none"; seed++ {
		clone = m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
	}
	f, err := clone.OpenFile("x/f", os.O_RDWR, 0)
	must(t, err)
	write(t, f, 'c', 3, 0)
	if content(clone, "y/f") != "c3" {
		t.Error("the two names are two files")
	}
}

// TestCrashCloneIsApart leaves the first disk as it was, drops locks and keeps the capacity; the same seed gives the
// same.
func TestCrashCloneIsApart(t *testing.T) {
	m := NewMem()
	m.SetCapacity(1 << 20)
	_, err := m.Lock("lock")
	must(t, err)
	f := create(t, m, "f")
	write(t, f, 'a', 5000, 0)
	must(t, f.Datasync())
	must(t, m.SyncDir("/"))
	write(t, f, 'b', 5000, 300)
	m.UsedBytes()
	for seed := range uint64(20) {
		one := m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		two := m.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		if content(one, "f") != content(two, "f") {
			t.Error("one seed gives two disks")
		}
		if _, err := one.Lock("lock"); err != nil {
			t.Error(err)
		}
		must(t, ReplaceFile(one, "f", nil))
		if free, _ := two.FreeBytes("/"); free != 1<<20-8192 {
			t.Errorf("%d bytes are free", free)
		}
	}
	if content(m, "f") != "a300b5000" {
		t.Errorf("the disk changed to %s", content(m, "f"))
	}
}

// TestReplaceFileSurvivesCrashes cuts the power at each step: the name always holds the old content or the new, and the
// new one once ReplaceFile has returned.
func TestReplaceFileSurvivesCrashes(t *testing.T) {
	for n := range int64(10) {
		m := NewMem()
		must(t, ReplaceFile(m, "f", bytes.Repeat([]byte("a"), 2000)))
		fault := NewFault(m, FailFrom(n, func(op Op) bool { return op.Kind.Mutates() }, ErrPowerCut))
		err := ReplaceFile(fault, "f", bytes.Repeat([]byte("b"), 3000))
		seen := crashes(m, func(c *Mem) string { return content(c, "f") })
		for got := range seen {
			if got != "b3000" && (got != "a2000" || err == nil) {
				t.Errorf("cut at %d (%v): %q", n, err, got)
			}
		}
		if err == nil && n < 5 {
			t.Errorf("only %d steps", n)
		}
	}
}
