package chaos

import (
	"fmt"
	"sync"
)

// TxnOutcome is what a client knows of how a transaction has ended.
type TxnOutcome uint8

// The outcomes.
const (
	TxnUnknown   TxnOutcome = iota // a commit was asked for and not answered
	TxnCommitted                   // the broker said so
	TxnAborted                     // nobody ever asked for a commit
)

// The kinds of violations, one for each promise that transactions make.
const (
	lostWrite     = "lost write"
	abortedRead   = "aborted read"
	torn          = "torn transaction"
	duplicate     = "duplicate"
	outOfOrder    = "out of order"
	twoContents   = "offset with two contents"
	wrongOffset   = "other offset than acknowledged"
	foreign       = "record that nobody wrote"
	stableBack    = "last stable offset went back"
	stableStuck   = "last stable offset is stuck"
	fencedWrote   = "fenced producer"
	groupAborted  = "group offset of no committed transaction"
	groupLost     = "group offset lost"
	deletedBeyond = "deleted more than was asked for"
)

// noGroupOffset is what a group without a committed offset has.
const noGroupOffset int64 = -1

// Txn is one transaction of the load. Its producer owns it until it has ended.
type Txn struct {
	Producer int
	Number   int64
	Outcome  TxnOutcome
	records  map[RecordID]int32 // what belongs to it, by partition
	acked    map[RecordID]place // what the broker acknowledged
	late     map[RecordID]bool  // what was written after another producer had taken over
	offset   int64              // of its producer's group, in all of txnGroupPartitions, or noGroupOffset
	fenced   bool
}

// String names the transaction.
func (t *Txn) String() string {
	return fmt.Sprintf("transaction %d of producer %d", t.Number, t.Producer)
}

// groupPlace is an offset of the group of a producer, which stands for its partition of the load's topic.
type groupPlace struct {
	Producer  int
	Partition int32
}

// txnGroupPartitions is in how many partitions, from 0 on, a transaction with offsets commits the same one.
const txnGroupPartitions = 2

// TxnHistory is what the clients of a run with transactions saw. All methods may be called from any goroutine.
type TxnHistory struct {
	mu      sync.Mutex
	txns    []*Txn
	byID    map[RecordID]*Txn
	read    map[place]RecordID     // by consumers of committed records while the run went on
	dirty   map[place]RecordID     // by consumers of all records
	stable  map[watched]int64      // the last stable offset that an observer was told last
	offsets map[int]map[int64]*Txn // by producer and the offset of its group
	groups  map[watchedGroup]int64 // the offset that an observer was told last
	deleted map[int32]int64        // up to where records were asked to be deleted
	faults  []string
	ended   [3]int // by outcome
	looks   int    // at offsets of groups
}

// watched is a partition in the eyes of one observer, whose answers come in order.
type watched struct {
	observer  string
	partition int32
}

// watchedGroup is an offset of a group in the eyes of one observer.
type watchedGroup struct {
	observer string
	groupPlace
}

// NewTxnHistory makes an empty history.
func NewTxnHistory() *TxnHistory {
	return &TxnHistory{
		byID: map[RecordID]*Txn{}, read: map[place]RecordID{}, dirty: map[place]RecordID{}, stable: map[watched]int64{},
		offsets: map[int]map[int64]*Txn{}, groups: map[watchedGroup]int64{}, deleted: map[int32]int64{},
	}
}

// Begin notes a transaction. Until it ends it counts as aborted: nothing of it may be read.
func (h *TxnHistory) Begin(producer int, number int64) *Txn {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &Txn{
		Producer: producer, Number: number, Outcome: TxnAborted, offset: noGroupOffset,
		records: map[RecordID]int32{}, acked: map[RecordID]place{}, late: map[RecordID]bool{},
	}
	h.txns = append(h.txns, t)
	return t
}

// Wrote notes that a record of t was handed to the client.
func (h *TxnHistory) Wrote(t *Txn, id RecordID, partition int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.records[id] = partition
	t.late[id] = t.fenced
	h.byID[id] = t
}

// Acked notes that the broker acknowledged a record of t.
func (h *TxnHistory) Acked(t *Txn, id RecordID, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.acked[id] = place{partition, offset}
	if t.late[id] {
		h.fault(fencedWrote, "%v: record %v was acknowledged, of %v, whose producer was replaced", t.acked[id], id, t)
	}
}

// Offset notes that t commits an offset of its producer's group, above all before.
func (h *TxnHistory) Offset(t *Txn, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.offset = offset
	if h.offsets[t.Producer] == nil {
		h.offsets[t.Producer] = map[int64]*Txn{}
	}
	h.offsets[t.Producer][offset] = t
}

// Fenced notes that another producer has the transactional id of t's: it must write and end nothing any more.
func (h *TxnHistory) Fenced(t *Txn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.fenced = true
}

// Obeyed notes that a request of t's producer succeeded that came after it was replaced.
func (h *TxnHistory) Obeyed(t *Txn, request string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault(fencedWrote, "%s was obeyed for %v, whose producer was replaced", request, t)
}

// Committing notes that t's commit is asked for: from now on it may be read.
func (h *TxnHistory) Committing(t *Txn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Outcome = TxnUnknown
}

// End notes how t has ended.
func (h *TxnHistory) End(t *Txn, committed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if committed {
		t.Outcome = TxnCommitted
	}
	h.ended[t.Outcome]++
}

// Ended is how many transactions were committed, to the knowledge of their producers.
func (h *TxnHistory) Ended() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended[TxnCommitted]
}

// Read notes that a consumer of committed records was given value at an offset.
func (h *TxnHistory) Read(partition int32, offset int64, value []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := place{partition, offset}
	if id, t := h.given(h.read, at, value); t != nil && t.Outcome == TxnAborted {
		h.fault(abortedRead, "%v: record %v, but %v was not committed", at, id, t)
	}
}

// ReadDirty notes that a consumer of all records was given value at an offset.
func (h *TxnHistory) ReadDirty(partition int32, offset int64, value []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.given(h.dirty, place{partition, offset}, value)
}

// given notes the record in value as read, and compares it with what others were given at the same place.
func (h *TxnHistory) given(read map[place]RecordID, at place, value []byte) (RecordID, *Txn) {
	id, err := ParseValue(value)
	t := h.byID[id]
	switch {
	case err != nil:
		h.fault(foreign, "%v: %v", at, err)
		return id, nil
	case t == nil:
		h.fault(foreign, "%v: record %v", at, id)
		return id, nil
	}
	for _, before := range []map[place]RecordID{h.read, h.dirty} {
		if other, again := before[at]; again && other != id {
			h.fault(twoContents, "%v was read as %v and as %v", at, other, id)
		}
	}
	read[at] = id
	return id, t
}

// Stable notes a last stable offset that an observer was told.
func (h *TxnHistory) Stable(observer string, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := watched{observer, partition}
	if offset < h.stable[at] {
		h.fault(stableBack, "that of partition %d from %d to %d, for %s", partition, h.stable[at], offset, observer)
	}
	h.stable[at] = offset
}

// StableNow is the highest last stable offset of a partition that anybody was told.
func (h *TxnHistory) StableNow(partition int32) (highest int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at, offset := range h.stable {
		if at.partition == partition {
			highest = max(highest, offset)
		}
	}
	return highest
}

// GroupFloor is the highest offset that a producer's group has committed, to the knowledge of the producer.
func (h *TxnHistory) GroupFloor(producer int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	floor := noGroupOffset
	for offset, t := range h.offsets[producer] {
		if t.Outcome == TxnCommitted {
			floor = max(floor, offset)
		}
	}
	return floor
}

// Group notes an offset of a producer's group that an observer was told. floor is what it must not be below.
func (h *TxnHistory) Group(observer string, producer int, partition int32, offset, floor int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	at := watchedGroup{observer, groupPlace{producer, partition}}
	last, known := h.groups[at]
	if !known {
		last = noGroupOffset
	}
	switch t := h.offsets[producer][offset]; {
	case offset != noGroupOffset && t == nil:
		h.fault(groupAborted, "%v has %d, which nobody committed", at.groupPlace, offset)
	case t != nil && t.Outcome == TxnAborted:
		h.fault(groupAborted, "%v has %d, but %v was not committed", at.groupPlace, offset, t)
	case offset < last:
		h.fault(groupLost, "%v went back from %d to %d, for %s", at.groupPlace, last, offset, observer)
	case offset < floor:
		h.fault(groupLost, "%v has %d, and %d was committed before", at.groupPlace, offset, floor)
	}
	h.groups[at] = offset
}

// Deleting notes that the records of a partition before an offset are asked to be deleted.
func (h *TxnHistory) Deleting(partition int32, before int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleted[partition] = max(h.deleted[partition], before)
}

func (h *TxnHistory) fault(kind, format string, args ...any) {
	h.faults = append(h.faults, kind+": "+fmt.Sprintf(format, args...))
}
