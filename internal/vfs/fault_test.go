package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

// TestFaultFailsEveryOperation lets each kind of operation fail with an error of its own, and sees that nothing was
// done.
func TestFaultFailsEveryOperation(t *testing.T) {
	cause := errors.New("cause")
	for _, kind := range []OpKind{OpOpen, OpCreate, OpMkdir, OpReadDir, OpStat, OpRename, OpRemove, OpSyncDir, OpLock,
		OpFree, OpRead, OpWrite, OpSize, OpTruncate, OpAllocate, OpWriteback, OpDatasync, OpMap, OpClose} {
		t.Run(string(kind), func(t *testing.T) {
			m := NewMem()
			must(t, ReplaceFile(m, "/f", []byte("aaa")))
			armed := false
			var seen []Op
			d := NewFault(m, func(op Op) error {
				if armed && op.Kind == kind {
					seen = append(seen, op)
					return cause
				}
				return nil
			})
			f, err := d.OpenFile("/f", os.O_RDWR, 0)
			must(t, err)
			armed = true
			for name, call := range operations(d, f) {
				err := call()
				if failed := errors.Is(err, cause); failed != operationKinds[name].is(kind) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if len(seen) == 0 {
				t.Error("the hook was not asked")
			}
			if kind == OpWrite && content(m, "/f") == "z2" {
				t.Error("a failed write wrote")
			}
		})
	}
}

type kinds []OpKind

func (k kinds) is(kind OpKind) bool {
	for _, each := range k {
		if each == kind {
			return true
		}
	}
	return false
}

var operationKinds = map[string]kinds{
	"open": {OpOpen}, "create": {OpCreate}, "mkdir": {OpMkdir}, "readdir": {OpReadDir}, "stat": {OpStat},
	"rename": {OpRename}, "remove": {OpRemove}, "removeall": {OpRemove}, "syncdir": {OpSyncDir}, "lock": {OpLock},
	"free": {OpFree}, "total": {OpFree}, "read": {OpRead}, "write": {OpWrite}, "writev": {OpWrite}, "size": {OpSize},
	"truncate": {OpTruncate}, "allocate": {OpAllocate}, "writeback": {OpWriteback}, "datasync": {OpDatasync},
	"map": {OpMap}, "close": {OpClose},
}

// operations are one call of each, on things that are there. Close comes as an open of another file.
func operations(d FS, f File) map[string]func() error {
	return map[string]func() error{
		"open":   func() error { _, err := d.OpenFile("/f", os.O_RDONLY, 0); return err },
		"create": func() error { _, err := d.OpenFile("/g", os.O_RDWR|os.O_CREATE, 0); return err },
		"mkdir":  func() error { return d.MkdirAll("/d", 0) },
		"readdir": func() error {
			_, err := d.ReadDir("/")
			return err
		},
		"stat":      func() error { _, err := d.Stat("/f"); return err },
		"rename":    func() error { return d.Rename("/f", "/f") },
		"remove":    func() error { return unless(d.Remove("/none"), fs.ErrNotExist) },
		"removeall": func() error { return d.RemoveAll("/none") },
		"syncdir":   func() error { return d.SyncDir("/") },
		"syncfs":    func() error { return d.SyncAll("/") },
		"lock":      func() error { _, err := d.Lock("/lock"); return err },
		"free":      func() error { _, err := d.FreeBytes("/"); return err },
		"total":     func() error { _, err := d.TotalBytes("/"); return err },
		"read":      func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		"write":     func() error { _, err := f.WriteAt([]byte("zz"), 0); return err },
		"writev":    func() error { _, err := f.WritevAt([][]byte{{'z'}, {'z'}}, 0); return err },
		"size":      func() error { _, err := f.Size(); return err },
		"truncate":  func() error { return f.Truncate(2) },
		"allocate":  func() error { return f.Allocate(0, 10) },
		"writeback": func() error { return f.StartWriteback(0, 10) },
		"datasync":  f.Datasync,
		"map":       func() error { _, err := f.Map(10); return err },
		"close": func() error {
			other, err := d.OpenFile("/f", os.O_RDONLY, 0)
			if err != nil {
				return nil
			}
			return other.Close()
		},
	}
}

func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// TestFailNthAndFrom counts only what matches.
func TestFailNthAndFrom(t *testing.T) {
	writes := func(op Op) bool { return op.Kind == OpWrite }
	for _, c := range []struct {
		name string
		hook func(Op) error
		want []bool
	}{
		{"nth", FailNth(1, writes, syscall.EIO), []bool{false, true, false, false}},
		{"from", FailFrom(1, writes, syscall.EIO), []bool{false, true, true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := NewFault(NewMem(), c.hook).OpenFile("/f", os.O_RDWR|os.O_CREATE, 0)
			must(t, err)
			for i, fails := range c.want {
				_, err := f.WriteAt([]byte{1}, 0)
				if errors.Is(err, syscall.EIO) != fails {
					t.Errorf("write %d: %v", i, err)
				}
				must(t, f.Datasync())
			}
		})
	}
}

// TestShortWrite lets a part through, of one buffer and of several.
func TestShortWrite(t *testing.T) {
	short := &ShortWrite{N: 4, Err: syscall.ENOSPC}
	m := NewMem()
	f, err := NewFault(m, func(op Op) error {
		if op.Kind == OpWrite {
			return short
		}
		return nil
	}).OpenFile("/f", os.O_RDWR|os.O_CREATE, 0)
	must(t, err)
	n, err := f.WriteAt(bytes.Repeat([]byte("a"), 10), 0)
	if n != 4 || !errors.Is(err, syscall.ENOSPC) || content(m, "/f") != "a4" {
		t.Errorf("%d, %v, %s", n, err, content(m, "/f"))
	}
	n, err = f.WritevAt([][]byte{[]byte("bb"), []byte("ccc"), []byte("d")}, 4)
	if n != 4 || !errors.Is(err, syscall.ENOSPC) || content(m, "/f") != "a4b2c2" {
		t.Errorf("%d, %v, %s", n, err, content(m, "/f"))
	}
	if !errors.Is(short, syscall.ENOSPC) || short.Error() == "" {
		t.Error("a short write hides its cause")
	}
}

// TestCapacity fills the disk: writes stop where the room ends, reservations take nothing then, truncation and removal
// give room back, and a removed file keeps it while it is open or mapped.
func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(3*4096 + 100)
	f := create(t, m, "f")
	n, err := f.WriteAt(make([]byte, 20000), 0)
	if n != 3*4096 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, err := f.WriteAt([]byte{1}, 3*4096); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if _, err := f.WriteAt(make([]byte, 100), 3*4096-100); err != nil {
		t.Errorf("room that is taken is not free: %v", err)
	}
	must(t, f.Truncate(4097))
	if free, _ := m.FreeBytes("/"); free != 4096 {
		t.Errorf("%d bytes are free", free)
	}
	other := create(t, m, "g")
	if err := other.Allocate(0, 4097); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("allocate: %v", err)
	}
	must(t, other.Truncate(0))
	must(t, other.Allocate(0, 4096))
	mapping, err := f.Map(100)
	must(t, err)
	must(t, m.Remove("f"))
	must(t, f.Close())
	if m.UsedBytes() != 3*4096 {
		t.Errorf("%d bytes are taken", m.UsedBytes())
	}
	must(t, mapping.Unmap())
	if m.UsedBytes() != 4096 {
		t.Errorf("%d bytes are taken", m.UsedBytes())
	}
	must(t, m.Rename("g", "h"))
	must(t, other.Close())
	must(t, m.RemoveAll("/h"))
	if m.UsedBytes() != 0 {
		t.Errorf("%d bytes are taken", m.UsedBytes())
	}
	if err := mapping.Unmap(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("unmapped twice: %v", err)
	}
}

// TestLargeMappingCostsNothing maps a gibibyte of a small file.
func TestLargeMappingCostsNothing(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f")
	mapping, err := f.Map(1 << 30)
	must(t, err)
	write(t, f, 'a', 100, 5000)
	if mapping.Bytes()[5000] != 'a' || mapping.Bytes()[1<<30-1] != 0 {
		t.Error("the write does not show")
	}
	must(t, mapping.Unmap())
}
