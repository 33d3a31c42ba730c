package runtime_test

import (
	"fmt"
	"slices"
	"testing"

	"spate/coordinator"
	"spate/coordinator/runtime"
	"spate/coordinator/runtime/runtimetest"
	"spate/kafka"
)

// end commits the transaction of a producer.
func end(producer kafka.ProducerID) runtime.EndTransaction {
	return runtime.EndTransaction{
		ProducerID: producer, ProducerEpoch: 4, Commit: true, CoordinatorEpoch: 7, TxnVersion: 2,
	}
}

// Goal: records of a transaction are a batch of their own, in the order of decisions; the marker reaches the machine
// like one that is loaded, and all is answered when it is committed.
func TestTransactionsAreBatchesOfTheirOwn(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	log.Hold()
	h.do("first", set{[]string{"a=1", "b=1"}})
	h.do("in a transaction", join{5, []string{"a=2", "b=2"}})
	h.do("in another", join{6, []string{"c=2"}})
	h.do("after", set{[]string{"d=1"}})
	h.do("commit", end(5))
	h.do("last", set{[]string{"e=1"}})
	h.settle()
	h.expect()
	log.Commit(6)
	h.settle()
	h.expect("first: 2", "in a transaction: 2", "in another: 1", "after: 1")
	log.Commit(kafka.NoOffset)
	h.settle()
	h.expect("commit: <nil>", "last: 1")
	want := []string{
		"0 a=1", "1 b=1", "2 a=2 by 5/3", "3 b=2 by 5/3", "4 c=2 by 6/3", "5 d=1", "marker of 5/4: true", "7 e=1",
	}
	if got := h.made[0].applied; !slices.Equal(got, want) {
		t.Errorf("applied %q, want %q", got, want)
	}
	var shapes []string
	for _, b := range log.Batches() {
		shapes = append(shapes, fmt.Sprintf("%d: %d of producer %d/%d, transactional %t, control %t",
			b.BaseOffset(), b.Count(), b.ProducerID(), b.ProducerEpoch(), b.IsTransactional(), b.IsControl()))
	}
	wantShapes := []string{
		"0: 2 of producer -1/-1, transactional false, control false",
		"2: 2 of producer 5/3, transactional true, control false",
		"4: 1 of producer 6/3, transactional true, control false",
		"5: 1 of producer -1/-1, transactional false, control false",
		"6: 1 of producer 5/4, transactional true, control true",
		"7: 1 of producer -1/-1, transactional false, control false",
	}
	if !slices.Equal(shapes, wantShapes) {
		t.Errorf("batches %q, want %q", shapes, wantShapes)
	}
	wantTerms := []coordinator.Terms{{}, {Verification: 9}, {Verification: 9}, {}, {TxnVersion: 2}, {}}
	if got := log.Terms(); !slices.Equal(got, wantTerms) {
		t.Errorf("terms %v, want %v", got, wantTerms)
	}
	live := h.made[0].applied
	h.Resign(0)
	h.settle()
	h.lead(log.Clone())
	if loaded := h.made[0].applied; !slices.Equal(loaded, live) {
		t.Errorf("loaded %q, applied live %q", loaded, live)
	}
}

// Goal: what the log refuses for its producer's sake has not happened, and nobody else feels it.
func TestARefusedTransactionHasNotHappened(t *testing.T) {
	for _, why := range []*kafka.Error{
		kafka.InvalidProducerEpoch, kafka.InvalidTxnState, kafka.TransactionCoordinatorFenced,
	} {
		h, log := newHost(t), runtimetest.NewLog()
		h.lead(log)
		log.FailWhen(func(n int) error {
			if n == 2 || n == 3 {
				return fmt.Errorf("%w: for a reason", why)
			}
			return nil
		})
		h.do("first", set{[]string{"a=1"}})
		h.do("refused", join{5, []string{"b=1"}})
		h.do("no marker", end(5))
		h.do("last", set{[]string{"c=1"}})
		h.settle()
		h.expect("first: 1", "refused: "+why.Name, "no marker: "+why.Name, "last: 1")
		if got, want := h.made[0].applied, []string{"0 a=1", "1 c=1"}; !slices.Equal(got, want) {
			t.Errorf("applied %q, want %q", got, want)
		}
		h.expectState(runtime.Serving)
	}
}

// Goal: an append of a transaction that fails for another reason throws the state away like any other.
func TestAFailedTransactionLoadsTheShardAnew(t *testing.T) {
	for name, cmd := range map[string]any{"records": join{5, []string{"b=1"}}, "marker": end(5)} {
		h, log := newHost(t), runtimetest.NewLog()
		h.lead(log)
		log.FailWhen(func(n int) error {
			if n == 2 {
				return kafka.KafkaStorageError
			}
			return nil
		})
		h.do("first", set{[]string{"a=1"}})
		h.do(name, cmd)
		h.do("last", set{[]string{"c=1"}})
		h.settle()
		h.expect("first: NOT_COORDINATOR", name+": NOT_COORDINATOR", "last: NOT_COORDINATOR")
		h.expectState(runtime.Fallen)
	}
}

// Goal: a full disk refuses both, and changes nothing.
func TestATransactionOnAFullDisk(t *testing.T) {
	h, log := newHost(t), runtimetest.NewLog()
	h.lead(log)
	log.Fill(runtime.ErrNoRoom)
	h.do("records", join{5, []string{"b=1"}})
	h.do("marker", end(5))
	h.settle()
	h.expect("records: NOT_COORDINATOR", "marker: NOT_COORDINATOR")
	log.Fill(nil)
	h.do("marker", end(5))
	h.settle()
	h.expect("marker: <nil>")
	if got, want := h.made[0].applied, []string{"marker of 5/4: true"}; !slices.Equal(got, want) {
		t.Errorf("applied %q, want %q", got, want)
	}
}
