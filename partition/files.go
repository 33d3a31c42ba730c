package partition

import (
	"errors"
	"io/fs"
	"path"

	"spate/internal/vfs"
)

// makeFolder makes a folder and its missing parents, durably: a folder is as lost as the name of one above it.
func makeFolder(fsys vfs.FS, name string) error {
	var made []string // folders that get a new name in them, the deepest first
	for at := path.Clean(name); ; at = path.Dir(at) {
		_, err := fsys.Stat(at)
		if err == nil || at == path.Dir(at) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, path.Dir(at))
	}
	if err := fsys.MkdirAll(name, 0o755); err != nil {
		return err
	}
	for _, parent := range made {
		if err := fsys.SyncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// readFile gives the whole of a small file, which may not be larger than limit.
func readFile(fsys vfs.FS, name string, limit int64) ([]byte, error) {
	return vfs.ReadSmallFile(fsys, name, limit)
}

// replaceFile writes text to name so that a crash leaves the old content or the new. When it fails the old content
// stands, and what was written of the new is given back: room may be what is missing.
func replaceFile(fsys vfs.FS, name string, text []byte) error {
	err := placeFile(fsys, name, text)
	if err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// placeFile is replaceFile without the flush that makes it last: a crash may bring the old content back until the
// folder is flushed.
func placeFile(fsys vfs.FS, name string, text []byte) error {
	err := vfs.PlaceFile(fsys, name, text)
	if err != nil {
		_ = fsys.Remove(name + vfs.TempSuffix) // best effort; the next start removes it
	}
	return err
}
