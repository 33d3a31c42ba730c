package index

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"spate/internal/vfs"
)

// File is one index file. While its segment grows the entries are in a Buffer and the file holds a prefix of them;
// sealed, they are in the file alone and mapped with the first look-up. No descriptor stays open in between.
//
// View may be called by any goroutine. The other methods are called by one at a time, except Append's on the Buffer.
type File struct {
	disk vfs.FS
	kind Kind

	live   atomic.Pointer[Buffer]     // the entries while they are in memory
	mapped atomic.Pointer[mappedFile] // the sealed entries, once mapped

	mu      sync.Mutex // readers take it to map the file
	path    string
	stored  int64         // bytes of the live entries that the file holds
	synced  int64         // bytes of them that are durable
	fresh   bool          // the file on the disk is none of ours: it is replaced with the next write
	made    bool          // the file is there
	newName bool          // it was made since Sync last reported that
	retired []vfs.Mapping // of an earlier seal; a reader may still hold a view of them
}

// mappedFile is a sealed index in memory; an empty one has no mapping.
type mappedFile struct {
	view    []byte
	mapping vfs.Mapping
}

// pageBytes is how many bytes of new entries are worth a write while the segment grows.
const pageBytes = 4096

// NewFile is an index whose entries are those of buffer; what is on the disk under name is replaced.
func NewFile(disk vfs.FS, name string, kind Kind, buffer *Buffer) *File {
	f := &File{disk: disk, path: name, kind: kind, fresh: true}
	f.live.Store(buffer)
	return f
}

// OpenFile is a sealed index; its file is not touched yet.
func OpenFile(disk vfs.FS, name string, kind Kind) *File {
	return &File{disk: disk, path: name, kind: kind}
}

// View is the entries, mapped from the file if need be; they are not checked. Without a file an optional index has no
// entries, and another is ErrUnusable. What a sealed index gives may be used until Close.
func (f *File) View() ([]byte, error) {
	if live := f.live.Load(); live != nil {
		return live.View(), nil
	}
	if mapped := f.mapped.Load(); mapped != nil {
		return mapped.view, nil
	}
	return f.mapFile()
}

func (f *File) mapFile() ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if live := f.live.Load(); live != nil { // it was opened for appending meanwhile
		return live.View(), nil
	}
	if mapped := f.mapped.Load(); mapped != nil {
		return mapped.view, nil
	}
	m := &mappedFile{}
	if err := f.mapInto(m); err != nil {
		return nil, err
	}
	f.mapped.Store(m)
	return m.view, nil
}

func (f *File) mapInto(m *mappedFile) error {
	file, err := f.disk.OpenFile(f.path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if f.kind.Optional {
			return nil
		}
		return ErrUnusable
	}
	if err != nil {
		return err
	}
	defer file.Close() // the mapping stays
	size, err := file.Size()
	if err != nil || size == 0 {
		return err
	}
	if m.mapping, err = file.Map(size); err != nil {
		return err
	}
	m.view = m.mapping.Bytes()
	return nil
}

// Resident says whether View, and a search of what it gives, wait for no disk. Like View it is for those who know that
// nobody closes the index meanwhile.
func (f *File) Resident() bool {
	if f.live.Load() != nil {
		return true
	}
	m := f.mapped.Load()
	return m != nil && (m.mapping == nil || m.mapping.Resident(0, int64(len(m.view))))
}

// Live is the buffer that new entries go to, or nil when the index is sealed.
func (f *File) Live() *Buffer { return f.live.Load() }

// ErrUnusable says that an index does not fit its segment and must be rebuilt.
var ErrUnusable = errors.New("the index is missing or wrong")

// Tail reads the last entry, nil of an empty file; a sealed index stays unmapped. A file that is not there, or does not
// hold whole entries, is ErrUnusable.
func (f *File) Tail() ([]byte, error) {
	file, err := f.disk.OpenFile(f.path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrUnusable
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil || size == 0 {
		return nil, err
	}
	entryBytes := int64(f.kind.EntryBytes)
	if size%entryBytes != 0 {
		return nil, ErrUnusable
	}
	entry := make([]byte, entryBytes)
	if _, err := file.ReadAt(entry, size-entryBytes); err != nil {
		return nil, err
	}
	return entry, nil
}

// Revive makes a sealed index live again. The buffer holds just what the file does.
func (f *File) Revive(buffer *Buffer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored = int64(buffer.Bytes())
	f.synced, f.fresh, f.made = f.stored, false, f.stored > 0
	f.live.Store(buffer)
}

// Replace makes buffer the entries of the index, and its file is written anew.
func (f *File) Replace(buffer *Buffer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored, f.synced, f.fresh, f.made = 0, 0, true, false
	f.live.Store(buffer)
}

// Persist writes entries that the file lacks, once they fill a page. The newest stays out: a file that holds every
// entry was synced or sealed.
func (f *File) Persist() error {
	live := f.live.Load()
	if live == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	view := live.View()
	end := int64(len(view) - f.kind.EntryBytes)
	if end-f.stored < pageBytes {
		return nil
	}
	return f.write(view[:end], (*File).append)
}

// Sync makes every entry durable. It reports whether the file was created since it was last called: then the directory
// is to be synced as well.
func (f *File) Sync() (created bool, err error) {
	live := f.live.Load()
	if live == nil {
		return false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.syncLocked(live)
}

func (f *File) syncLocked(live *Buffer) (created bool, err error) {
	view := live.View()
	if !f.made || f.fresh || f.synced < int64(len(view)) {
		err = f.write(view, (*File).appendDurably)
	}
	created, f.newName = f.newName, false
	return created, err
}

// Seal forgets the buffer, whose every entry Sync made durable: from now on they are read from the file.
func (f *File) Seal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.mapped.Load(); m != nil && m.mapping != nil {
		f.retired = append(f.retired, m.mapping) // of an earlier seal
	}
	f.mapped.Store(nil)
	f.live.Store(nil)
}

// write opens the file, made anew if it is none of ours, for one of the appends.
func (f *File) write(view []byte, appendTo func(*File, vfs.File, []byte) error) error {
	if f.fresh {
		// A new file rather than a shorter one: the old may still be mapped.
		if err := f.disk.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		f.fresh, f.made = false, false
	}
	if f.kind.Optional && len(view) == 0 {
		return nil
	}
	file, err := f.disk.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	f.newName = f.newName || !f.made
	f.made = true
	if err := appendTo(f, file, view); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func (f *File) append(file vfs.File, view []byte) error {
	if _, err := file.WriteAt(view[f.stored:], f.stored); err != nil {
		return err
	}
	f.stored = int64(len(view))
	return nil
}

func (f *File) appendDurably(file vfs.File, view []byte) error {
	if err := f.append(file, view); err != nil {
		return err
	}
	if err := file.Datasync(); err != nil {
		return err
	}
	f.synced = int64(len(view))
	return nil
}

// Rename gives the file another name, if there is one. A reader finds it under the old name or the new, never under
// none. What is under the new name where there is no file, is another's: an index that may do without has no entries.
func (f *File) Rename(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch err := f.disk.Rename(f.path, name); {
	case errors.Is(err, fs.ErrNotExist):
		if f.kind.Optional && f.mapped.Load() == nil {
			f.mapped.Store(&mappedFile{})
		}
	case err != nil:
		return err
	}
	f.path = name
	return nil
}

// Path is the name of the file.
func (f *File) Path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.path
}

// Close ends the mapping; no slice of a sealed index may be used any more.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	mappings := f.retired
	if m := f.mapped.Load(); m != nil && m.mapping != nil {
		mappings = append(mappings, m.mapping)
	}
	f.retired = nil
	f.mapped.Store(nil)
	var errs []error
	for _, m := range mappings {
		errs = append(errs, m.Unmap())
	}
	return errors.Join(errs...)
}
