package partition

import (
	"cmp"
	"maps"
	"slices"

	"spate/index"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// marker is the content of a control batch that ends a transaction.
type marker struct {
	commit           bool
	coordinatorEpoch int32
}

// markerOf reads the marker in b; it is nil if b is no control batch, or one of another kind.
func markerOf(b record.Batch) (*marker, error) {
	if !b.IsControl() || !b.HasProducerID() {
		return nil, nil
	}
	it := b.Records()
	defer it.Close()
	r, ok := it.Next()
	if !ok {
		return nil, it.Err()
	}
	kind, err := r.ControlType()
	if err != nil || kind != record.ControlCommit && kind != record.ControlAbort {
		return nil, err
	}
	epoch, err := r.CoordinatorEpoch()
	if err != nil {
		return nil, err
	}
	return &marker{commit: kind == record.ControlCommit, coordinatorEpoch: epoch}, nil
}

// indexEntry is what .txnindex keeps of an aborted transaction.
func (t decidedTxn) indexEntry() index.Transaction {
	return index.Transaction{ProducerID: t.producer, FirstOffset: t.firstOffset, LastOffset: t.lastOffset,
		LastStableOffset: t.lastStable}
}

// AbortedTransaction is one aborted transaction, whose records a read_committed reader must leave out.
type AbortedTransaction = index.Transaction

// AbortedTransactions appends to dst the aborted transactions with records in [from, to).
func (l *Log) AbortedTransactions(dst []AbortedTransaction, from, to kafka.Offset) ([]AbortedTransaction, error) {
	if err := l.dir.offline(); err != nil {
		return dst, err
	}
	for {
		list := *l.segments.Load()
		all, err := l.abortedIn(list[find(list, from):], dst, from, to)
		if l.replaced(list, err) {
			continue
		}
		if err != nil {
			return dst, l.readError(err)
		}
		return all, nil
	}
}

// abortedIn is the aborted transactions in list, segments of the log. In a folder that has another name by now no index
// is found, which does not tell that nothing was aborted.
func (l *Log) abortedIn(list []*segment.Segment, dst []AbortedTransaction, from, to kafka.Offset) (
	[]AbortedTransaction, error) {
	dst, err := abortedIn(list, dst, from, to)
	if err == nil && l.leaving.Load() != nil {
		l.append.Lock() // waits for the end of a move
		err = l.gone
		l.append.Unlock()
	}
	return dst, err
}

func abortedIn(list []*segment.Segment, dst []AbortedTransaction, from, to kafka.Offset) ([]AbortedTransaction, error) {
	for _, s := range list {
		var all bool
		var err error
		if dst, all, err = s.Aborted(dst, from, to); all || err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// ProducerStatus is one active producer, as DescribeProducers shows it.
type ProducerStatus struct {
	ID               kafka.ProducerID
	Epoch            kafka.ProducerEpoch
	LastSequence     kafka.Sequence
	LastTimestamp    kafka.Timestamp
	CoordinatorEpoch int32
	TxnFirstOffset   kafka.Offset // NoOffset without an open transaction
}

// Producers lists the active producers, by id.
func (l *Log) Producers() []ProducerStatus {
	l.append.Lock()
	defer l.append.Unlock()
	list := make([]ProducerStatus, 0, len(l.producers.entries))
	for _, id := range slices.SortedFunc(maps.Keys(l.producers.entries), cmp.Compare) {
		e := l.producers.entries[id]
		list = append(list, ProducerStatus{ID: id, Epoch: e.epoch, LastSequence: e.lastSequence(),
			LastTimestamp: e.lastTimestamp, CoordinatorEpoch: e.coordinatorEpoch, TxnFirstOffset: e.txnFirstOffset})
	}
	return list
}
