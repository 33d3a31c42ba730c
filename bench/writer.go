package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/dist"
	"spate/bench/result"
	"spate/bench/spec"
	"spate/bench/verify"
)

// writer is a client that writes. One goroutine at a time makes it write; acknowledgements come on the client's.
type writer struct {
	run     *run
	number  uint32
	client  *kgo.Client
	produce produceFunc   // of the client
	places  chan struct{} // one is taken by each record that is on its way

	random  *dist.Source
	padding []byte // values are cut from it
	at      int    // in the padding
	next    int    // partition, of records without keys
	records sync.Pool

	mu     sync.Mutex // the ledger: written when a record is made, and when one has failed
	ledger *verify.Ledger

	txn transaction // of transactional writers: the one that is open
}

// produceFunc hands a record to a client, which calls the promise when it is acknowledged or has failed.
type produceFunc func(ctx context.Context, record *kgo.Record, promise func(*kgo.Record, error))

// What a client holds at most while the broker is slow: enough for full batches to every partition.
const (
	transactionBuffered = 64 << 10 // records of a transactional one; the others have the key in-flight
	bufferedBytesMax    = 128 << 20
)

// giveUpAfter is how long a client tries to write a record: longer than any pause that a run is to survive.
const giveUpAfter = time.Minute

// watch ends the sending when records are on their way and nothing is acknowledged for so long. Clients do not: once
// they have sent a batch of an idempotent producer, they try again for ever.
func (r *run) watch(patience time.Duration, stopSending func()) {
	ticker := time.NewTicker(patience / 60)
	defer ticker.Stop()
	last, since := int64(-1), time.Now()
	for {
		select {
		case <-r.sending.Done():
			return
		case <-ticker.C:
		}
		if produced := r.meter.produced.Load(); produced != last || r.meter.out.Load() == 0 {
			last, since = produced, time.Now()
		}
		if time.Since(since) > patience {
			r.meter.failed(fmt.Errorf("nothing was acknowledged for %v, with %d records on their way", patience,
				r.meter.out.Load()))
			stopSending()
			return
		}
	}
}

func (r *run) newWriter(number uint32) (*writer, error) {
	options := append(producerOptions(r.w), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// One more than there are places: the client has room for a record by the time that one is acknowledged.
		kgo.MaxBufferedRecords(r.places()+1),
		kgo.MaxBufferedBytes(bufferedBytesMax/max(1, r.w.Producers/8)),
		kgo.RecordDeliveryTimeout(giveUpAfter), kgo.UnknownTopicRetries(-1))
	if r.w.Kind == "transactions" {
		options = append(options, kgo.TransactionalID(r.transactionalID(number)))
	}
	client, err := r.client(options...)
	if err != nil {
		return nil, err
	}
	r.clients = append(r.clients, client)
	w := r.writerBy(client.Produce, number)
	w.client = client
	return w, nil
}

// places is how many records a writer has on their way at most.
func (r *run) places() int { return cmp.Or(r.w.InFlight, transactionBuffered) }

// writerBy makes a writer that hands its records to a function.
func (r *run) writerBy(produce produceFunc, number uint32) *writer {
	w := &writer{run: r, number: number, produce: produce, random: dist.NewSource(r.w.Seed, uint64(number)),
		places: make(chan struct{}, r.places()),
		ledger: verify.NewLedger(number, r.partitions), next: int(number) % r.partitions}
	w.records.New = func() any { return &kgo.Record{} }
	w.padding = make([]byte, r.w.Sizes.Max()*2+64<<10)
	if r.w.Sizes.Max() == dist.SizeMax { // of a distribution without end
		w.padding = make([]byte, 1<<20)
	}
	w.random.FillLike(w.padding, r.w.Compress)
	return w
}

// again makes a writer of the same client, whose records are numbered from 0.
func (w *writer) again(number uint32) *writer {
	return &writer{run: w.run, number: number, client: w.client, produce: w.produce,
		places: make(chan struct{}, cap(w.places)), random: w.random, padding: w.padding, next: w.next,
		ledger: verify.NewLedger(number, w.run.partitions), records: sync.Pool{New: w.records.New}}
}

func producerOptions(w spec.Workload) []kgo.Opt {
	codec := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}[w.Compression]
	options := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(w.Linger),
		kgo.ProducerBatchMaxBytes(int32(w.BatchBytes))}
	switch w.Acks {
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()))
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()))
	}
	if w.Kind != "transactions" && !w.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	return options
}

// take takes a place for a record, when there is one. It reports whether records are still sent.
func (w *writer) take() bool {
	select {
	case w.places <- struct{}{}:
		return true
	default: // to look at two channels at once costs more
	}
	select {
	case w.places <- struct{}{}:
		return true
	case <-w.run.sending.Done():
		return false
	}
}

// send makes the next record and hands it to the client, once less than the key in-flight allows is on its way. A
// record that is late still carries the time it was due: latency is taken from there. One without such a time is due
// when there is a place for it: what it waits for is not of its making.
func (w *writer) send(due time.Time, flags uint32) {
	if !w.take() {
		return
	}
	if due.IsZero() {
		due = time.Now()
	}
	r := w.run
	record := w.records.Get().(*kgo.Record)
	key, value := record.Key[:0], record.Value
	size := max(r.w.Sizes.Draw(w.random), verify.StampBytes)
	reused := !r.w.Verify && len(value) == size // nobody looks at more than the stamp
	if cap(value) < size {
		value = make([]byte, size)
	}
	if value = value[:size]; !reused {
		w.fill(value[verify.StampBytes:])
	}
	partition := w.next
	if r.w.Keys.None() {
		if w.next++; w.next == r.partitions {
			w.next = 0
		}
	} else {
		n := r.w.Keys.Draw(w.random)
		key = strconv.AppendInt(append(key, "key-"...), int64(n), 10)
		partition = int(dist.NewSource(uint64(n), 0).Next() % uint64(r.partitions))
	}
	sequence := uint64(0)
	if flags&verify.Aborted == 0 {
		w.mu.Lock()
		sequence = w.ledger.Next(partition)
		w.mu.Unlock()
		if r.w.Kind == "transactions" {
			w.txn.records = append(w.txn.records, place{partition, sequence})
		}
	}
	stamp := verify.Stamp{Run: r.id, Producer: w.number, Flags: flags, Sequence: sequence, Due: due.UnixNano()}
	if len(key) == 0 {
		key = nil
	}
	if r.w.Verify {
		stamp.Seal(key, value)
	} else {
		stamp.Put(value)
	}
	*record = kgo.Record{Topic: r.topics[partition/r.w.Partitions], Partition: int32(partition % r.w.Partitions),
		Key: key, Value: value}
	r.meter.out.Add(1)
	w.produce(r.sending, record, w.acknowledged)
}

// fill writes the bytes behind the stamp: a stretch of the padding, so that it costs no more than a copy.
func (w *writer) fill(value []byte) {
	for len(value) > 0 {
		n := copy(value, w.padding[w.at:])
		value = value[n:]
		if w.at += n; w.at >= len(w.padding) {
			w.at = int(w.random.Next() % 1024)
		}
	}
}

// acknowledged is called by the client, record by record, in the order of each partition.
func (w *writer) acknowledged(record *kgo.Record, err error) {
	m := w.run.meter
	stamp := verify.Peek(record.Value)
	if err != nil {
		w.failed(record, stamp, err)
	} else {
		now := time.Now().UnixNano()
		m.recorders[result.LatencyAck].record(time.Duration(now - stamp.Due))
		m.produced.Add(1)
		m.producedBytes.Add(int64(len(record.Key) + len(record.Value)))
		m.lastProduced.Store(now)
		if w.run.w.Kind != "transactions" {
			m.due.Add(1)
		}
	}
	w.records.Put(record)
	m.out.Add(-1)
	<-w.places
}

// failed says that a record may be there or not.
func (w *writer) failed(record *kgo.Record, stamp verify.Stamp, err error) {
	if stamp.Flags&verify.Aborted == 0 {
		w.mu.Lock()
		w.ledger.Unknown(w.run.partition(record.Topic, record.Partition), stamp.Sequence)
		w.txn.failed = true
		w.mu.Unlock()
	}
	if !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrAborting) {
		w.run.meter.failed(err)
	}
}

// flush waits until everything is acknowledged or has failed: until the sending ends at most.
func (w *writer) flush() {
	if w.client.Flush(w.run.sending) != nil {
		w.client.UnsafeAbortBufferedRecords() // each is told to have failed, also what waits for an answer
		telling, cancel := context.WithTimeout(context.WithoutCancel(w.run.sending), dialWithin)
		defer cancel()
		_ = w.client.Flush(telling) // waits for that
	}
}

// written is what went into a partition.
func (w *writer) written(partition int) verify.Written {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ledger.Written(partition)
}

// partition is the number of a partition among those of all topics.
func (r *run) partition(topic string, partition int32) int {
	return r.topicIndex[topic]*r.w.Partitions + int(partition)
}
