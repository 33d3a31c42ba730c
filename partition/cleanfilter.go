package partition

import (
	"cmp"
	"slices"

	"spate/index"
	"spate/kafka"
	"spate/kafka/record"
)

// lastBatch is what the log must keep of a producer, so that its next sequence and its epoch are known whatever is
// rebuilt from the log.
type lastBatch struct {
	offset kafka.Offset // of the last batch with records; NoOffset if only its marker is known
	epoch  kafka.ProducerEpoch
}

// transactionFilter follows the transactions through the batches of a cleaning, in order.
type transactionFilter struct {
	// aborted is what is to come, by first offset. A transaction is begun when a batch at or past that comes.
	aborted   []index.Transaction
	ongoing   map[kafka.ProducerID]*abortedTransaction
	committed map[kafka.ProducerID]bool // a batch of an undecided transaction was seen that will be committed
}

type abortedTransaction struct {
	entry index.Transaction
	seen  bool // a batch of it was seen: its marker must stay
}

func newTransactionFilter(aborted []index.Transaction) transactionFilter {
	aborted = slices.Clone(aborted)
	slices.SortFunc(aborted, func(a, b index.Transaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return transactionFilter{
		aborted: aborted, ongoing: map[kafka.ProducerID]*abortedTransaction{}, committed: map[kafka.ProducerID]bool{},
	}
}

// begin notes the aborted transactions that have begun by the last offset of a batch.
func (f *transactionFilter) begin(last kafka.Offset) {
	for len(f.aborted) > 0 && f.aborted[0].FirstOffset <= last {
		t := f.aborted[0]
		f.aborted = f.aborted[1:]
		if known := f.ongoing[t.ProducerID]; known == nil || known.entry.LastOffset < t.FirstOffset {
			f.ongoing[t.ProducerID] = &abortedTransaction{entry: t}
		}
	}
}

// data says whether a batch with records belongs to an aborted transaction.
func (f *transactionFilter) data(b record.Batch) (aborted bool) {
	f.begin(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	// Behind its last offset nothing is of an aborted transaction, even if its marker was not met.
	if t := f.ongoing[b.ProducerID()]; t != nil && b.LastOffset() <= t.entry.LastOffset {
		t.seen = true
		return true
	}
	f.committed[b.ProducerID()] = true
	return false
}

// marker says whether nothing is left of the transaction that a control batch ends, so that the batch itself may go.
// keep is the entry that the index of aborted transactions must have.
func (f *transactionFilter) marker(b record.Batch) (empty bool, keep *index.Transaction, err error) {
	f.begin(b.LastOffset())
	if b.Count() == 0 {
		return true, nil, nil // it went in an earlier cleaning
	}
	m, err := markerOf(b)
	if err != nil || m == nil {
		return false, nil, err
	}
	id := b.ProducerID()
	if m.commit {
		empty = !f.committed[id]
		delete(f.committed, id)
		return empty, nil, nil
	}
	t := f.ongoing[id]
	delete(f.ongoing, id)
	if t != nil && t.seen {
		return false, &t.entry, nil
	}
	return true, nil, nil
}

// batchFilter decides what stays of each batch of a cleaning.
type batchFilter struct {
	offsets      *offsetMap
	now          kafka.Timestamp
	tombstones   int64 // delete.retention.ms
	producers    map[kafka.ProducerID]lastBatch
	transactions transactionFilter
	keep         []bool // which records of the last batch that was counted stay
}

// filtered is what became of a batch.
type filtered struct {
	bytes   []byte             // to write: the batch itself, a smaller one behind the given bytes, or nothing
	copied  bool               // bytes is the batch itself
	aborted *index.Transaction // an entry that the index must keep
}

// apply gives what stays of b; a smaller batch is written into scratch. end says that the segment ends with b: then its
// header stays at least, so that the segment still tells where the next one begins.
func (f *batchFilter) apply(scratch []byte, b record.Batch, end bool) (filtered, error) {
	var out filtered
	var discard, empty bool
	var err error
	horizon, horizonSet := b.DeleteHorizon()
	past := horizonSet && horizon <= f.now
	if b.IsControl() {
		if empty, out.aborted, err = f.transactions.marker(b); err != nil {
			return out, err
		}
		discard = empty && past
	} else {
		discard = f.transactions.data(b)
	}
	kept, tombstones, all := 0, false, true
	if !discard {
		if kept, tombstones, all, err = f.count(b, past); err != nil {
			return out, err
		}
		// Older records of the key are still there for a tombstone past the map's end: its time has not begun yet.
		tombstones = empty || tombstones && b.LastOffset() <= f.offsets.latest
	}
	switch {
	case kept > 0 && all && (horizonSet || !tombstones):
		out.bytes, out.copied = b, true
	case kept > 0:
		horizon := kafka.NoTimestamp
		if tombstones {
			horizon = f.now + kafka.Timestamp(f.tombstones)
		}
		next := -1 // Retain asks about each record once, in order
		out.bytes, err = b.Retain(scratch, horizon, func(*record.Record) bool { next++; return f.keep[next] })
	case end || f.lastOfProducer(b):
		out.bytes = b.Emptied(scratch)
	}
	return out, err
}

// count looks at the records and notes which stay: how many, whether tombstones are among them, and whether all do.
func (f *batchFilter) count(b record.Batch, past bool) (kept int, tombstones, all bool, err error) {
	it := b.Records()
	defer it.Close()
	all, f.keep = true, f.keep[:0]
	for {
		r, ok := it.Next()
		if !ok {
			return kept, tombstones, all, it.Err()
		}
		stays := f.stays(b, &r, past)
		f.keep = append(f.keep, stays)
		if !stays {
			all = false
			continue
		}
		kept++
		tombstones = tombstones || r.Value == nil && !b.IsControl()
	}
}

// stays says whether a record stays: the last one of its key, and all that came after the map was made. A tombstone
// goes once it is past its horizon, a record without a key always.
func (f *batchFilter) stays(b record.Batch, r *record.Record, past bool) bool {
	switch {
	case b.IsControl() || r.Offset > f.offsets.latest:
		return true
	case r.Key == nil:
		return false
	case r.Value == nil && past:
		return false
	}
	return r.Offset >= f.offsets.last(r.Key)
}

// lastOfProducer says whether b is what is known of an active producer's sequence and epoch.
func (f *batchFilter) lastOfProducer(b record.Batch) bool {
	if !b.HasProducerID() {
		return false
	}
	last, active := f.producers[b.ProducerID()]
	switch {
	case !active:
		return false
	case last.offset == kafka.NoOffset:
		return b.IsControl() && b.ProducerEpoch() == last.epoch
	}
	return b.LastOffset() == last.offset
}
