package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// GroupHistory is what the members of one consumer group, and those who asked the broker about it, saw of one topic.
// Times are those of the machine that all run on. All methods may be called from any goroutine.
type GroupHistory struct {
	mu        sync.Mutex
	owned     map[int32][]*ownership // in the order in which they were told
	holding   map[holder]*ownership
	ends      map[int32]int64 // after the last record that anybody read
	read      map[place]string
	commits   map[int32][]commit
	asked     map[int32][]answer
	disturbed []span
	gathering []span
	beat      time.Time // the last Beat
	forgetful map[string]bool
	faults    []string
	records   int
	rereads   int
	stray     int
	snapshots int
}

// ownership is the time from a partition's assignment to a member until it was revoked, or the member died.
type ownership struct {
	member      string
	generation  int // -1: the client does not tell
	from, to    time.Time
	first, next int64 // of the records read; -1 before the first
}

type holder struct {
	member    string
	partition int32
}

type commit struct {
	at     time.Time // when the member knew that it was acknowledged
	offset int64
}

type answer struct {
	asked, answered time.Time
	offset          int64
}

type span struct{ from, to time.Time }

// NewGroupHistory makes an empty history.
func NewGroupHistory() *GroupHistory {
	return &GroupHistory{owned: map[int32][]*ownership{}, holding: map[holder]*ownership{}, ends: map[int32]int64{},
		read: map[place]string{}, forgetful: map[string]bool{},
		commits: map[int32][]commit{}, asked: map[int32][]answer{}}
}

func (h *GroupHistory) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// Assigned notes that a member was told to own further partitions. The generation is that of the classic protocol, or
// -1 where the client does not say it.
func (h *GroupHistory) Assigned(at time.Time, member string, generation int, partitions []int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range partitions {
		key := holder{member, p}
		if h.holding[key] != nil {
			continue // said again
		}
		o := &ownership{member: member, generation: generation, from: at, first: -1, next: -1}
		h.holding[key] = o
		h.owned[p] = append(h.owned[p], o)
	}
}

// Revoked notes that a member gave up partitions.
func (h *GroupHistory) Revoked(at time.Time, member string, partitions []int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range partitions {
		if o := h.holding[holder{member, p}]; o != nil {
			o.to = at
			delete(h.holding, holder{member, p})
		}
	}
}

// Ended notes that a member is gone, having left or died.
func (h *GroupHistory) Ended(at time.Time, member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, o := range h.holding {
		if key.member == member {
			o.to = at
			delete(h.holding, key)
		}
	}
}

// Disturbed notes a time in which members may be thrown out without knowing it, so that two may believe to own a
// partition: from a kill of the broker until the sessions of that time are over.
func (h *GroupHistory) Disturbed(from, to time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disturbed = append(h.disturbed, span{from, to})
}

// Gathering notes a time in which many members of the consumer protocol join at once. One that is slow to take its part
// over is told of the next before, and says then what it has of the first: the broker takes the rest for given back, as
// Apache Kafka does, and the member believes for a moment to own what another one has.
func (h *GroupHistory) Gathering(from, to time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gathering = append(h.gathering, span{from, to})
}

// Beat notes that whoever asks the broker all the time has come round once more. One that is late says that the
// machine, the clients or the broker stood still, and heartbeats with them: members may be thrown out as after a kill.
func (h *GroupHistory) Beat(at time.Time, session time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.beat.IsZero() && at.Sub(h.beat) > session/3 {
		h.disturbed = append(h.disturbed, span{h.beat, at.Add(2 * session)})
	}
	h.beat = at
}

// Forgetful names a member whose library takes it for "nothing is committed" when a coordinator that is still loading
// refuses to tell, and starts over. What it does so after a disturbance is not held against the broker.
func (h *GroupHistory) Forgetful(member string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgetful[member] = true
}

// Record notes that a member was given a record.
func (h *GroupHistory) Record(member string, partition int32, offset int64, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.records++
	at := place{partition, offset}
	if before, again := h.read[at]; again {
		h.rereads++
		if before != value {
			h.fault("partition %d offset %d was read as %.40q and as %.40q", partition, offset, before, value)
		}
	}
	h.read[at] = value
	h.ends[partition] = max(h.ends[partition], offset+1)
	o := h.holding[holder{member, partition}]
	if o == nil {
		h.stray++ // a batch in hand when the partition was revoked
		return
	}
	if o.first < 0 {
		o.first = offset
	} else if offset > o.next {
		h.fault("%s read offset %d of partition %d after %d", member, offset, partition, o.next-1)
	}
	o.next = offset + 1
}

// Committed notes that a member's commit was acknowledged.
func (h *GroupHistory) Committed(at time.Time, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits[partition] = append(h.commits[partition], commit{at, offset})
}

// Fetched notes the committed offset that the broker gave to a question; -1 is none.
func (h *GroupHistory) Fetched(asked, answered time.Time, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked[partition] = append(h.asked[partition], answer{asked, answered, offset})
}

// Snapshot notes the assignments that the broker gave to one question: member → partitions.
func (h *GroupHistory) Snapshot(members map[string][]int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots++
	owner := map[int32]string{}
	for member, partitions := range members {
		for _, p := range partitions {
			if other, taken := owner[p]; taken {
				h.fault("the broker says that partition %d belongs to %s and to %s", p, other, member)
			}
			owner[p] = member
		}
	}
}

// Owners says how many of the partitions have an owner that still lives, and how many members own any.
func (h *GroupHistory) Owners() (partitions, members int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	owned, owners := map[int32]bool{}, map[string]bool{}
	for key := range h.holding {
		owned[key.partition], owners[key.member] = true, true
	}
	return len(owned), len(owners)
}

// Shares are the numbers of partitions that the members own, of those who own any.
func (h *GroupHistory) Shares() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	shares := map[string]int{}
	for key := range h.holding {
		shares[key.member]++
	}
	return shares
}

// Distinct is the number of different records that the members have read.
func (h *GroupHistory) Distinct() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.read)
}

// Acknowledged is the number of acknowledged commits.
func (h *GroupHistory) Acknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.commits {
		n += len(c)
	}
	return n
}

// GroupSummary counts what a group did.
type GroupSummary struct {
	Records, Distinct, Rereads, Stray, Commits, Fetches, Ownerships, Snapshots int
	Violations                                                                 []string
}

// String gives the counts in one line, and each violation in a line of its own.
func (s GroupSummary) String() string {
	text := fmt.Sprintf("records=%d distinct=%d read_again=%d after_revocation=%d commits=%d offset_fetches=%d "+
		"ownerships=%d descriptions=%d violations=%d", s.Records, s.Distinct, s.Rereads, s.Stray, s.Commits, s.Fetches,
		s.Ownerships, s.Snapshots, len(s.Violations))
	for _, v := range s.Violations {
		text += "\n" + v
	}
	return text
}

// Check compares what was seen with what must hold; ends are the partitions' end offsets, up to which all must have
// been read, each with the content that want gives, where that is not nil.
func (h *GroupHistory) Check(ends map[int32]int64, want func(partition int32, offset int64) string) GroupSummary {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := GroupSummary{Records: h.records, Distinct: len(h.read), Rereads: h.rereads, Stray: h.stray,
		Snapshots: h.snapshots}
	for p, end := range ends {
		for offset := range end {
			value, seen := h.read[place{p, offset}]
			if !seen {
				h.fault("offset %d of partition %d, which ends at %d, was read by nobody", offset, p, end)
				break
			}
			if want != nil && want(p, offset) != value {
				h.fault("offset %d of partition %d was read as %.40q, not %.40q", offset, p, value, want(p, offset))
			}
		}
		s.Commits += len(h.commits[p])
		s.Fetches += len(h.asked[p])
		s.Ownerships += len(h.owned[p])
		h.checkOwners(p)
		if !slices.ContainsFunc(h.owned[p], h.hasForgotten) { // else it has committed from the start on, too
			h.checkStarts(p)
			h.checkFetches(p)
		}
	}
	slices.Sort(h.faults)
	s.Violations = slices.Clone(h.faults[:min(len(h.faults), violationsMax)])
	return s
}

// checkOwners finds two members that own a partition at one time, or in one generation.
func (h *GroupHistory) checkOwners(p int32) {
	owned := slices.Clone(h.owned[p])
	slices.SortStableFunc(owned, func(a, b *ownership) int { return a.from.Compare(b.from) })
	for i, a := range owned {
		for _, b := range owned[i+1:] {
			if a.member == b.member || within(h.gathering, b.from) {
				continue
			}
			if a.generation >= 0 && a.generation == b.generation {
				h.fault("partition %d has two owners in generation %d: %s and %s", p, a.generation, a.member, b.member)
			}
			if (a.to.IsZero() || b.from.Before(a.to)) && !within(h.disturbed, b.from) {
				h.fault("partition %d belongs to %s since %v and to %s since %v",
					p, a.member, clockOf(a.from), b.member, clockOf(b.from))
			}
		}
	}
}

func clockOf(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func within(spans []span, at time.Time) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return !at.Before(s.from) && at.Before(s.to) })
}

// committedBefore is the highest offset whose commit was acknowledged before a moment.
func (h *GroupHistory) committedBefore(p int32, at time.Time) int64 {
	offset := int64(-1)
	for _, c := range h.commits[p] {
		if c.at.Before(at) {
			offset = max(offset, c.offset)
		}
	}
	return offset
}

// hasForgotten says whether a forgetful member started over around a disturbance.
func (h *GroupHistory) hasForgotten(o *ownership) bool {
	return h.forgetful[o.member] && o.first == 0 && slices.ContainsFunc(h.disturbed, func(s span) bool {
		return o.from.Before(s.to) && (o.to.IsZero() || s.from.Before(o.to))
	})
}

// checkStarts finds owners that began before what had been committed: the committed offset was lost or moved back.
func (h *GroupHistory) checkStarts(p int32) {
	for _, o := range h.owned[p] {
		if committed := h.committedBefore(p, o.from); o.first >= 0 && o.first < committed {
			h.fault("%s began partition %d at offset %d at %v, though %d had been committed",
				o.member, p, o.first, clockOf(o.from), committed)
		}
	}
}

// checkFetches finds answers that are behind what was acknowledged, or behind earlier answers.
func (h *GroupHistory) checkFetches(p int32) {
	answers := slices.Clone(h.asked[p])
	slices.SortStableFunc(answers, func(a, b answer) int { return a.asked.Compare(b.asked) })
	for i, a := range answers {
		if committed := h.committedBefore(p, a.asked); a.offset < committed {
			h.fault("the broker gave %d as committed of partition %d at %v, though %d had been acknowledged",
				a.offset, p, clockOf(a.answered), committed)
		}
		for _, before := range answers[:i] {
			if before.answered.Before(a.asked) && before.offset > a.offset {
				h.fault("the committed offset of partition %d went from %d back to %d at %v",
					p, before.offset, a.offset, clockOf(a.answered))
				break
			}
		}
	}
}
