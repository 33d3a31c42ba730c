package vfs

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// memNode is a file or a directory of a Mem. The disk's lock guards it.
type memNode struct {
	data     []byte     // the content as reads see it
	durable  []byte     // the content at the last sync
	pending  []memWrite // what came since, in order
	mappings []*memMapping
	charged  int64 // bytes of room taken, in whole pages; data may be sparse and longer
	opens    int
	unlinked bool

	entries        map[string]*memNode // of a directory, as readers see it; nil for a file
	durableEntries map[string]*memNode // at the last SyncDir
	changes        []dirChange         // what came since, in order
}

// memWrite is one write, or a truncation to off.
type memWrite struct {
	off      int64
	data     []byte
	truncate bool
}

// dirChange is one atomic change of a directory: it takes one name out, puts one in, or both; or it swaps two.
type dirChange struct {
	removed, added string
	node           *memNode // what added names
	back           *memNode // what removed names from now on; nil for nothing
}

func (c dirChange) apply(entries map[string]*memNode) {
	switch {
	case c.back != nil:
		entries[c.removed] = c.back
	case c.removed != "":
		delete(entries, c.removed)
	}
	if c.added != "" {
		entries[c.added] = c.node
	}
}

func newMemDir() *memNode {
	return &memNode{entries: map[string]*memNode{}, durableEntries: map[string]*memNode{}}
}

func (n *memNode) isDir() bool { return n.entries != nil }

func (n *memNode) change(c dirChange) {
	c.apply(n.entries)
	n.changes = append(n.changes, c)
}

func (n *memNode) link(name string, node *memNode) { n.change(dirChange{added: name, node: node}) }

func (n *memNode) stat(name string) fs.FileInfo {
	return memInfo{name: name, size: int64(len(n.data)), dir: n.isDir()}
}

// poison fills what no reader may touch, so that one who does reads nonsense, or trips the race detector.
const poison = 0xdb

// resize sets the size in the content and in the mappings. Bytes that come into being are zero.
func (n *memNode) resize(size int64) {
	old := int64(len(n.data))
	n.data = resized(n.data, size)
	for _, m := range n.mappings {
		if length := int64(len(m.bytes)); size < old {
			fill(m.bytes[min(size, length):min(old, length)], poison)
		} else {
			fill(m.bytes[min(old, length):min(size, length)], 0)
		}
	}
}

func resized(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	old := len(data)
	data = slices.Grow(data, int(size)-old)[:size]
	clear(data[old:])
	return data
}

func fill(b []byte, value byte) {
	for i := range b {
		b[i] = value
	}
}

func (n *memNode) write(p []byte, off int64) {
	if end := off + int64(len(p)); end > int64(len(n.data)) {
		n.resize(end)
	}
	copy(n.data[off:], p)
	for _, m := range n.mappings {
		if off < int64(len(m.bytes)) {
			copy(m.bytes[off:], p)
		}
	}
	n.pending = append(n.pending, memWrite{off: off, data: slices.Clone(p)})
}

// memFile is one open file of a Mem.
type memFile struct {
	disk     *Mem
	node     *memNode
	name     string
	writable bool
	closed   atomic.Bool
}

// usable is the error of an operation on a closed file, or of a write to one opened for reading.
func (f *memFile) usable(op string, writes bool) error {
	if f.closed.Load() || writes && !f.writable {
		return pathError(op, f.name, syscall.EBADF)
	}
	return nil
}

// ReadAt fills p from off; it gives io.EOF where the file ends before p does.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("pread", false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes p at off, as much as there is room for.
func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.writeLocked(p, off)
}

func (f *memFile) writeLocked(p []byte, off int64) (int, error) {
	if err := f.usable("pwrite", true); err != nil {
		return 0, err
	}
	room := f.disk.charge(f.node, off+int64(len(p))) - off
	if room >= int64(len(p)) {
		f.node.write(p, off)
		return len(p), nil
	}
	n := int(max(room, 0))
	if n > 0 {
		f.node.write(p[:n], off)
	}
	return n, pathError("pwrite", f.name, syscall.ENOSPC)
}

// WritevAt writes bufs one after another.
func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	return f.WriteAt(slices.Concat(bufs...), off)
}

// Size is the end of the data.
func (f *memFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("fstat", false); err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

// Truncate sets the size and gives back the room that was reserved past it.
func (f *memFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("ftruncate", false); err != nil {
		return err
	}
	if !f.writable {
		return pathError("ftruncate", f.name, syscall.EINVAL)
	}
	f.disk.truncate(f.node, size)
	return nil
}

// Allocate takes room up to off+length.
func (f *memFile) Allocate(off, length int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("fallocate", true); err != nil {
		return err
	}
	if f.disk.charge(f.node, off+length) < off+length {
		return pathError("fallocate", f.name, syscall.ENOSPC)
	}
	return nil
}

// StartWriteback does nothing: what is not synced may survive a power cut anyway.
func (f *memFile) StartWriteback(_, _ int64) error { return f.usable("sync_file_range", false) }

// Datasync makes the content durable; the file's name is the directory's matter.
func (f *memFile) Datasync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("fdatasync", false); err != nil {
		return err
	}
	f.node.syncContent()
	return nil
}

func (n *memNode) syncContent() {
	for _, w := range n.pending {
		n.durable = w.apply(n.durable)
	}
	n.pending = nil
}

// apply gives the content after the write.
func (w memWrite) apply(content []byte) []byte {
	if w.truncate {
		return resized(content, w.off)
	}
	if end := w.off + int64(len(w.data)); end > int64(len(content)) {
		content = resized(content, end)
	}
	copy(content[w.off:], w.data)
	return content
}

// FD is -1.
func (f *memFile) FD() int { return -1 }

// Name is the path that the file was opened by.
func (f *memFile) Name() string { return f.name }

// Close closes the file; mappings stay.
func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.node.opens--
	f.disk.release(f.node)
	return nil
}

// heapMappingBytesMax is up to where the bytes of a mapping come from Go's heap, where the race detector watches them.
// Larger ones are mapped from the kernel: untouched pages cost nothing there.
const heapMappingBytesMax = 16 << 20

// memMapping is a copy of the file's beginning that every later write goes to as well.
type memMapping struct {
	disk  *Mem
	node  *memNode
	bytes []byte
}

// Map copies the content and keeps the copy up to date.
func (f *memFile) Map(length int64) (Mapping, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.usable("mmap", false); err != nil {
		return nil, err
	}
	if length <= 0 {
		return nil, pathError("mmap", f.name, syscall.EINVAL)
	}
	bytes := []byte(nil)
	if length <= heapMappingBytesMax {
		bytes = make([]byte, length)
	} else {
		var err error
		bytes, err = unix.Mmap(-1, 0, int(length), unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
		if err != nil {
			return nil, pathError("mmap", f.name, err)
		}
	}
	copy(bytes, f.node.data)
	m := &memMapping{disk: f.disk, node: f.node, bytes: bytes}
	f.node.mappings = append(f.node.mappings, m)
	return m, nil
}

// Bytes is the mapped file.
func (m *memMapping) Bytes() []byte { return m.bytes }

// Resident is always true.
func (m *memMapping) Resident(int64, int64) bool { return true }

// Unmap ends the mapping and poisons what was handed out.
func (m *memMapping) Unmap() error {
	m.disk.mu.Lock()
	defer m.disk.mu.Unlock()
	i := slices.Index(m.node.mappings, m)
	if i < 0 {
		return syscall.EINVAL
	}
	m.node.mappings = slices.Delete(m.node.mappings, i, i+1)
	m.disk.release(m.node)
	if len(m.bytes) > heapMappingBytesMax {
		return unix.Munmap(m.bytes)
	}
	fill(m.bytes, poison)
	return nil
}
