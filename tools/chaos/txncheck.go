package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// TxnFinal is what is found when all transactions have ended, or have had all the time to do so.
type TxnFinal struct {
	Committed, All []Entry // by readers of either kind, from the start of each partition to its end
	// Start and Stable are the log start offsets and the last stable offsets, End the high watermarks, by partition.
	Start, Stable, End map[int32]int64
	Groups             map[groupPlace]int64
	Open               []string // transactions that are open yet, in the words of who says so
	Retention          bool     // may have deleted anything
	Compaction         bool     // may have removed what is not committed; each record has a key of its own
}

// isOpen tells whether a transaction is open yet.
func (f *TxnFinal) isOpen() bool { return len(f.Open) > 0 || !maps.Equal(f.Stable, f.End) }

// TxnSummary counts what a run saw.
type TxnSummary struct {
	Committed, Aborted, Unknown, Fenced int    // transactions
	ReadLive, ReadDirty, ReadAborted    int    // records, records of any outcome, and those of them that are aborted
	Looks                               int    // at offsets of groups, on the way as the records before
	Final, FinalAll, Groups             int    // records and offsets in the end
	Clients                             [2]int // that were made: of the older version of transactions, and of the newer
	Zombies, Deletions                  int    // replaced producers that tried to go on, deletions that were obeyed
	Violations                          []string
}

// String gives the counts in one line, and each violation in a line of its own.
func (s TxnSummary) String() string {
	text := fmt.Sprintf("committed=%d aborted=%d unknown=%d fenced=%d "+
		"read_while_running=%d uncommitted=%d, aborted=%d group_offsets=%d "+
		"in_final_log=%d of %d final_group_offsets=%d violations=%d", s.Committed, s.Aborted, s.Unknown, s.Fenced,
		s.ReadLive, s.ReadDirty, s.ReadAborted, s.Looks, s.Final, s.FinalAll, s.Groups, len(s.Violations))
	return strings.Join(append([]string{text}, s.Violations...), "\n")
}

// Check compares what is there in the end with what clients saw on the way.
func (h *TxnHistory) Check(final *TxnFinal) TxnSummary {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := txnCheck{TxnHistory: h, final: final, found: slices.Clone(h.faults)}
	c.all = c.walk("the whole log", final.All, func(place, RecordID, *Txn) {})
	c.committed = c.walk("the committed log", final.Committed, func(at place, id RecordID, t *Txn) {
		if t.Outcome == TxnAborted {
			c.add(abortedRead, "in the end, %v: record %v, but %v was not committed", at, id, t)
		}
		// What was read first of what is committed may be gone when the rest is read.
		if other, there := c.all.at[at]; there && other != id || !there && !c.isDeleted(at) {
			c.add(twoContents, "%v is %v for who reads what is committed, and else %v", at, id, other)
		}
	})
	c.kept(h.read, &c.committed, func(*Txn) bool { return false })
	c.kept(h.dirty, &c.all, c.mayBeCompacted)
	aborted, fenced := 0, 0
	for _, id := range h.dirty {
		if c.byID[id].Outcome == TxnAborted {
			aborted++
		}
	}
	for _, t := range h.txns {
		c.whole(t)
		if t.fenced {
			fenced++
		}
	}
	c.groupsAtEnd()
	c.closed()
	slices.Sort(c.found)
	if extra := len(c.found) - violationsMax; extra > 0 {
		c.found = append(c.found[:violationsMax:violationsMax], fmt.Sprintf("… and %d more", extra))
	}
	return TxnSummary{
		Committed: h.ended[TxnCommitted], Aborted: h.ended[TxnAborted], Unknown: h.ended[TxnUnknown], Fenced: fenced,
		ReadLive: len(h.read), ReadDirty: len(h.dirty), ReadAborted: aborted, Looks: h.looks,
		Final: len(final.Committed), FinalAll: len(final.All), Groups: len(final.Groups), Violations: c.found,
	}
}

// CheckClosed tells what is open that should not be, and what clients have complained of on the way.
func (h *TxnHistory) CheckClosed(final *TxnFinal) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := txnCheck{TxnHistory: h, final: final, found: slices.Clone(h.faults)}
	c.closed()
	return c.found
}

// txnCheck is the state of a Check.
type txnCheck struct {
	*TxnHistory
	final          *TxnFinal
	all, committed txnLog
	found          []string
}

// txnLog is what a reader found in the end.
type txnLog struct {
	at   map[place]RecordID
	seen map[RecordID]place
}

func (c *txnCheck) add(kind, format string, args ...any) {
	c.found = append(c.found, kind+": "+fmt.Sprintf(format, args...))
}

// isDeleted tells whether a place may have been deleted.
func (c *txnCheck) isDeleted(at place) bool { return at.Offset < c.final.Start[at.Partition] }

// walk goes through a log: every record stands in it once, where it was acknowledged, and those of a producer in order.
func (c *txnCheck) walk(name string, entries []Entry, visit func(place, RecordID, *Txn)) txnLog {
	type stream struct {
		partition int32
		producer  int
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	log, last := txnLog{map[place]RecordID{}, map[RecordID]place{}}, map[stream]int64{}
	for _, e := range entries {
		at := place{e.Partition, e.Offset}
		id, err := ParseValue(e.Value)
		t := c.byID[id]
		if err != nil || t == nil {
			c.add(foreign, "%s, %v: record %v, %v", name, at, id, err)
			continue
		}
		if before, twice := log.seen[id]; twice {
			c.add(duplicate, "%s: record %v stands at %v and at %v", name, id, before, at)
		} else if acked, is := t.acked[id]; is && acked != at {
			c.add(wrongOffset, "%s: record %v was acknowledged at %v and stands at %v", name, id, acked, at)
		}
		key := stream{e.Partition, id.Producer}
		if previous, any := last[key]; any && id.Seq < previous {
			c.add(outOfOrder, "%s: partition %d has record %d of producer %d after %d",
				name, e.Partition, id.Seq, id.Producer, previous)
		}
		last[key] = id.Seq
		log.at[at], log.seen[id] = id, at
		visit(at, id, t)
	}
	return log
}

// kept tells whether what was read on the way is there in the end, or may be gone.
func (c *txnCheck) kept(read map[place]RecordID, log *txnLog, mayGo func(*Txn) bool) {
	for at, id := range read {
		if now, there := log.at[at]; there && now != id {
			c.add(twoContents, "record %v was read at %v, which is now %v", id, at, now)
		} else if !there && !c.isDeleted(at) && !mayGo(c.byID[id]) {
			c.add(lostWrite, "record %v was read at %v and is not there", id, at)
		}
	}
}

// whole tells whether all of t is in the log, or nothing, as far as it was not deleted.
func (c *txnCheck) whole(t *Txn) {
	for id, partition := range t.records {
		acked, isAcked := t.acked[id]
		_, is := c.committed.seen[id]
		_, exists := c.all.seen[id]
		switch {
		case c.mayBeDeleted(t, id, partition):
		case t.Outcome == TxnCommitted && !is:
			c.add(lostWrite, "%v is committed, and its record %v of partition %d is not there", t, id, partition)
		case isAcked && !exists && !c.mayBeCompacted(t):
			c.add(lostWrite, "record %v of %v was acknowledged at %v and is not there", id, t, acked)
		}
	}
	if there, missing := c.presence(t); t.Outcome == TxnUnknown && there > 0 && missing > 0 {
		c.add(torn, "%d records of %v can be read, and %d not", there, t, missing)
	}
}

// mayBeCompacted tells whether t's records may go because they are aborted.
func (c *txnCheck) mayBeCompacted(t *Txn) bool {
	return c.final.Compaction && t.Outcome != TxnCommitted
}

// mayBeDeleted tells whether a record of t stood where records were deleted.
func (c *txnCheck) mayBeDeleted(t *Txn, id RecordID, partition int32) bool {
	if at, known := t.acked[id]; known {
		return c.isDeleted(at)
	}
	return c.final.Start[partition] > 0
}

// presence counts the records of t that can be read as committed, and those that can not though nobody deleted them.
func (c *txnCheck) presence(t *Txn) (there, missing int) {
	for id, partition := range t.records {
		if _, is := c.committed.seen[id]; is {
			there++
		} else if !c.mayBeDeleted(t, id, partition) {
			missing++
		}
	}
	return there, missing
}

// groupsAtEnd tells whether each group has the offset of the last transaction of its producer that is committed.
// Whether one of unknown outcome is, its records say.
func (c *txnCheck) groupsAtEnd() {
	for at, got := range c.final.Groups {
		var allowed []int64
		decided := false
		for _, offset := range slices.Backward(slices.Sorted(maps.Keys(c.offsets[at.Producer]))) {
			t := c.offsets[at.Producer][offset]
			there, missing := c.presence(t)
			decided = t.Outcome == TxnCommitted || t.Outcome == TxnUnknown && there > 0
			if decided || t.Outcome == TxnUnknown && missing == 0 {
				allowed = append(allowed, offset)
			}
			if decided {
				break
			}
		}
		if !decided {
			allowed = append(allowed, noGroupOffset)
		}
		switch t := c.offsets[at.Producer][got]; {
		case slices.Contains(allowed, got):
		case got > allowed[0], t != nil && t.Outcome == TxnAborted:
			c.add(groupAborted, "in the end %v has %d, want one of %d", at, got, allowed)
		default:
			c.add(groupLost, "in the end %v has %d, want one of %d", at, got, allowed)
		}
		if first := c.final.Groups[groupPlace{at.Producer, 0}]; got != first {
			c.add(torn, "in the end the group of producer %d has %d and %d", at.Producer, first, got)
		}
	}
}

// closed tells whether nothing is left open, and no more is deleted than was to be.
func (c *txnCheck) closed() {
	for p, end := range c.final.End {
		if stable := c.final.Stable[p]; stable != end {
			c.add(stableStuck, "partition %d: at %d of %d", p, stable, end)
		}
		if start := c.final.Start[p]; !c.final.Retention && start > c.deleted[p] {
			c.add(deletedBeyond, "partition %d begins at %d, %d was asked for", p, start, c.deleted[p])
		}
	}
	for _, open := range c.final.Open {
		c.add(stableStuck, "open in the end: %s", open)
	}
}
