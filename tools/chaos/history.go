// Package chaos runs the real broker under load, makes it fail for real (kill -9, power cuts on a loop device) and
// checks what every client saw: nothing acknowledged is lost, no offset is read with two contents, no record of an
// idempotent producer appears twice or out of order, no commit of a group is lost or moved back, no partition of a
// group has two owners, no transaction is read in part or though it was aborted, and none stays open. It owns the
// processes and mounts that it makes.
package chaos

import (
	"fmt"
	"hash/fnv"
	"sort"
	"strings"
	"sync"
)

// RecordID names one record of the load: the Seq-th of a producer, counted from 0.
type RecordID struct {
	Producer int
	Seq      int64
}

// Value makes the record's content, which depends on nothing but its id, so that any reader can check it whole.
func (id RecordID) Value() []byte {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d/%d", id.Producer, id.Seq)
	seed := h.Sum64()
	value := fmt.Appendf(nil, "%d %d ", id.Producer, id.Seq)
	for n := int(seed % 900); n > 0; n-- {
		seed = seed*6364136223846793005 + 1442695040888963407
		value = append(value, byte(seed>>56))
	}
	return value
}

// ParseValue finds the id in a record's value and checks every byte of the content.
func ParseValue(value []byte) (RecordID, error) {
	var id RecordID
	if _, err := fmt.Sscanf(string(value), "%d %d ", &id.Producer, &id.Seq); err != nil {
		return id, fmt.Errorf("a value without an id: %.40q", value)
	}
	if string(id.Value()) != string(value) {
		return id, fmt.Errorf("record %v has damaged content", id)
	}
	return id, nil
}

// place is one offset of one partition of the load's topic.
type place struct {
	Partition int32
	Offset    int64
}

// History is what the clients of one run saw. All methods may be called from any goroutine.
type History struct {
	mu      sync.Mutex
	acked   map[place]RecordID // what a producer was told
	read    map[place]RecordID // what a consumer was given while the run went on
	faults  []string           // violations seen at once
	rereads int
}

// NewHistory makes an empty history.
func NewHistory() *History {
	return &History{acked: map[place]RecordID{}, read: map[place]RecordID{}}
}

// Acked notes that the broker acknowledged id at an offset.
func (h *History) Acked(partition int32, offset int64, id RecordID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := place{partition, offset}
	if other, taken := h.acked[at]; taken && other != id {
		h.faults = append(
			h.faults,
			fmt.Sprintf("partition %d offset %d was acknowledged to %v and to %v", partition, offset, other, id),
		)
	}
	h.acked[at] = id
}

// Read notes that a consumer was given value at an offset.
func (h *History) Read(partition int32, offset int64, value []byte) {
	id, err := ParseValue(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.faults = append(h.faults, fmt.Sprintf("partition %d offset %d: %v", partition, offset, err))
		return
	}
	at := place{partition, offset}
	if other, again := h.read[at]; again {
		h.rereads++
		if other != id {
			h.faults = append(
				h.faults,
				fmt.Sprintf("partition %d offset %d was read as %v and as %v", partition, offset, other, id),
			)
		}
	}
	h.read[at] = id
}

// Entry is one record of the final log.
type Entry struct {
	Partition int32
	Offset    int64
	Value     []byte
}

// Summary counts what a run saw.
type Summary struct {
	Acked, ReadLive, Rereads, Final, Unacked int
	Violations                               []string
}

// String gives the counts in one line, and each violation in a line of its own.
func (s Summary) String() string {
	text := fmt.Sprintf(
		"acknowledged=%d read_while_running=%d read_again=%d in_final_log=%d unacknowledged_but_kept=%d violations=%d",
		s.Acked,
		s.ReadLive,
		s.Rereads,
		s.Final,
		s.Unacked,
		len(s.Violations),
	)
	return strings.Join(append([]string{text}, s.Violations...), "\n")
}

// violationsMax bounds the report: the first few tell the story.
const violationsMax = 20

// Check compares the final content of all partitions, read from their start, with what clients saw on the way.
func (h *History) Check(final []Entry) Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Summary{Acked: len(h.acked), ReadLive: len(h.read), Rereads: h.rereads, Final: len(final)}
	violations := append([]string(nil), h.faults...)
	add := func(format string, args ...any) { violations = append(violations, fmt.Sprintf(format, args...)) }

	sort.Slice(final, func(i, j int) bool {
		a, b := final[i], final[j]
		return a.Partition < b.Partition || a.Partition == b.Partition && a.Offset < b.Offset
	})
	log := make(map[place]RecordID, len(final))
	seen := make(map[RecordID]place, len(final))
	type stream struct {
		partition int32
		producer  int
	}
	last := map[stream]int64{}
	for _, e := range final {
		at := place{e.Partition, e.Offset}
		id, err := ParseValue(e.Value)
		if err != nil {
			add("final log, partition %d offset %d: %v", e.Partition, e.Offset, err)
			continue
		}
		if _, twice := log[at]; twice {
			add("final log: partition %d gave offset %d twice", e.Partition, e.Offset)
		}
		log[at] = id
		if before, twice := seen[id]; twice {
			add("final log: record %v stands at %v and at %v", id, before, at)
		}
		seen[id] = at
		key := stream{e.Partition, id.Producer}
		if previous, any := last[key]; any && id.Seq <= previous {
			add(
				"final log: partition %d has record %d of producer %d after %d",
				e.Partition,
				id.Seq,
				id.Producer,
				previous,
			)
		}
		last[key] = id.Seq
		if _, acked := h.acked[at]; !acked {
			s.Unacked++
		}
	}
	compare := func(what string, noted map[place]RecordID) {
		for at, id := range noted {
			if found, there := log[at]; !there {
				add("%s record %v of partition %d offset %d is lost", what, id, at.Partition, at.Offset)
			} else if found != id {
				add("%s record %v of partition %d offset %d is now %v", what, id, at.Partition, at.Offset, found)
			}
		}
	}
	compare("acknowledged", h.acked)
	compare("read", h.read)
	sort.Strings(violations)
	if extra := len(violations) - violationsMax; extra > 0 {
		violations = append(violations[:violationsMax:violationsMax], fmt.Sprintf("… and %d more", extra))
	}
	s.Violations = violations
	return s
}
