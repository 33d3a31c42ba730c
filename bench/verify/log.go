package verify

import (
	"cmp"
	"fmt"
	"slices"
)

// Options say what a log may look like.
type Options struct {
	Run       uint32
	Topic     string
	Partition int32
	// Redelivered: a group whose members change gets records again; what came before is skipped, as long as it is the
	// same offset.
	Redelivered bool
	// Foreign: the topic was there before, with records of others, which are passed over.
	Foreign bool
}

// The kinds of faults.
const (
	Lost       = "lost"
	Duplicated = "duplicated"
	Reordered  = "reordered"
	Corrupted  = "corrupted"
	Unexpected = "unexpected"
)

// Fault is one thing that is wrong.
type Fault struct {
	Kind      string
	Topic     string
	Partition int32
	Offset    int64 // of the record; of a lost one that of what came instead, or the last that was read, or -1
	Producer  uint32
	Sequence  uint64
	Text      string
}

// Counts are how many of each.
type Counts struct {
	Checked     int64 // records that were read, redelivered ones left out
	Arrived     int64 // of them, those that were due here and had not been seen
	Lost        int64
	Duplicated  int64
	Reordered   int64
	Corrupted   int64
	Unexpected  int64
	Redelivered int64
}

// Add adds the counts of another log.
func (c *Counts) Add(other Counts) {
	c.Checked += other.Checked
	c.Arrived += other.Arrived
	c.Lost += other.Lost
	c.Duplicated += other.Duplicated
	c.Reordered += other.Reordered
	c.Corrupted += other.Corrupted
	c.Unexpected += other.Unexpected
	c.Redelivered += other.Redelivered
}

// faultsMax bounds the faults of a log that are kept; all are counted.
const faultsMax = 20

// Log follows one partition as one reader sees it.
type Log struct {
	options Options
	next    int64     // offset that is due at least
	streams []*stream // by producer
	counts  Counts
	faults  []Fault
}

// stream is what one producer wrote into the partition.
type stream struct {
	next    uint64 // sequence that is due
	missing []span // below next and not seen, in order
}

// span is the sequences from first to the one before end, which did not come between two records.
type span struct {
	first, end uint64
	after      int64 // offset of the record of this producer that came instead of them; -1: none came
}

// missingMax bounds the gaps of a stream that are remembered: what fills an older one is taken for a duplicate, which
// is wrong too.
const missingMax = 100_000

// producersMax bounds the memory that a stamp with a right checksum, and nonsense in it, can ask for.
const producersMax = 1 << 20

// NewLog begins with the partition as it is: an offset below next is not looked at.
func NewLog(o Options) *Log { return &Log{options: o} }

// Counts are those so far; what is lost is known after Finish only.
func (l *Log) Counts() Counts { return l.counts }

// Record looks at the next record. The stamp is for its latency: it is given only for a record that is what it should
// be.
func (l *Log) Record(offset int64, key, value []byte) (Stamp, bool) {
	if offset < l.next && l.options.Redelivered {
		l.counts.Redelivered++
		return Stamp{}, false
	}
	stamp, err := Open(key, value)
	if l.options.Foreign && (err != nil || stamp.Run != l.options.Run) {
		l.next = max(l.next, offset+1)
		return Stamp{}, false
	}
	l.counts.Checked++
	if offset < l.next {
		l.counts.Reordered++
		l.fault(Reordered, offset, stamp, "offset %d came after offset %d", offset, l.next-1)
	}
	l.next = max(l.next, offset+1)
	switch {
	case err != nil:
		l.counts.Corrupted++
		l.fault(Corrupted, offset, stamp, "the checksum of the record is wrong: it is not what was written")
		return Stamp{}, false
	case stamp.Run != l.options.Run || stamp.Producer >= producersMax:
		l.counts.Unexpected++
		l.fault(Unexpected, offset, stamp, "the record is not of this run")
		return Stamp{}, false
	case stamp.Flags&Aborted != 0:
		l.counts.Unexpected++
		l.fault(Unexpected, offset, stamp, "record %d of producer %d is of an aborted transaction", stamp.Sequence,
			stamp.Producer)
		return Stamp{}, false
	}
	return stamp, l.sequence(offset, stamp)
}

// sequence reports whether the record was due, or at least new.
func (l *Log) sequence(offset int64, stamp Stamp) bool {
	s := l.stream(stamp.Producer)
	switch {
	case stamp.Sequence == s.next:
		s.next++
	case stamp.Sequence > s.next:
		if len(s.missing) == missingMax {
			s.missing = slices.Delete(s.missing, 0, 1)
			l.counts.Lost++
		}
		s.missing = append(s.missing, span{s.next, stamp.Sequence, offset})
		s.next = stamp.Sequence + 1
	case s.fill(stamp.Sequence):
		l.counts.Reordered++
		l.fault(Reordered, offset, stamp, "record %d of producer %d came after its record %d", stamp.Sequence,
			stamp.Producer, s.next-1)
	default:
		l.counts.Duplicated++
		l.fault(Duplicated, offset, stamp, "record %d of producer %d is there a second time", stamp.Sequence,
			stamp.Producer)
		return false
	}
	l.counts.Arrived++
	return true
}

func (l *Log) stream(producer uint32) *stream {
	for int(producer) >= len(l.streams) {
		l.streams = append(l.streams, nil)
	}
	if l.streams[producer] == nil {
		l.streams[producer] = &stream{}
	}
	return l.streams[producer]
}

// fill takes a sequence out of those that are missing.
func (s *stream) fill(sequence uint64) bool {
	n, found := slices.BinarySearchFunc(s.missing, sequence, func(m span, sequence uint64) int {
		switch {
		case sequence < m.first:
			return 1
		case sequence >= m.end:
			return -1
		}
		return 0
	})
	if !found {
		return false
	}
	m := s.missing[n]
	var rest []span
	if m.first < sequence {
		rest = append(rest, span{m.first, sequence, m.after})
	}
	if sequence+1 < m.end {
		rest = append(rest, span{sequence + 1, m.end, m.after})
	}
	s.missing = slices.Replace(s.missing, n, n+1, rest...)
	return true
}

// Written is what one producer wrote into a partition: the sequences below Count, of which it does not know whether
// those in Unknown arrived.
type Written struct {
	Producer uint32
	Count    uint64
	Unknown  []uint64 // in order
}

// Finish compares what was seen with what was written, and counts what is lost. It is called once, at the end. whole:
// the partition was read to its end; else what is behind the last record of a producer may be there.
func (l *Log) Finish(written []Written, whole bool) {
	for _, w := range written {
		s := l.stream(w.Producer)
		missing := s.missing
		if whole && s.next < w.Count {
			missing = append(missing, span{s.next, w.Count, -1})
		}
		for _, m := range missing {
			l.lose(w, m)
		}
		if s.next > w.Count {
			l.counts.Unexpected += int64(s.next - w.Count)
			l.fault(Unexpected, l.next-1, Stamp{Producer: w.Producer, Sequence: s.next - 1},
				"producer %d wrote %d records here, and its record %d was read", w.Producer, w.Count, s.next-1)
		}
	}
}

func (l *Log) lose(w Written, m span) {
	first := m.first
	lost := int64(0)
	for _, unknown := range append(slices.Clone(w.Unknown), m.end) {
		if unknown < first {
			continue
		}
		lost += int64(min(unknown, m.end) - first)
		if first = min(unknown, m.end) + 1; first >= m.end {
			break
		}
	}
	if lost == 0 {
		return
	}
	l.counts.Lost += lost
	stamp := Stamp{Producer: w.Producer, Sequence: m.first}
	if m.after < 0 {
		l.fault(Lost, l.next-1, stamp, "%d records of producer %d, from its record %d on, were acknowledged and "+
			"are not there: the last record read has offset %d", lost, w.Producer, m.first, l.next-1)
		return
	}
	l.fault(Lost, m.after, stamp, "%d records of producer %d, from its record %d on, were acknowledged and are not "+
		"there: at offset %d comes its record %d", lost, w.Producer, m.first, m.after, m.end)
}

func (l *Log) fault(kind string, offset int64, stamp Stamp, format string, args ...any) {
	if len(l.faults) < faultsMax {
		where := fmt.Sprintf("%s, partition %d, offset %d: ", l.options.Topic, l.options.Partition, max(offset, 0))
		l.faults = append(l.faults, Fault{kind, l.options.Topic, l.options.Partition, offset, stamp.Producer,
			stamp.Sequence, where + fmt.Sprintf(format, args...)})
	}
}

// First are the first faults of several logs, in the order of partition and offset.
func First(logs []*Log) []Fault {
	var all []Fault
	for _, l := range logs {
		all = append(all, l.faults...)
	}
	slices.SortStableFunc(all, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition),
			cmp.Compare(a.Offset, b.Offset))
	})
	return all[:min(len(all), faultsMax)]
}
