package segment

import (
	"encoding/binary"
	"io/fs"
	"testing"
	"time"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
)

// pickyDisk takes a question about pages before the file or behind it as a kernel without cachestat does.
type pickyDisk struct{ vfs.FS }

type pickyFile struct{ vfs.File }

type pickyMapping struct{ vfs.Mapping }

func (d pickyDisk) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	return pickyFile{f}, err
}

func (f pickyFile) Map(length int64) (vfs.Mapping, error) {
	m, err := f.File.Map(length)
	return pickyMapping{m}, err
}

func (m pickyMapping) Resident(off, length int64) bool {
	return length <= 0 || len(m.Bytes()[off:off+length]) > 0
}

// An index that was changed on the disk points to nowhere: a loop that asks what is in memory leaves the rest to a
// worker, who makes the index anew.
func TestResidentOfAWrongIndex(t *testing.T) {
	for _, position := range []int32{-1, -1 << 31, 1<<31 - 1} {
		o := testOptions()
		o.Clock = clock.NewManual(time.UnixMilli(1_800_000_000_000))
		disk := memDisk(t)
		s := create(t, disk, 0, o)
		for range 100 {
			stamped(t, s, 100, 1)
		}
		must(t, s.Close())
		data := fileBytes(t, disk, 0, ".index")
		wrong := data[len(data)-16:] // the last entry is looked at by the opening
		binary.BigEndian.PutUint32(wrong[4:], uint32(position))
		putFile(t, disk, 0, ".index", data)
		s = reopen(t, pickyDisk{disk}, 0, o)
		for _, offset := range []kafka.Offset{0, kafka.Offset(binary.BigEndian.Uint32(wrong)) + 1} {
			s.Resident(offset, 500, s.NextOffset())
			r, err := s.Read(offset, 500, true, s.NextOffset())
			must(t, err)
			r.Release()
		}
		must(t, s.Close())
	}
}
