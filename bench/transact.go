package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/result"
	"spate/bench/verify"
)

// transaction is what a transactional writer has open.
type transaction struct {
	records []place // that are to be committed
	failed  bool    // a record could not be written; under the writer's lock
}

// place is a record's, in the ledger.
type place struct {
	partition int
	sequence  uint64
}

func (r *run) transactionalID(writer uint32) string {
	return fmt.Sprintf("spate-bench-%08x-%d", r.id, writer)
}

// transact sends every nth transaction of the step: at the schedule of its records, or one after another.
func (w *writer) transact(s *step, first, every int) {
	size := int64(w.run.w.TxnRecords)
	for n := int64(first); !s.over(); n += int64(every) {
		records := size
		if s.schedule != nil {
			if records = min(size, s.schedule.Count()-n*size); records <= 0 || !s.await(s.due(n*size)) {
				return
			}
		} else if s.length > 0 && time.Since(s.began) >= s.length {
			return
		}
		if s.records > 0 {
			if records = min(records, s.records-n*size); records <= 0 {
				return
			}
		}
		if err := w.transaction(s, n*size, records); err != nil {
			if !errors.Is(err, context.Canceled) { // by the user, or the watchdog, which has said so
				w.run.meter.failed(err)
			}
			return
		}
	}
}

func (s *step) due(n int64) time.Time { return s.began.Add(s.schedule.Due(n)) }

// transaction writes one transaction and ends it. An error is that the writer can go on no more.
func (w *writer) transaction(s *step, first, records int64) error {
	abort := w.random.Float() < w.run.w.AbortShare
	flags := s.flags()
	if abort {
		flags |= verify.Aborted
	}
	w.mu.Lock()
	w.txn.records, w.txn.failed = w.txn.records[:0], false
	w.mu.Unlock()
	if err := w.client.BeginTransaction(); err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	for n := first; n < first+records; n++ {
		var due time.Time
		if s.schedule != nil {
			if due = s.due(n); !s.await(due) {
				break // what there is of it is committed
			}
		}
		if w.send(due, flags); s.schedule != nil {
			w.run.meter.sent(due)
		}
	}
	w.flush()
	return w.endTransaction(abort)
}

// endTransaction commits or aborts. Records of a transaction of which it is not known that it was committed may be
// there or not.
func (w *writer) endTransaction(abort bool) error {
	m := w.run.meter
	w.mu.Lock()
	failed := w.txn.failed
	w.mu.Unlock()
	began := time.Now()
	err := w.client.EndTransaction(w.run.sending, kgo.TransactionEndTry(!abort && !failed))
	switch {
	case abort && err == nil:
		m.aborted.Add(1)
		return nil
	case err == nil && !failed:
		m.recorders[result.LatencyCommit].record(time.Since(began))
		m.committed.Add(1)
		m.due.Add(int64(len(w.txn.records)))
		return nil
	}
	w.mu.Lock()
	for _, p := range w.txn.records {
		w.ledger.Unknown(p.partition, p.sequence)
	}
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("end a transaction: %w", err)
	}
	m.aborted.Add(1)
	return nil
}
