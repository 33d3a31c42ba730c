package segment

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// TestReadAgreesWithModel reads a segment in every state of its life with drawn arguments, and compares with a search
// through a list.
func TestReadAgreesWithModel(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			disk := memDisk(t)
			base := kafka.Offset(random.IntN(1000))
			o := Options{BytesMax: 256 << 10, IndexIntervalBytes: random.IntN(1500), IndexBytesMax: 1 << 20}
			s := create(t, disk, base, o)
			m := &model{base: base}
			for range 4 {
				m.appendAll(t, random, s, drawBatches(t, random, m.next(), 1+random.IntN(40)))
				m.check(t, s)
				readSome(t, random, s, m)
				s = nextState(t, random, disk, s, o)
				m.check(t, s)
				readSome(t, random, s, m)
			}
			must(t, s.Close())
		})
	}
}

// readSome makes reads all over the segment and past both ends.
func readSome(t *testing.T, random *rand.Rand, s *Segment, m *model) {
	t.Helper()
	span := int(m.next()-m.base) + 6
	for range 60 {
		offset := m.base + kafka.Offset(random.IntN(span)-3)
		end := m.base + kafka.Offset(random.IntN(span)-3)
		if random.IntN(3) == 0 {
			end = s.FlushedOffset()
		}
		bytesMax := random.IntN(2000) - 10
		minOne := random.IntN(2) == 0
		m.checkRead(t, s, offset, bytesMax, minOne, end)
		if !s.Resident(offset, bytesMax, end) {
			t.Fatalf("what was just read from memory is not resident")
		}
	}
}

// nextState flushes, seals, reopens or recovers the segment.
func nextState(t *testing.T, random *rand.Rand, disk vfs.FS, s *Segment, o Options) *Segment {
	t.Helper()
	switch random.IntN(5) {
	case 0:
		must(t, s.Flush())
	case 1:
		must(t, s.Seal())
	case 2:
		must(t, s.Close())
		return reopen(t, disk, s.BaseOffset(), o)
	case 3:
		must(t, s.Close())
		s, _, err := Recover(disk, testDir, s.BaseOffset(), o, s.NextOffset(), nil)
		must(t, err)
		return s
	}
	return s
}
