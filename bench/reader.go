package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/bench/result"
	"spate/bench/verify"
	"spate/internal/task"
)

// reader reads everything once: with several clients, of which each has some of the partitions.
type reader struct {
	run     *run
	name    string
	clients []*kgo.Client
	logs    []*verify.Log  // by partition; each belongs to the goroutine of its client until the reader is closed
	from    []*writer      // whose records it must see
	before  int64          // records that were due before it began, and that it does not see
	missed  int64          // records that a wait has waited for in vain
	timed   bool           // its latencies count
	counted bool           // what it reads counts as consumed
	arrived atomic.Int64   // records that were due, and came
	next    []atomic.Int64 // by partition: the offset that it reads next
	guards  []sync.Mutex   // of logs that several clients use in turn, by partition; nil: each has its own
	leave   func()         // of a group: ends its members
	cancel  context.CancelFunc
	running task.Group
}

// newReader makes a reader that begins at the given offsets, by partition.
func (r *run) newReader(name string, from []*writer, starts []int64) (*reader, error) {
	out := &reader{run: r, name: name, from: from, timed: true, counted: true}
	for p := range r.partitions {
		out.logs = append(out.logs, r.newLog(p, false))
	}
	out.next = offsetsAt(starts)
	clients := min(max(1, r.w.Consumers), r.partitions)
	for n := range clients {
		offsets := map[string]map[int32]kgo.Offset{}
		for p := n; p < r.partitions; p += clients {
			topic := r.topics[p/r.w.Partitions]
			if offsets[topic] == nil {
				offsets[topic] = map[int32]kgo.Offset{}
			}
			offsets[topic][int32(p%r.w.Partitions)] = kgo.NewOffset().At(starts[p])
		}
		options := []kgo.Opt{kgo.ConsumePartitions(offsets), kgo.KeepControlRecords()}
		if r.w.Kind == "transactions" {
			options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		}
		client, err := r.client(options...)
		if err != nil {
			out.close()
			return nil, err
		}
		out.clients = append(out.clients, client)
	}
	return out, nil
}

func (r *run) newLog(partition int, redelivered bool) *verify.Log {
	return verify.NewLog(verify.Options{Run: r.id, Topic: r.topics[partition/r.w.Partitions],
		Partition: int32(partition % r.w.Partitions), Foreign: r.w.ReuseTopic, Redelivered: redelivered})
}

// addReader makes a reader beside the load. atEnd: it begins behind what is there now.
func (r *run) addReader(name string, atEnd bool) error {
	from, starts, before := r.fillers, r.starts, int64(0)
	if atEnd {
		before = r.meter.due.Load()
		ends, err := r.ends()
		if err != nil {
			return err
		}
		from, starts = r.writers, ends
	}
	reader, err := r.newReader(name, from, starts)
	if err != nil {
		return err
	}
	reader.before = before
	r.readers = append(r.readers, reader)
	return nil
}

// offsetsAt are offsets that may be written and read by several goroutines.
func offsetsAt(starts []int64) []atomic.Int64 {
	offsets := make([]atomic.Int64, len(starts))
	for p, start := range starts {
		offsets[p].Store(start)
	}
	return offsets
}

// ends are the present ends of all partitions; of transactions, those of what is decided.
func (r *run) ends() ([]int64, error) {
	if r.w.Kind == "transactions" {
		return r.offsets(kadm.NewClient(r.admin).ListCommittedOffsets)
	}
	return r.offsets(kadm.NewClient(r.admin).ListEndOffsets)
}

// decided are the ends of all partitions once it is decided what becomes of all that is in them now. A transaction of
// which nobody knows the outcome may be open until the broker aborts it: what is behind it is not lost, and cannot be
// read before.
func (r *run) decided() ([]int64, error) {
	written, err := r.offsets(kadm.NewClient(r.admin).ListEndOffsets)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(giveUpAfter); ; time.Sleep(10 * settled) {
		ends, err := r.ends()
		if err != nil {
			return nil, err
		}
		open := 0
		for open < len(ends) && ends[open] >= written[open] {
			open++
		}
		if open == len(ends) {
			return ends, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s, partition %d: a transaction is open after %v; what is behind it cannot be read",
				r.topics[open/r.w.Partitions], open%r.w.Partitions, giveUpAfter)
		}
	}
}

// offsets asks for an offset of each partition.
func (r *run) offsets(list func(context.Context, ...string) (kadm.ListedOffsets, error)) ([]int64, error) {
	ctx, cancel := context.WithTimeout(r.hard, dialWithin)
	defer cancel()
	listed, err := list(ctx, r.topics...)
	if err != nil {
		return nil, fmt.Errorf("ask for the ends of the partitions: %w", err)
	}
	ends := make([]int64, r.partitions)
	for p := range ends {
		end, ok := listed.Lookup(r.topics[p/r.w.Partitions], int32(p%r.w.Partitions))
		if !ok {
			end.Err = kerr.UnknownTopicOrPartition
		}
		if end.Err != nil {
			return nil, fmt.Errorf("ask for the end of %s, partition %d: %w", r.topics[p/r.w.Partitions],
				p%r.w.Partitions, end.Err)
		}
		ends[p] = end.Offset
	}
	return ends, nil
}

// start lets the clients read until the reader is closed.
func (d *reader) start() {
	ctx, cancel := context.WithCancel(d.run.hard)
	d.cancel = cancel
	for _, client := range d.clients {
		d.running.Go("bench: "+d.name, func() {
			for ctx.Err() == nil {
				d.take(client.PollFetches(ctx))
			}
		})
	}
}

// take looks at what a poll gave.
func (d *reader) take(fetches kgo.Fetches) {
	now := time.Now()
	for _, err := range fetches.Errors() {
		passes := errors.Is(err.Err, context.Canceled) || errors.Is(err.Err, context.DeadlineExceeded) ||
			errors.Is(err.Err, kgo.ErrClientClosed)
		if d.run.hard.Err() == nil && !passes {
			d.run.meter.failed(fmt.Errorf("read %s, partition %d: %w", err.Topic, err.Partition, err.Err))
		}
	}
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if len(p.Records) == 0 {
			return
		}
		n := d.run.partition(p.Topic, p.Partition)
		if d.guards != nil {
			d.guards[n].Lock()
			defer d.guards[n].Unlock()
		}
		d.partition(d.logs[n], p.Records, now)
		if next := p.Records[len(p.Records)-1].Offset + 1; next > d.next[n].Load() { // a group may get them again
			d.next[n].Store(next)
		}
	})
}

// partition looks at records of one partition, which came at a moment.
func (d *reader) partition(log *verify.Log, records []*kgo.Record, now time.Time) {
	m := d.run.meter
	end := m.recorders[result.LatencyEndToEnd]
	bytes, consumed, arrived := int64(0), int64(0), int64(0)
	for _, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		consumed++
		bytes += int64(len(r.Key) + len(r.Value))
		stamp, ok := verify.Stamp{}, len(r.Value) >= verify.StampBytes
		if d.run.w.Verify {
			stamp, ok = log.Record(r.Offset, r.Key, r.Value)
		} else if ok {
			stamp = verify.Peek(r.Value)
			ok = stamp.Run == d.run.id
		}
		if !ok {
			continue
		}
		arrived++
		if d.timed && stamp.Flags&verify.Backlog == 0 {
			end.record(time.Duration(now.UnixNano() - stamp.Due))
		}
	}
	if d.counted {
		m.consumed.Add(consumed)
		m.consumedBytes.Add(bytes)
		m.lastConsumed.Store(now.UnixNano())
	}
	d.arrived.Add(arrived) // at last: who waits for it looks at the others then
}

// close ends the reading.
func (d *reader) close() {
	if d.cancel != nil {
		d.cancel()
	}
	d.running.Wait()
	if d.leave != nil {
		d.leave()
	}
	for _, client := range d.clients {
		client.Close()
	}
	d.clients = nil
}
