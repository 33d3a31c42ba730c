package partition

import (
	"errors"
	"fmt"
	"slices"

	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
	"spate/segment"
)

// Origin says who made the batches of an append, and so which rules they are held to.
type Origin uint8

// The origins.
const (
	OriginClient      Origin = iota // a Produce request: exactly one batch, every rule applies
	OriginCoordinator               // the broker's own batches and markers: control batches, no sequence check
	OriginReplication               // a leader: offsets and epochs are kept as they are
)

// AppendOptions is what an append needs to know besides the bytes.
type AppendOptions struct {
	LeaderEpoch    kafka.LeaderEpoch // written into each batch, unless the origin is replication
	Origin         Origin
	Now            kafka.Timestamp // the broker's time, for LogAppendTime and the timestamp rules
	ProduceVersion int16           // of the request, for OriginClient
	// Verification is the number under which the coordinator was asked about a transaction that is not open here yet.
	Verification Verification
	TxnVersion   int16 // of a marker: the transaction.version that its producer works by
}

// ErrUnexpectedOffset says that a leader's batch does not continue this log.
var ErrUnexpectedOffset = errors.New("unexpected append offset")

// Appended is what an append did.
type Appended struct {
	BaseOffset     kafka.Offset    // of the first record; of the first copy when Duplicate
	EndOffset      kafka.Offset    // one past the last record
	LogAppendTime  kafka.Timestamp // NoTimestamp unless the topic uses LogAppendTime, or as in Kafka, if Duplicate
	LogStartOffset kafka.Offset
	Duplicate      bool // the producer sent this batch before: nothing was written
}

// Append validates records, writes base offset and leader epoch into them in place, and appends them by one write. It
// assigns offsets from the log end offset on. Errors carry a *kafka.Error; what is wrong with single records is a
// *record.RecordErrors. A full disk answers KAFKA_STORAGE_ERROR and changes nothing; any other failure of the disk
// takes the log directory offline.
func (l *Log) Append(records []byte, a AppendOptions) (Appended, error) {
	started := l.dir.env.Clock.Now()
	isFirst := l.dir.appending.CompareAndSwap(0, started.UnixNano())
	l.append.Lock()
	result, err := l.appendLocked(records, a)
	l.append.Unlock()
	if isFirst {
		l.dir.appending.Store(0)
	}
	l.dir.took(started)
	if err == nil && !result.Duplicate && int64(result.EndOffset-l.flushed.load()) >= l.config.Load().FlushRecords {
		l.AwaitFlush()
	}
	return result, err
}

func (l *Log) appendLocked(records []byte, a AppendOptions) (Appended, error) {
	if err := l.usableLocked(); err != nil {
		return Appended{}, err
	}
	var p prepared
	var err error
	switch a.Origin {
	case OriginClient:
		p, err = l.prepareClient(records, a)
	case OriginCoordinator:
		p, err = l.prepareCoordinator(records, a)
	default:
		p, err = l.prepareReplica(records)
	}
	if err != nil || p.duplicate || len(p.records) == 0 {
		return p.answer(l.logStart.load()), err
	}
	if err := l.writeLocked(p, a.Now); err != nil {
		return Appended{}, err
	}
	return p.answer(l.logStart.load()), nil
}

// prepared is batches that passed every check and carry their offsets and epochs.
type prepared struct {
	records       []byte // whole batches
	base, end     kafka.Offset
	logAppendTime kafka.Timestamp
	maxTimestamp  kafka.Timestamp
	duplicate     bool
	control       bool // some of the batches are control batches
}

func (p *prepared) answer(logStart kafka.Offset) Appended {
	return Appended{BaseOffset: p.base, EndOffset: p.end, LogAppendTime: p.logAppendTime, LogStartOffset: logStart,
		Duplicate: p.duplicate}
}

// setRulesLocked fills the validation rules of an append in place: they would escape to the heap otherwise.
func (l *Log) setRulesLocked(a AppendOptions) *record.Rules {
	c := l.config.Load()
	l.rules = record.Rules{
		Partition:     l.tp,
		BatchBytesMax: c.BatchBytesMax,
		Compacted:     c.Compact,
		TimestampType: c.TimestampType,
		BeforeMax:     c.TimestampBeforeMax,
		AfterMax:      c.TimestampAfterMax,
		Now:           a.Now,
		Compression:   c.Compression,
		FromClient:    a.Origin == OriginClient,
		Version:       a.ProduceVersion,
	}
	return &l.rules
}

// appendTime is what the answer to a producer says.
func appendTime(r *record.Rules) kafka.Timestamp {
	if r.TimestampType == record.LogAppendTime {
		return r.Now
	}
	return kafka.NoTimestamp
}

// claim is what the append says to the producer state.
func (l *Log) claim(a *AppendOptions) *claim {
	return &claim{
		origin: a.Origin, verified: l.dir.verified.Load(), verification: a.Verification, txnVersion: a.TxnVersion,
	}
}

// prepareClient takes the one batch of a Produce request.
func (l *Log) prepareClient(records []byte, a AppendOptions) (prepared, error) {
	b, err := record.Single(records)
	if err != nil {
		return prepared{}, err
	}
	rules := l.setRulesLocked(a)
	facts, err := record.Validate(b, rules)
	if err != nil {
		return prepared{}, err
	}
	b = facts.Batch
	base := l.logEnd.load()
	known, duplicate, err := l.producers.check(b, nil, l.claim(&a), base)
	if err != nil {
		return prepared{}, err
	}
	if duplicate {
		return prepared{base: known.firstOffset(), end: known.lastOffset + 1, logAppendTime: known.timestamp,
			duplicate: true}, nil
	}
	b.SetBaseOffset(base)
	b.SetLeaderEpoch(a.LeaderEpoch)
	return prepared{records: b, base: base, end: b.NextOffset(), logAppendTime: appendTime(rules),
		maxTimestamp: facts.MaxTimestamp}, nil
}

// prepareCoordinator takes batches of the broker's own making.
func (l *Log) prepareCoordinator(records []byte, a AppendOptions) (prepared, error) {
	rules := l.setRulesLocked(a)
	base := l.logEnd.load()
	p := prepared{base: base, end: base, logAppendTime: appendTime(rules), maxTimestamp: kafka.NoTimestamp}
	for rest := records; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			return prepared{}, err
		}
		rest = after
		facts, err := record.Validate(b, rules)
		if err != nil {
			return prepared{}, err
		}
		m, err := markerOf(facts.Batch)
		if err != nil {
			return prepared{}, err
		}
		if _, _, err := l.producers.check(facts.Batch, m, l.claim(&a), p.end); err != nil {
			return prepared{}, err
		}
		facts.Batch.SetBaseOffset(p.end)
		facts.Batch.SetLeaderEpoch(a.LeaderEpoch)
		p.control = p.control || m != nil
		p.records = joinBatch(p.records, facts.Batch, records)
		p.end = facts.Batch.NextOffset()
		p.maxTimestamp = max(p.maxTimestamp, facts.MaxTimestamp)
	}
	return p, nil
}

// joinBatch puts b behind done, which is a prefix of source for as long as every batch kept its bytes: then nothing is
// copied. A batch in memory of its own, since the topic's codec is another, makes a copy of all.
func joinBatch(done []byte, b record.Batch, source []byte) []byte {
	end := len(done) + len(b)
	inPlace := len(done) == 0 || &done[0] == &source[0]
	if inPlace && end <= len(source) && &b[0] == &source[len(done)] {
		return source[:end:end]
	}
	return append(done[:len(done):len(done)], b...)
}

// prepareReplica takes batches as a leader wrote them. Bytes at the end that do not make up a batch are left out: a
// fetch may be cut anywhere.
func (l *Log) prepareReplica(records []byte) (prepared, error) {
	end := l.logEnd.load()
	p := prepared{base: end, end: end, logAppendTime: kafka.NoTimestamp, maxTimestamp: kafka.NoTimestamp}
	for rest := records; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if errors.Is(err, record.ErrTruncated) {
			break
		}
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return prepared{}, err
		}
		if b.LastOffsetDelta() < 0 || b.BaseOffset() < p.end {
			return prepared{}, fmt.Errorf("%w: a batch from %d to %d where %d is next",
				ErrUnexpectedOffset, b.BaseOffset(), b.LastOffset(), p.end)
		}
		m, err := markerOf(b)
		if err != nil {
			return prepared{}, err
		}
		p.control = p.control || m != nil
		if len(p.records) == 0 {
			p.base = b.BaseOffset()
		}
		p.records = records[:len(p.records)+len(b)]
		p.end, rest = b.NextOffset(), after
		p.maxTimestamp = max(p.maxTimestamp, b.MaxTimestamp())
	}
	return p, nil
}

// writeLocked makes p part of the log.
func (l *Log) writeLocked(p prepared, now kafka.Timestamp) error {
	if err := l.checkSize(len(p.records)); err != nil {
		return err
	}
	active := l.active()
	if l.mustRollLocked(active, len(p.records), p.end-1, p.maxTimestamp, now) {
		base, err := l.rollOffset(&p)
		if err == nil {
			err = l.rollLocked(base, now)
		}
		if err != nil {
			return err
		}
		active = l.active()
	}
	if p.control {
		// What Append has written stays where it is, so nothing that may fail comes behind it.
		if err := active.ReadyAborted(); err != nil {
			return l.storageError(err)
		}
	}
	if err := active.Append(p.records); err != nil {
		return l.storageError(err)
	}
	batches := int64(0)
	for rest := p.records; len(rest) > 0; batches++ {
		b, after, err := record.Next(rest)
		invariant.Check(err == nil, "a batch that was just checked: %v", err)
		rest = after
		l.noteEpochLocked(b.LeaderEpoch(), b.BaseOffset())
		if !b.HasProducerID() {
			continue
		}
		if err := l.noteProducerLocked(active, b); err != nil {
			return err // the segment is poisoned: nothing is appended to it any more
		}
	}
	// Readers that see the new end must see what holds the last stable offset back, so that comes first.
	l.firstUnstable.store(l.producers.firstUnstable())
	l.logEnd.store(p.end)
	l.dir.stats.AppendBytes.Add(int64(len(p.records)))
	l.dir.stats.AppendBatches.Add(batches)
	return nil
}

// checkSize refuses an append that no segment holds.
func (l *Log) checkSize(bytes int) error {
	if limit := l.config.Load().SegmentBytes; int64(bytes) > limit {
		return fmt.Errorf("%w: %d bytes in one append, a segment holds %d", kafka.RecordListTooLarge, bytes, limit)
	}
	return nil
}

// Reserve makes room for an append, at the time now, of a batch of so many bytes and records, which then does not find
// the disk full. A full disk answers KAFKA_STORAGE_ERROR and changes nothing.
func (l *Log) Reserve(bytes, records int, now kafka.Timestamp) error {
	l.append.Lock()
	defer l.append.Unlock()
	err := l.usableLocked()
	if err == nil {
		err = l.checkSize(bytes)
	}
	if err != nil {
		return err
	}
	end := l.logEnd.load()
	if l.mustRollLocked(l.active(), bytes, end+kafka.Offset(records)-1, now, now) {
		if err := l.rollLocked(end, now); err != nil {
			return err
		}
	}
	if err := l.active().Reserve(bytes); err != nil {
		return l.storageError(err)
	}
	return nil
}

// noteProducerLocked lets the producer state follow a batch that was appended to s.
func (l *Log) noteProducerLocked(s *segment.Segment, b record.Batch) error {
	m, err := markerOf(b)
	invariant.Check(err == nil, "a marker that was just checked: %v", err)
	txn, decided := l.producers.apply(b, m)
	entry, aborted := txn.indexEntry(), txn.aborted
	if !decided {
		at := slices.IndexFunc(l.aborted, func(t AbortedTransaction) bool { return t.LastOffset == b.BaseOffset() })
		if aborted = at >= 0; aborted {
			entry = l.aborted[at]
		}
	}
	if !aborted {
		return nil
	}
	if err := s.AppendAborted(entry); err != nil {
		return l.storageError(err)
	}
	return nil
}

// noteEpochLocked puts the epoch of a batch into the cache if it is new there.
func (l *Log) noteEpochLocked(epoch kafka.LeaderEpoch, start kafka.Offset) {
	cache := *l.epochs.Load()
	if !cache.needs(epoch, start) {
		return
	}
	if next, changed := cache.assign(epoch, start); changed {
		l.setEpochsLocked(next, start)
	}
}
