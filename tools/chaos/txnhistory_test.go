package chaos

import (
	"strings"
	"testing"
)

// The checker of transactions is itself checked: a clean history passes, and each kind of planted damage is found.
func TestTxnCheckFindsEachPlantedFault(t *testing.T) {
	// Transactions 0 to 3 of producer 1 with records 2n and 2n+1 in partitions 0 and 1, at offset 2n each: committed,
	// aborted, of unknown outcome and kept, of unknown outcome and not kept.
	clean := func() (*TxnHistory, []Entry) {
		h := NewTxnHistory()
		var final []Entry
		for n, outcome := range []TxnOutcome{TxnCommitted, TxnAborted, TxnUnknown, TxnUnknown} {
			txn := h.Begin(1, int64(n))
			for p := range int32(2) {
				id := RecordID{1, int64(2*n) + int64(p)}
				h.Wrote(txn, id, p)
				h.Acked(txn, id, p, int64(2*n))
			}
			if outcome != TxnAborted {
				h.Committing(txn)
			}
			h.End(txn, outcome == TxnCommitted)
			if n == 1 || n == 3 {
				continue
			}
			for p := range int32(2) {
				value := RecordID{1, int64(2*n) + int64(p)}.Value()
				h.Read(p, int64(2*n), value)
				final = append(final, Entry{p, int64(2 * n), value})
			}
		}
		h.Stable(0, 3)
		h.Stable(0, 7)
		return h, final
	}
	cases := []struct {
		name   string
		plant  func(h *TxnHistory, final []Entry) []Entry
		report string // "" wants a clean answer
	}{
		{"a clean history", func(_ *TxnHistory, final []Entry) []Entry { return final }, ""},
		{"a lost write", func(h *TxnHistory, final []Entry) []Entry {
			clear(h.read)
			return final[1:]
		}, "is lost"},
		{"a lost write that was read", func(_ *TxnHistory, final []Entry) []Entry { return final[1:] }, "and is lost"},
		{"an aborted read", func(_ *TxnHistory, final []Entry) []Entry {
			return append(final, Entry{0, 2, RecordID{1, 2}.Value()})
		}, "was not committed"},
		{"an aborted read on the way", func(h *TxnHistory, final []Entry) []Entry {
			h.Read(0, 2, RecordID{1, 2}.Value())
			return final
		}, "was not committed"},
		{"a read before the commit", func(h *TxnHistory, final []Entry) []Entry {
			txn := h.Begin(1, 9)
			h.Wrote(txn, RecordID{1, 90}, 0)
			h.Read(0, 90, RecordID{1, 90}.Value())
			h.Committing(txn)
			h.End(txn, true)
			return append(final, Entry{0, 90, RecordID{1, 90}.Value()})
		}, "was not committed"},
		{"a torn transaction", func(h *TxnHistory, final []Entry) []Entry {
			clear(h.read)
			return final[:3]
		}, "is torn"},
		{"the other half of a torn transaction", func(_ *TxnHistory, final []Entry) []Entry {
			return append(final, Entry{1, 6, RecordID{1, 7}.Value()})
		}, "is torn"},
		{"a duplicate", func(_ *TxnHistory, final []Entry) []Entry {
			return append(final, Entry{0, 20, RecordID{1, 4}.Value()})
		}, "stands at"},
		{"another place than was acknowledged", func(h *TxnHistory, final []Entry) []Entry {
			clear(h.read)
			final[0].Offset++
			return final
		}, "was acknowledged at"},
		{"an offset with two contents", func(h *TxnHistory, final []Entry) []Entry {
			h.Read(0, 0, RecordID{1, 4}.Value())
			return final
		}, "was read as"},
		{"an offset with another content", func(_ *TxnHistory, final []Entry) []Entry {
			final[0].Value, final[2].Value = final[2].Value, final[0].Value
			return final
		}, "which is now"},
		{"out of order", func(h *TxnHistory, final []Entry) []Entry {
			final[0].Value, final[2].Value = final[2].Value, final[0].Value
			return final
		}, "of producer 1 after"},
		{"a record from nowhere", func(_ *TxnHistory, final []Entry) []Entry {
			return append(final, Entry{0, 20, RecordID{2, 4}.Value()})
		}, "which nobody wrote"},
		{"a damaged byte", func(_ *TxnHistory, final []Entry) []Entry {
			final[3].Value = append(final[3].Value, 'x')
			return final
		}, "damaged content"},
		{"the last stable offset goes back", func(h *TxnHistory, final []Entry) []Entry {
			h.Stable(0, 6)
			return final
		}, "went back from 7 to 6"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, final := clean()
			s := h.Check(c.plant(h, final))
			got := strings.Join(s.Violations, "\n")
			if c.report == "" && got != "" || !strings.Contains(got, c.report) {
				t.Errorf("violations: %q, want %q", got, c.report)
			}
		})
	}
}
