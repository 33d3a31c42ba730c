package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// pageBytes is the unit in which Mem counts used room, and sectorBytes the unit that a power cut leaves whole.
const (
	pageBytes   = 4096
	sectorBytes = 512
)

// unlimitedBytes is the free room of a disk without a capacity: large, and far from overflowing in sums.
const unlimitedBytes = 1 << 50

// Mem is a disk in memory. It remembers what was synced, file by file and directory by directory, so that CrashClone
// can lose the rest. Names are resolved from its root, whether they begin with a slash or not. Times are zero.
type Mem struct {
	mu       sync.Mutex
	root     *memNode
	locks    map[string]bool
	capacity int64 // bytes, 0 for unlimited
	used     int64 // bytes charged to files, in whole pages
}

var _ FS = (*Mem)(nil)

// NewMem gives an empty disk of unlimited room.
func NewMem() *Mem { return &Mem{root: newMemDir(), locks: map[string]bool{}} }

// SetCapacity limits the disk to so many bytes; 0 lifts the limit. What is there stays, even if it is more.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// UsedBytes is the room that files and reservations take, in whole pages.
func (m *Mem) UsedBytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

func memPath(name string) string { return path.Clean("/" + name) }

// find walks to name; the error is syscall.ENOENT or ENOTDIR.
func (m *Mem) find(name string) (*memNode, error) {
	n := m.root
	for part := range strings.SplitSeq(memPath(name)[1:], "/") {
		if part == "" {
			continue
		}
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		n = n.entries[part]
		if n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent finds the directory that holds name, and the last element of name.
func (m *Mem) parent(name string) (*memNode, string, error) {
	dir, base := path.Split(memPath(name))
	n, err := m.find(dir)
	if err != nil {
		return nil, "", err
	}
	if !n.isDir() {
		return nil, "", syscall.ENOTDIR
	}
	if base == "" {
		return nil, "", syscall.EINVAL // the root itself
	}
	return n, base, nil
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// OpenFile opens a file as os.OpenFile does; perm is ignored.
func (m *Mem) OpenFile(name string, flag int, _ fs.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.open(name, flag)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	n.opens++
	return &memFile{disk: m, node: n, name: name, writable: flag&(os.O_RDWR|os.O_WRONLY) != 0}, nil
}

func (m *Mem) open(name string, flag int) (*memNode, error) {
	dir, base, err := m.parent(name)
	if err != nil {
		return nil, err
	}
	n := dir.entries[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, syscall.ENOENT
	case n == nil:
		n = &memNode{}
		dir.link(base, n)
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, syscall.EEXIST
	case n.isDir():
		return nil, syscall.EISDIR
	case flag&os.O_TRUNC != 0:
		m.truncate(n, 0)
	}
	return n, nil
}

// MkdirAll makes name and its missing parents.
func (m *Mem) MkdirAll(name string, _ fs.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for part := range strings.SplitSeq(memPath(name)[1:], "/") {
		if part == "" {
			continue
		}
		next := n.entries[part]
		if next == nil {
			next = newMemDir()
			n.link(part, next)
		}
		if !next.isDir() {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = next
	}
	return nil
}

// ReadDir lists name, sorted.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	list := make([]fs.DirEntry, 0, len(n.entries))
	for _, base := range sortedNames(n.entries) {
		list = append(list, fs.FileInfoToDirEntry(n.entries[base].stat(base)))
	}
	return list, nil
}

// Stat describes name.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return n.stat(path.Base(memPath(name))), nil
}

// Rename renames a file or directory. Within one directory it is atomic, also across a power cut; between two of them
// each is synced on its own.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.rename(from, to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (m *Mem) rename(from, to string) error {
	source, base, err := m.parent(from)
	if err != nil {
		return err
	}
	target, toBase, err := m.parent(to)
	if err != nil {
		return err
	}
	n, replaced := source.entries[base], target.entries[toBase]
	switch {
	case n == nil:
		return syscall.ENOENT
	case replaced != nil && replaced.isDir():
		return syscall.EEXIST // os.Rename refuses even what rename(2) allows
	case n == replaced:
		return nil
	case strings.HasPrefix(memPath(to)+"/", memPath(from)+"/"):
		return syscall.EINVAL // a directory into itself
	case replaced != nil && n.isDir():
		return syscall.ENOTDIR
	}
	if source == target {
		source.change(dirChange{removed: base, added: toBase, node: n})
	} else {
		source.change(dirChange{removed: base})
		target.change(dirChange{added: toBase, node: n})
	}
	if replaced != nil {
		replaced.unlinked = true
		m.release(replaced)
	}
	return nil
}

// Exchange swaps two names of one directory.
func (m *Mem) Exchange(a, b string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, aBase, err := m.parent(a)
	other, bBase, err2 := m.parent(b)
	switch {
	case err == nil && err2 != nil:
		err = err2
	case err == nil && dir != other:
		err = syscall.EXDEV
	case err == nil && (dir.entries[aBase] == nil || dir.entries[bBase] == nil):
		err = syscall.ENOENT
	}
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	dir.change(dirChange{removed: aBase, back: dir.entries[bBase], added: bBase, node: dir.entries[aBase]})
	return nil
}

// Remove removes a file or an empty directory.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err != nil {
		return pathError("remove", name, err)
	}
	n := dir.entries[base]
	if n == nil {
		return pathError("remove", name, syscall.ENOENT)
	}
	if len(n.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	m.unlink(dir, base)
	return nil
}

// RemoveAll removes name and all below it.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, base, err := m.parent(name)
	if err == syscall.ENOENT {
		return nil
	}
	if err != nil {
		return pathError("unlinkat", name, err)
	}
	if dir.entries[base] != nil {
		m.unlinkAll(dir, base)
	}
	return nil
}

func (m *Mem) unlinkAll(dir *memNode, base string) {
	n := dir.entries[base]
	for _, below := range sortedNames(n.entries) {
		m.unlinkAll(n, below)
	}
	m.unlink(dir, base)
}

func (m *Mem) unlink(dir *memNode, base string) {
	n := dir.entries[base]
	dir.change(dirChange{removed: base})
	n.unlinked = true
	m.release(n)
}

// release gives the room of a file back once nobody can reach it.
func (m *Mem) release(n *memNode) {
	if n.unlinked && n.opens == 0 && len(n.mappings) == 0 {
		m.used -= n.charged
		n.charged = 0
	}
}

// SyncDir makes the names in the directory durable.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return pathError("open", name, err)
	}
	n.syncNames()
	return nil
}

func (n *memNode) syncNames() {
	for _, c := range n.changes {
		c.apply(n.durableEntries)
	}
	n.changes = nil
}

// SyncAll makes everything below the directory durable.
func (m *Mem) SyncAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find(name)
	if err != nil {
		return pathError("open", name, err)
	}
	n.syncAll()
	return nil
}

func (n *memNode) syncAll() {
	if !n.isDir() {
		n.syncContent()
		return
	}
	n.syncNames()
	for _, entry := range n.entries {
		entry.syncAll()
	}
}

// Lock takes the lock of name, creating the file.
func (m *Mem) Lock(name string) (io.Closer, error) {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	held := m.locks[memPath(name)]
	m.locks[memPath(name)] = true
	m.mu.Unlock()
	if held {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	return &memLock{file: f, disk: m, name: memPath(name)}, nil
}

type memLock struct {
	file File
	disk *Mem
	name string
}

// Close gives the lock up.
func (l *memLock) Close() error {
	if err := l.file.Close(); err != nil {
		return err
	}
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	delete(l.disk.locks, l.name)
	return nil
}

// FreeBytes is the room below the capacity.
func (m *Mem) FreeBytes(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.free(), nil
}

// TotalBytes is the capacity.
func (m *Mem) TotalBytes(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return unlimitedBytes, nil
	}
	return m.capacity, nil
}

func (m *Mem) free() int64 {
	if m.capacity == 0 {
		return unlimitedBytes
	}
	return max(0, m.capacity-m.used) &^ (pageBytes - 1)
}

// charge counts whole pages up to end to the file, as far as there is room, and gives the end of what it has now.
func (m *Mem) charge(n *memNode, end int64) int64 {
	if pages := (end + pageBytes - 1) &^ (pageBytes - 1); pages > n.charged {
		more := min(pages-n.charged, m.free())
		n.charged += more
		m.used += more
	}
	return n.charged
}

func (m *Mem) truncate(n *memNode, size int64) {
	n.resize(size)
	n.pending = append(n.pending, memWrite{off: size, truncate: true})
	if kept := (size + pageBytes - 1) &^ (pageBytes - 1); kept < n.charged {
		m.used -= n.charged - kept
		n.charged = kept
	}
}

func sortedNames(entries map[string]*memNode) []string {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// memInfo describes a file of a Mem.
type memInfo struct {
	name string
	size int64
	dir  bool
}

// Name is the last element of the path.
func (i memInfo) Name() string { return i.name }

// Size is in bytes, 0 for a directory.
func (i memInfo) Size() int64 { return i.size }

// Mode is a plain file's or a directory's.
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// ModTime is the zero time: a Mem has no clock.
func (memInfo) ModTime() time.Time { return time.Time{} }

// IsDir says whether it is a directory.
func (i memInfo) IsDir() bool { return i.dir }

// Sys is nil.
func (memInfo) Sys() any { return nil }
