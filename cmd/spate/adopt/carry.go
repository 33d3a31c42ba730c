package adopt

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"spate/internal/invariant"
	"spate/internal/vfs"
	"spate/metadata"
	"spate/partition"
)

// Carry does what the plan says. Whatever interrupts it leaves Kafka's metadata log in place or Spate's, whole; another
// Check and Carry finish it.
func Carry(fsys vfs.FS, p *Plan) error {
	invariant.Check(len(p.Refusals) == 0, "a plan with %d refusals is carried out", len(p.Refusals))
	home := path.Dir(p.Metadata)
	if !p.Adopted {
		if err := lockAll(fsys, p); err != nil {
			return err
		}
		if err := stillStopped(fsys, p); err != nil {
			return fmt.Errorf("nothing was changed: %w", err)
		}
		if err := prepare(fsys, p); err != nil {
			return fmt.Errorf("nothing was changed: %w", errors.Join(err, fsys.RemoveAll(p.temp)))
		}
		if err := fsys.Exchange(p.temp, p.Metadata); err != nil {
			return fmt.Errorf("nothing was changed, the file system could not swap two folders in one step: %w",
				errors.Join(err, fsys.RemoveAll(p.temp)))
		}
		if err := fsys.SyncDir(home); err != nil {
			return err
		}
	}
	// From here on what has the temporary name is Kafka's.
	err := fsys.Rename(p.temp, p.Backup)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fsys.SyncDir(home)
}

// lockAll takes the locks that the check left, since it makes no file.
func lockAll(fsys vfs.FS, p *Plan) error {
	if len(p.locks) == len(p.dirs) {
		return nil
	}
	if err := p.Close(); err != nil {
		return err
	}
	for _, d := range p.dirs {
		lock, err := fsys.Lock(path.Join(d.path, partition.LockFile))
		if err != nil {
			return err
		}
		p.locks = append(p.locks, lock)
	}
	return nil
}

// stillStopped makes sure that the node did not run while nobody held the locks: it would have written to its metadata.
func stillStopped(fsys vfs.FS, p *Plan) error {
	now, err := readSource(fsys, p.Metadata, p.ClusterID, p.NodeID, p.CleanShutdown)
	if err == nil && now.end != p.MetadataEnd {
		err = fmt.Errorf("the node has run since its directories were read (%s ended at offset %d, and ends at %d): "+
			"stop it, and run this again", p.Metadata, p.MetadataEnd, now.end)
	}
	return err
}

// prepare makes the new metadata log, durably, under its temporary name.
func prepare(fsys vfs.FS, p *Plan) error {
	if err := fsys.RemoveAll(p.temp); err != nil { // half of an earlier one
		return err
	}
	if err := metadata.Found(fsys, p.temp, p.foundation); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(p.temp))
}
