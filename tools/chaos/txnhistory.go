package chaos

import (
	"fmt"
	"slices"
	"strings"
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

// Txn is one transaction of the load. Its producer owns it until it has ended.
type Txn struct {
	Producer int
	Number   int64
	Outcome  TxnOutcome
	records  map[RecordID]int32 // what belongs to it, by partition
	acked    map[RecordID]place // what the broker acknowledged
}

// String names the transaction.
func (t *Txn) String() string {
	return fmt.Sprintf("transaction %d of producer %d", t.Number, t.Producer)
}

// TxnHistory is what the clients of a run with transactions saw. All methods may be called from any goroutine.
type TxnHistory struct {
	mu     sync.Mutex
	txns   []*Txn
	byID   map[RecordID]*Txn
	read   map[place]RecordID // by consumers of committed records while the run went on
	stable map[int32]int64    // the last stable offset of each partition that was seen last
	faults []string
	ended  [3]int // by outcome
}

// NewTxnHistory makes an empty history.
func NewTxnHistory() *TxnHistory {
	return &TxnHistory{byID: map[RecordID]*Txn{}, read: map[place]RecordID{}, stable: map[int32]int64{}}
}

// Begin notes a transaction. Until it ends it counts as aborted: nothing of it may be read.
func (h *TxnHistory) Begin(producer int, number int64) *Txn {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &Txn{
		Producer: producer, Number: number, Outcome: TxnAborted,
		records: map[RecordID]int32{}, acked: map[RecordID]place{},
	}
	h.txns = append(h.txns, t)
	return t
}

// Wrote notes that a record of t was handed to the client.
func (h *TxnHistory) Wrote(t *Txn, id RecordID, partition int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.records[id] = partition
	h.byID[id] = t
}

// Acked notes that the broker acknowledged a record of t.
func (h *TxnHistory) Acked(t *Txn, id RecordID, partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t.acked[id] = place{partition, offset}
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
	id, err := ParseValue(value)
	h.mu.Lock()
	defer h.mu.Unlock()
	at := place{partition, offset}
	t := h.byID[id]
	switch other, again := h.read[at]; {
	case err != nil:
		h.fault("%v: %v", at, err)
		return
	case t == nil:
		h.fault("%v: record %v, which nobody wrote", at, id)
	case t.Outcome == TxnAborted:
		h.fault("%v: record %v of an aborted read: %v was not committed", at, id, t)
	case again && other != id:
		h.fault("%v was read as %v and as %v", at, other, id)
	}
	h.read[at] = id
}

// Stable notes a last stable offset that a client was told.
func (h *TxnHistory) Stable(partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if offset < h.stable[partition] {
		h.fault("the last stable offset of partition %d went back from %d to %d",
			partition, h.stable[partition], offset)
	}
	h.stable[partition] = offset
}

func (h *TxnHistory) fault(format string, args ...any) {
	h.faults = append(h.faults, fmt.Sprintf(format, args...))
}

// TxnSummary counts what a run saw.
type TxnSummary struct {
	Committed, Aborted, Unknown int // transactions
	ReadLive, Final             int // records
	Violations                  []string
}

// String gives the counts in one line, and each violation in a line of its own.
func (s TxnSummary) String() string {
	text := fmt.Sprintf("committed=%d aborted=%d unknown=%d read_while_running=%d in_final_log=%d violations=%d",
		s.Committed, s.Aborted, s.Unknown, s.ReadLive, s.Final, len(s.Violations))
	return strings.Join(append([]string{text}, s.Violations...), "\n")
}

// Check compares the committed records of all partitions, read from their start when all transactions have ended, with
// what clients saw on the way.
func (h *TxnHistory) Check(final []Entry) TxnSummary {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := txnCheck{TxnHistory: h, log: map[place]RecordID{}, seen: map[RecordID]place{}, found: slices.Clone(h.faults)}
	slices.SortFunc(final, func(a, b Entry) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	c.lookAt(final)
	for _, t := range h.txns {
		c.whole(t)
	}
	for at, id := range h.read {
		if now, there := c.log[at]; !there {
			c.add("record %v was read at %v and is lost", id, at)
		} else if now != id {
			c.add("record %v was read at %v, which is now %v", id, at, now)
		}
	}
	slices.Sort(c.found)
	if extra := len(c.found) - violationsMax; extra > 0 {
		c.found = append(c.found[:violationsMax:violationsMax], fmt.Sprintf("… and %d more", extra))
	}
	return TxnSummary{
		Committed: h.ended[TxnCommitted], Aborted: h.ended[TxnAborted], Unknown: h.ended[TxnUnknown],
		ReadLive: len(h.read), Final: len(final), Violations: c.found,
	}
}

// txnCheck is the state of a Check.
type txnCheck struct {
	*TxnHistory
	log   map[place]RecordID
	seen  map[RecordID]place
	found []string
}

func (c *txnCheck) add(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// lookAt goes through the final log: every record stands in it once, and those of a producer in order.
func (c *txnCheck) lookAt(final []Entry) {
	type stream struct {
		partition int32
		producer  int
	}
	last := map[stream]int64{}
	for _, e := range final {
		at := place{e.Partition, e.Offset}
		id, err := ParseValue(e.Value)
		t := c.byID[id]
		switch before, twice := c.seen[id]; {
		case err != nil:
			c.add("final log, %v: %v", at, err)
			continue
		case t == nil:
			c.add("final log, %v: record %v, which nobody wrote", at, id)
			continue
		case twice:
			c.add("record %v stands at %v and at %v", id, before, at)
		case t.Outcome == TxnAborted:
			c.add("final log, %v: record %v of an aborted read: %v was not committed", at, id, t)
		}
		key := stream{e.Partition, id.Producer}
		if previous, any := last[key]; any && id.Seq <= previous {
			c.add("partition %d has record %d of producer %d after %d", e.Partition, id.Seq, id.Producer, previous)
		}
		last[key] = id.Seq
		c.log[at], c.seen[id] = id, at
	}
}

// whole tells whether all of t is in the log, or nothing.
func (c *txnCheck) whole(t *Txn) {
	there := 0
	for id, partition := range t.records {
		at, is := c.seen[id]
		if is {
			there++
		}
		acked, isAcked := t.acked[id]
		switch {
		case t.Outcome == TxnCommitted && !is:
			c.add("%v is committed, and its record %v of partition %d is lost", t, id, partition)
		case is && isAcked && acked != at:
			c.add("record %v was acknowledged at %v and stands at %v", id, acked, at)
		}
	}
	if t.Outcome == TxnUnknown && there != 0 && there != len(t.records) {
		c.add("%v is torn: %d of its %d records can be read", t, there, len(t.records))
	}
}
