package chaos

import (
	"slices"
	"strings"
	"testing"
)

// txnExample is transactions 0 to 4 of producer 1 with records 2n and 2n+1 in partitions 0 and 1, at offset 2n each,
// and offset n of its group: committed, aborted, committed, of unknown outcome and kept, of unknown outcome and not
// kept.
type txnExample struct {
	*TxnHistory
	*TxnFinal
	txns []*Txn
}

func newTxnExample() *txnExample {
	x := &txnExample{TxnHistory: NewTxnHistory(), TxnFinal: &TxnFinal{Groups: map[groupPlace]int64{}}}
	outcomes := []TxnOutcome{TxnCommitted, TxnAborted, TxnCommitted, TxnUnknown, TxnUnknown}
	for n, outcome := range outcomes {
		txn := x.Begin(1, int64(n))
		x.txns = append(x.txns, txn)
		for p := range int32(2) {
			id := RecordID{1, int64(2*n) + int64(p)}
			x.Wrote(txn, id, p)
			x.Acked(txn, id, p, int64(2*n))
		}
		x.Offset(txn, int64(n))
		if outcome != TxnAborted {
			x.Committing(txn)
		}
		x.TxnHistory.End(txn, outcome == TxnCommitted)
		for p := range int32(2) {
			e := Entry{p, int64(2 * n), RecordID{1, int64(2*n) + int64(p)}.Value()}
			x.All = append(x.All, e)
			x.ReadDirty(p, e.Offset, e.Value)
			if n != 1 && n != 4 {
				x.Committed = append(x.Committed, e)
				x.Read(p, e.Offset, e.Value)
				x.Group("x", 1, p, int64(n), noGroupOffset)
			}
		}
	}
	x.Start = map[int32]int64{0: 0, 1: 0}
	x.TxnFinal.Stable, x.TxnFinal.End = map[int32]int64{0: 10, 1: 10}, map[int32]int64{0: 10, 1: 10}
	x.TxnFinal.Groups[groupPlace{1, 0}], x.TxnFinal.Groups[groupPlace{1, 1}] = 3, 3
	x.TxnHistory.Stable("x", 0, 3)
	x.TxnHistory.Stable("x", 0, 7)
	x.TxnHistory.Stable("another, whose answer is late", 0, 3)
	return x
}

// without drops an entry from both logs, and from what was read on the way if that is wanted.
func (x *txnExample) without(partition int32, offset int64, unread bool) {
	is := func(e Entry) bool { return e.Partition == partition && e.Offset == offset }
	x.All, x.Committed = slices.DeleteFunc(x.All, is), slices.DeleteFunc(x.Committed, is)
	if unread {
		delete(x.read, place{partition, offset})
		delete(x.dirty, place{partition, offset})
	}
}

// The checker of transactions is itself checked: a clean history passes, and each kind of planted damage is found, as
// what it is.
func TestTxnCheckFindsEachPlantedFault(t *testing.T) {
	cases := []struct {
		name  string
		plant func(x *txnExample)
		kind  string // "" wants a clean answer
	}{
		{"a clean history", func(*txnExample) {}, ""},
		{"records that were deleted on request", func(x *txnExample) {
			x.Deleting(0, 9)
			x.Start[0] = 9
			x.without(0, 0, false)
			x.without(0, 4, false)
			x.without(0, 6, false)
		}, ""},
		{"records that retention deletes between the two readers of the end", func(x *txnExample) {
			x.Retention = true
			x.Start[0] = 2
			x.All = x.All[1:]
		}, ""},
		{"a lost write", func(x *txnExample) { x.without(0, 0, true) }, lostWrite},
		{"a lost write that was read", func(x *txnExample) { x.without(0, 0, false) }, lostWrite},
		{"a lost write of an aborted transaction", func(x *txnExample) { x.without(0, 2, true) }, lostWrite},
		{"aborted records that compaction has removed", func(x *txnExample) {
			x.Compaction = true
			x.without(0, 2, false)
		}, ""},
		{"committed records that compaction has removed", func(x *txnExample) {
			x.Compaction = true
			x.without(0, 0, false)
		}, lostWrite},
		{"a lost write that only readers of everything miss", func(x *txnExample) { x.All = x.All[1:] }, twoContents},
		{"a lost write that only readers of what is committed miss", func(x *txnExample) {
			x.Committed = x.Committed[1:]
		}, lostWrite},
		{"an aborted read", func(x *txnExample) {
			x.Committed = append(x.Committed, Entry{0, 2, RecordID{1, 2}.Value()})
		}, abortedRead},
		{"an aborted read on the way", func(x *txnExample) { x.Read(0, 2, RecordID{1, 2}.Value()) }, abortedRead},
		{"a read before the commit", func(x *txnExample) {
			txn := x.Begin(1, 9)
			x.Wrote(txn, RecordID{1, 90}, 0)
			x.Read(0, 90, RecordID{1, 90}.Value())
			x.Committing(txn)
			x.TxnHistory.End(txn, true)
			e := Entry{0, 90, RecordID{1, 90}.Value()}
			x.Committed, x.All = append(x.Committed, e), append(x.All, e)
		}, abortedRead},
		{"a torn transaction", func(x *txnExample) {
			is := func(e Entry) bool { return e.Partition == 1 && e.Offset == 6 }
			x.Committed = slices.DeleteFunc(x.Committed, is)
			delete(x.read, place{1, 6})
		}, torn},
		{"the other half of a torn transaction", func(x *txnExample) {
			x.Committed = append(x.Committed, Entry{1, 8, RecordID{1, 9}.Value()})
		}, torn},
		{"half of a group's offsets", func(x *txnExample) { x.TxnFinal.Groups[groupPlace{1, 1}] = 2 }, torn},
		{"a duplicate", func(x *txnExample) {
			e := Entry{0, 20, RecordID{1, 4}.Value()}
			x.Committed, x.All = append(x.Committed, e), append(x.All, e)
		}, duplicate},
		{"a duplicate in an aborted transaction", func(x *txnExample) {
			x.All = append(x.All, Entry{0, 20, RecordID{1, 2}.Value()})
		}, duplicate},
		{"another place than was acknowledged", func(x *txnExample) {
			clear(x.read)
			clear(x.dirty)
			x.All[0].Offset++
			x.Committed[0].Offset++
		}, wrongOffset},
		{"an offset with two contents", func(x *txnExample) { x.Read(0, 0, RecordID{1, 4}.Value()) }, twoContents},
		{"an offset with two contents for two kinds of readers", func(x *txnExample) {
			x.ReadDirty(0, 0, RecordID{1, 4}.Value())
		}, twoContents},
		{"an offset with another content", func(x *txnExample) {
			x.Committed[0].Value, x.All[0].Value = RecordID{1, 4}.Value(), RecordID{1, 4}.Value()
		}, twoContents},
		{"an offset with another content for who reads all", func(x *txnExample) {
			x.All[0].Value = RecordID{1, 4}.Value()
		}, twoContents},
		{"out of order", func(x *txnExample) {
			for _, log := range [][]Entry{x.Committed, x.All} {
				first, third := &log[0], &log[len(log)-2]
				first.Value, third.Value = third.Value, first.Value
			}
		}, outOfOrder},
		{"a record from nowhere", func(x *txnExample) {
			x.All = append(x.All, Entry{0, 20, RecordID{2, 4}.Value()})
		}, foreign},
		{"a record from nowhere on the way", func(x *txnExample) {
			x.ReadDirty(0, 20, RecordID{2, 4}.Value())
		}, foreign},
		{"a damaged byte", func(x *txnExample) {
			x.Committed[3].Value = append(x.Committed[3].Value, 'x')
		}, foreign},
		{"the last stable offset goes back", func(x *txnExample) { x.TxnHistory.Stable("x", 0, 6) }, stableBack},
		{"the last stable offset is stuck", func(x *txnExample) { x.TxnFinal.Stable[1] = 8 }, stableStuck},
		{"a transaction is never ended", func(x *txnExample) { x.Open = []string{"t: Ongoing"} }, stableStuck},
		{"a fenced producer's record is acknowledged", func(x *txnExample) {
			x.Fenced(x.txns[1])
			x.Wrote(x.txns[1], RecordID{1, 50}, 0)
			x.Acked(x.txns[1], RecordID{1, 50}, 0, 50)
		}, fencedWrote},
		{"a fenced producer's commit is obeyed", func(x *txnExample) { x.Obeyed(x.txns[1], "EndTxn") }, fencedWrote},
		{"a group's offset of an aborted transaction", func(x *txnExample) {
			x.TxnFinal.Groups[groupPlace{1, 0}], x.TxnFinal.Groups[groupPlace{1, 1}] = 1, 1
		}, groupAborted},
		{"a group's offset of an aborted transaction on the way", func(x *txnExample) {
			x.Group("y", 1, 0, 1, noGroupOffset)
		}, groupAborted},
		{"a group's offset of a transaction that has no records", func(x *txnExample) {
			x.TxnFinal.Groups[groupPlace{1, 0}], x.TxnFinal.Groups[groupPlace{1, 1}] = 4, 4
		}, groupAborted},
		{"a group's offset that nobody committed", func(x *txnExample) {
			x.Group("y", 1, 0, 77, noGroupOffset)
		}, groupAborted},
		{"a group's offset is lost", func(x *txnExample) {
			x.TxnFinal.Groups[groupPlace{1, 0}], x.TxnFinal.Groups[groupPlace{1, 1}] = 2, 2
		}, groupLost},
		{"all of a group's offsets are lost", func(x *txnExample) {
			x.TxnFinal.Groups[groupPlace{1, 0}], x.TxnFinal.Groups[groupPlace{1, 1}] = noGroupOffset, noGroupOffset
		}, groupLost},
		{"a group's offset goes back", func(x *txnExample) { x.Group("x", 1, 0, 2, noGroupOffset) }, groupLost},
		{"a group's offset is behind what was committed", func(x *txnExample) {
			x.Group("y", 1, 0, 0, x.GroupFloor(1))
		}, groupLost},
		{"more is deleted than was asked for", func(x *txnExample) {
			x.Deleting(0, 1)
			x.Start[0] = 2
			x.without(0, 0, false)
		}, deletedBeyond},
	}
	planted := map[string]bool{}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			x := newTxnExample()
			c.plant(x)
			got := x.Check(x.TxnFinal).Violations
			is := func(violation string) bool { return strings.HasPrefix(violation, c.kind+": ") }
			if c.kind == "" && len(got) > 0 || c.kind != "" && !slices.ContainsFunc(got, is) {
				t.Errorf("violations: %q, want %q", got, c.kind)
			}
		})
		planted[c.kind] = true
	}
	for _, kind := range []string{lostWrite, abortedRead, torn, duplicate, outOfOrder, twoContents, wrongOffset,
		foreign, stableBack, stableStuck, fencedWrote, groupAborted, groupLost, deletedBeyond} {
		if !planted[kind] {
			t.Errorf("nothing planted is a %s", kind)
		}
	}
}
