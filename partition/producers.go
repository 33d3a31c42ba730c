package partition

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"spate/kafka"
	"spate/kafka/record"
)

// rememberedBatches is how many batches of a producer are known well enough to recognise a second copy: as many as an
// idempotent client may have in flight (max.in.flight.requests.per.connection ≤ 5).
const rememberedBatches = 5

// producerBatch is one remembered batch.
type producerBatch struct {
	lastSequence kafka.Sequence
	offsetDelta  int32
	lastOffset   kafka.Offset
	timestamp    kafka.Timestamp
}

// firstSequence counts back from the last one, from 0 to 2^31-1.
func (b producerBatch) firstSequence() kafka.Sequence {
	return kafka.Sequence((uint32(b.lastSequence) - uint32(b.offsetDelta)) & 0x7fffffff)
}

func (b producerBatch) firstOffset() kafka.Offset { return b.lastOffset - kafka.Offset(b.offsetDelta) }

// producer is what a partition knows about one producer id.
type producer struct {
	epoch            kafka.ProducerEpoch
	coordinatorEpoch int32 // of the last transaction marker, -1 before the first
	lastTimestamp    kafka.Timestamp
	txnFirstOffset   kafka.Offset // of the open transaction, or NoOffset

	count   int                              // batches that are remembered, all of the current epoch
	batches [rememberedBatches]producerBatch // oldest first
}

// lastSequence is the last sequence of the current epoch, or NoSequence.
func (p *producer) lastSequence() kafka.Sequence {
	if p.count == 0 {
		return kafka.NoSequence
	}
	return p.batches[p.count-1].lastSequence
}

// duplicate finds the remembered batch that b is a second copy of.
func (p *producer) duplicate(b record.Batch) (producerBatch, bool) {
	if b.ProducerEpoch() != p.epoch {
		return producerBatch{}, false
	}
	for _, known := range p.batches[:p.count] {
		if known.firstSequence() == b.BaseSequence() && known.lastSequence == b.LastSequence() {
			return known, true
		}
	}
	return producerBatch{}, false
}

// enterEpoch forgets the batches of an older epoch.
func (p *producer) enterEpoch(epoch kafka.ProducerEpoch) {
	if p.epoch != epoch {
		p.epoch, p.count = epoch, 0
	}
}

func (p *producer) remember(b producerBatch) {
	if p.count == rememberedBatches {
		copy(p.batches[:], p.batches[1:])
		p.count--
	}
	p.batches[p.count] = b
	p.count++
	p.lastTimestamp = b.timestamp
}

// openTxn is a transaction that is not decided yet.
type openTxn struct {
	producer    kafka.ProducerID
	firstOffset kafka.Offset
}

// decidedTxn is a transaction whose marker is in the log. Until the high watermark passes the marker it still holds the
// last stable offset back.
type decidedTxn struct {
	producer                kafka.ProducerID
	firstOffset, lastOffset kafka.Offset // lastOffset is the marker's
	aborted                 bool
	lastStable              kafka.Offset // the last stable offset once it is decided
}

// producers is the producer state of one log: idempotence, and which transactions are open. It is a pure machine: check
// looks at a batch that is to be appended, apply notes one that was, live and in replay alike. The log's append lock
// guards it. Entries go when their producer was silent for producer.id.expiration.ms, which bounds the map.
type producers struct {
	entries   map[kafka.ProducerID]*producer
	open      []openTxn    // by first offset
	uncertain []decidedTxn // decided past the high watermark, by first offset

	verifying map[kafka.ProducerID]*verification // questions to coordinators, by their producer
	asked     Verification                       // the number of the last question
}

func newProducers() producers {
	return producers{
		entries: map[kafka.ProducerID]*producer{}, verifying: map[kafka.ProducerID]*verification{},
	}
}

// claim is what an append says of itself, beside its batches.
type claim struct {
	origin       Origin
	verified     bool         // batches of a transaction must have been verified
	verification Verification // the number under which they were
	txnVersion   int16        // of a marker: the transaction.version that its producer works by
}

// check holds b, which would get firstOffset, to Kafka's rules for producers, and finds the first copy of a batch
// that a client sent again. m is the marker in b, if b is a control batch that ends a transaction.
func (p *producers) check(b record.Batch, m *marker, c *claim, firstOffset kafka.Offset) (
	known producerBatch, duplicate bool, err error) {
	if c.origin == OriginReplication || !b.HasProducerID() {
		return producerBatch{}, false, nil
	}
	e := p.entries[b.ProducerID()]
	if e != nil && c.origin == OriginClient {
		if known, found := e.duplicate(b); found {
			return known, true, nil
		}
	}
	if err := p.checkVerified(b, c); err != nil {
		return producerBatch{}, false, err
	}
	if m == nil && c.origin == OriginClient {
		if err := p.checkLowest(b, e); err != nil {
			return producerBatch{}, false, err
		}
	}
	if e == nil {
		return producerBatch{}, false, nil
	}
	return producerBatch{}, false, e.check(b, m, c, firstOffset)
}

// check is the part of producers.check for a producer that is known.
func (p *producer) check(b record.Batch, m *marker, c *claim, firstOffset kafka.Offset) error {
	if m != nil {
		return p.checkMarker(b, m, c.txnVersion)
	}
	if b.ProducerEpoch() < p.epoch {
		return fmt.Errorf("%w: epoch %d of producer %d at offset %d is older than epoch %d",
			kafka.InvalidProducerEpoch, b.ProducerEpoch(), b.ProducerID(), firstOffset, p.epoch)
	}
	if b.IsControl() {
		return nil
	}
	if c.origin == OriginClient {
		if err := p.checkSequence(b, firstOffset); err != nil {
			return err
		}
	}
	if p.txnFirstOffset != kafka.NoOffset && !b.IsTransactional() {
		return fmt.Errorf("%w: producer %d wrote outside its transaction from offset %d",
			kafka.InvalidTxnState, b.ProducerID(), p.txnFirstOffset)
	}
	return nil
}

// checkSequence wants the next sequence in the producer's epoch, or 0 in a new one. A producer whose state is gone
// (expired, or its records deleted) has no entry and may go on with any sequence.
func (p *producer) checkSequence(b record.Batch, firstOffset kafka.Offset) error {
	want := kafka.Sequence(0)
	if b.ProducerEpoch() == p.epoch {
		if last := p.lastSequence(); last != kafka.NoSequence {
			want = record.AddSequence(last, 1)
		}
	}
	if b.BaseSequence() == want {
		return nil
	}
	return fmt.Errorf("%w: sequence %d of producer %d, epoch %d, at offset %d instead of %d (epoch %d)",
		kafka.OutOfOrderSequenceNumber, b.BaseSequence(), b.ProducerID(), b.ProducerEpoch(), firstOffset, want, p.epoch)
}

// txnVersionOfEpochs is the transaction.version from which on each transaction has an epoch of its own: then a marker
// comes with a later epoch than the records that it decides about.
const txnVersionOfEpochs = 2

// checkMarker refuses a marker of an epoch that is over, and one of a coordinator that has been replaced. Where each
// transaction has an epoch, one of the records' own epoch is refused too: it was meant for the transaction before, and
// has been delayed. It passes if nothing is open, for then it is the same marker again, and for the last epoch that
// there is, which has no later one.
func (p *producer) checkMarker(b record.Batch, m *marker, txnVersion int16) error {
	epoch := b.ProducerEpoch()
	late := txnVersion >= txnVersionOfEpochs && epoch == p.epoch &&
		p.txnFirstOffset != kafka.NoOffset && epoch != math.MaxInt16
	if late || epoch < p.epoch {
		return fmt.Errorf("%w: a marker for producer %d has epoch %d, its last one was %d (transaction.version %d)",
			kafka.InvalidProducerEpoch, b.ProducerID(), epoch, p.epoch, txnVersion)
	}
	if m.coordinatorEpoch < p.coordinatorEpoch {
		return fmt.Errorf("%w: a marker for producer %d has coordinator epoch %d, the last one had %d",
			kafka.TransactionCoordinatorFenced, b.ProducerID(), m.coordinatorEpoch, p.coordinatorEpoch)
	}
	return nil
}

// apply notes b, which is in the log now. When it decides a transaction, that is returned with found set.
func (p *producers) apply(b record.Batch, m *marker) (txn decidedTxn, found bool) {
	if !b.HasProducerID() || b.IsControl() && m == nil {
		return decidedTxn{}, false
	}
	e := p.entries[b.ProducerID()]
	if e == nil {
		e = &producer{epoch: kafka.NoProducerEpoch, coordinatorEpoch: -1,
			lastTimestamp: kafka.NoTimestamp, txnFirstOffset: kafka.NoOffset}
		p.entries[b.ProducerID()] = e
	}
	e.enterEpoch(b.ProducerEpoch())
	p.endVerification(b)
	if m != nil {
		return p.decide(e, b, m)
	}
	e.remember(producerBatch{
		lastSequence: b.LastSequence(),
		offsetDelta:  b.LastOffsetDelta(),
		lastOffset:   b.LastOffset(),
		timestamp:    b.MaxTimestamp(),
	})
	if b.IsTransactional() && e.txnFirstOffset == kafka.NoOffset {
		e.txnFirstOffset = b.BaseOffset()
		p.open = append(p.open, openTxn{b.ProducerID(), b.BaseOffset()})
	}
	return decidedTxn{}, false
}

// decide applies a marker: it ends the open transaction, if there is one.
func (p *producers) decide(e *producer, b record.Batch, m *marker) (txn decidedTxn, found bool) {
	e.coordinatorEpoch = m.coordinatorEpoch
	e.lastTimestamp = b.MaxTimestamp()
	first := e.txnFirstOffset
	if first == kafka.NoOffset {
		return decidedTxn{}, false
	}
	e.txnFirstOffset = kafka.NoOffset
	p.open = slices.DeleteFunc(p.open, func(t openTxn) bool { return t.firstOffset == first })
	txn = decidedTxn{producer: b.ProducerID(), firstOffset: first, lastOffset: b.BaseOffset(), aborted: !m.commit}
	txn.lastStable = txn.lastOffset + 1
	if len(p.open) > 0 {
		txn.lastStable = p.open[0].firstOffset
	}
	at, _ := slices.BinarySearchFunc(p.uncertain, first, func(t decidedTxn, first kafka.Offset) int {
		return cmp.Compare(t.firstOffset, first)
	})
	p.uncertain = slices.Insert(p.uncertain, at, txn)
	return txn, true
}

// firstUnstable is the first offset of a transaction that is open, or decided past the high watermark; or NoOffset.
func (p *producers) firstUnstable() kafka.Offset {
	first := kafka.NoOffset
	if len(p.open) > 0 {
		first = p.open[0].firstOffset
	}
	if len(p.uncertain) > 0 && (first == kafka.NoOffset || p.uncertain[0].firstOffset < first) {
		first = p.uncertain[0].firstOffset
	}
	return first
}

// highWatermarkAt forgets the decided transactions whose markers lie below the high watermark.
func (p *producers) highWatermarkAt(highWatermark kafka.Offset) {
	p.uncertain = slices.DeleteFunc(p.uncertain, func(t decidedTxn) bool { return t.lastOffset < highWatermark })
}

// expire removes the producers that have been silent for age at now, unless they are in a transaction, and questions
// to coordinators of that age.
func (p *producers) expire(now kafka.Timestamp, ageMs int64) {
	maps.DeleteFunc(p.entries, func(_ kafka.ProducerID, e *producer) bool { return e.expired(now, ageMs) })
	maps.DeleteFunc(p.verifying, func(_ kafka.ProducerID, q *verification) bool {
		return int64(now)-int64(q.since) >= ageMs
	})
}

func (p *producer) expired(now kafka.Timestamp, ageMs int64) bool {
	return p.txnFirstOffset == kafka.NoOffset && int64(now)-int64(p.lastTimestamp) >= ageMs
}
