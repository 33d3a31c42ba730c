package api

import (
	"time"

	"spate/kafka"
	"spate/kafka/wire"
	"spate/partition"
)

// look reads, and answers or waits. It runs on the loop, which touches nothing that is not in memory: what is on the
// disk only, a worker reads.
func (o *fetchOp) look() {
	if !o.resident() {
		o.quit() // first: from Put on the operation is the worker's
		o.working = true
		if o.node.Workers.Put(&o.cold) {
			return
		}
		o.working = false
	}
	o.read()
	o.conclude()
}

// quit leaves purgatory, if the operation is there. Whatever is found then is the answer: it has waited.
func (o *fetchOp) quit() {
	if o.waiting {
		o.waiting, o.enough = false, true
		o.leave()
	}
}

// coldRead is the operation as the work of a worker, and as its way back.
type coldRead struct{ fetch *fetchOp }

// Work reads what is not in memory, while the loop leaves the operation alone, but for a straggler.
func (c *coldRead) Work() {
	c.fetch.node.Meters.ColdFetches.Add(1)
	c.fetch.read()
	c.fetch.conn.Post(c)
}

// Run goes on, on the loop, after Work.
func (c *coldRead) Run() {
	c.fetch.working = false
	c.fetch.conclude()
}

// resident tells whether all that a read would look at is in memory. What an operation was woken for was written a
// moment ago, so that only a move may be in its way.
func (o *fetchOp) resident() bool {
	for i := range o.parts {
		p := &o.parts[i]
		if o.waiting {
			if p.replica != nil && p.replica.Swapping() {
				return false
			}
			continue
		}
		p.ask.BytesMax = max(0, min(p.bytesMax, o.bytesMax))
		if p.replica != nil && !p.replica.Resident(&p.ask) {
			return false
		}
	}
	return true
}

// read reads the parts in order, within the limits of the request. Parts that had nothing, and have not changed since,
// are not read again.
func (o *fetchOp) read() {
	left, minOne := o.bytesMax, true
	o.bytes = 0
	o.aborted = o.aborted[:0]
	for i := range o.parts {
		p := &o.parts[i]
		p.aborted, p.abortedTo = len(o.aborted), len(o.aborted)
		if p.replica == nil {
			continue
		}
		changes := watchers(p.replica).Changes()
		if p.had || p.code != kafka.NoError || p.changes != changes {
			p.changes = changes
			o.readPart(p, left, minOne)
		}
		n := p.read.Records.Length()
		p.had = n > 0
		if p.had {
			minOne = false
			left = max(0, left-n)
			o.bytes += n
		}
	}
}

func (o *fetchOp) readPart(p *fetchPart, left int, minOne bool) {
	p.release()
	p.clear()
	p.ask.BytesMax, p.ask.MinOne = min(p.bytesMax, left), minOne
	o.found = o.found[:0]
	p.ask.Aborted = &o.found
	var err error = kafka.UnknownServerError // as Kafka, which trips over a negative limit
	if p.ask.BytesMax >= 0 {
		err = p.replica.Read(&p.ask, &p.read)
	}
	if err == nil && p.ask.Committed {
		o.keepAborted(p)
	}
	if err != nil {
		p.release()
		p.clear()
		p.code = kafka.CodeOf(err)
		o.meter().Fail(p.code)
		if p.code == kafka.UnknownServerError.Code && p.ask.BytesMax >= 0 {
			o.node.Log.Error("fetch failed", "partition", p.replica.TopicPartition().String(), "error", err)
		}
		o.enough = true
		return
	}
	if p.read.DivergingEpoch != kafka.NoLeaderEpoch {
		o.enough = true
	}
	if p.read.Records.Length() == 0 && !minOne && p.ask.Offset < p.end() {
		o.enough = true // there is more, and it fits no more
	}
}

// end is where the part's reader has to stop.
func (p *fetchPart) end() kafka.Offset {
	if p.ask.Committed {
		return min(p.read.HighWatermark, p.read.LastStableOffset)
	}
	return p.read.HighWatermark
}

// keepAborted notes the transactions that a reader of committed records has to leave out of what was read.
func (o *fetchOp) keepAborted(p *fetchPart) {
	for i := range o.found {
		o.aborted = append(o.aborted, wire.AbortedTransaction{
			ProducerID: o.found[i].ProducerID, FirstOffset: o.found[i].FirstOffset,
		})
	}
	p.abortedTo = len(o.aborted)
}

// release gives back the records that were read.
func (p *fetchPart) release() {
	if p.read.Records.Length() > 0 {
		p.read.Records.Release()
	}
	p.read.Records = partition.ReadResult{}
}

// conclude answers, or waits for more. The parts have been read.
func (o *fetchOp) conclude() {
	if o.mustAnswer() {
		o.waited = o.waiting
		o.quit()
		o.respond()
		return
	}
	for i := range o.parts {
		o.parts[i].release()
	}
	if o.waiting {
		o.raise()
		return
	}
	o.stage(o.meter().read)
	o.busy = o.since.Sub(o.received)
	o.park()
}

// mustAnswer tells whether there is nothing to wait for. An operation for which a wake-up is on its way cannot go into
// purgatory a second time, so it answers with what it has.
func (o *fetchOp) mustAnswer() bool {
	return o.bytes >= o.bytesMin || o.enough || o.served == 0 || o.request.MaxWaitMs <= 0 ||
		o.waiting && o.Expired() || o.straggler || o.conn.Closed()
}

// park waits for the next records of any part.
func (o *fetchOp) park() {
	o.waiting = true
	o.enter(o.node.Fetches, time.Duration(o.request.MaxWaitMs)*time.Millisecond, o.served)
	current := true
	watch := 0
	for i := range o.parts {
		p := &o.parts[i]
		if p.replica == nil {
			continue
		}
		p.watch = watch
		watch++
		if !o.Watch(watchers(p.replica), p.changes, p.news()) {
			current = false
		}
	}
	if !current || o.Expired() {
		o.look()
	}
}

// news is the high watermark at which there is something for the part that was not there when it was read.
func (p *fetchPart) news() kafka.Offset { return max(p.ask.Offset, p.read.HighWatermark) + 1 }

// raise makes the operation wait for more than it was woken for.
func (o *fetchOp) raise() {
	for i := range o.parts {
		if p := &o.parts[i]; p.replica != nil {
			o.Raise(p.watch, p.news())
		}
	}
}

// Wake brings the operation back to its loop. Any goroutine.
func (o *fetchOp) Wake() { o.conn.Post(o) }

// Run goes on after a wake-up.
func (o *fetchOp) Run() {
	if o.Resume() {
		o.look()
		return
	}
	o.arrived()
}
