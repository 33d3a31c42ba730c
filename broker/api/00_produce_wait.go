package api

import (
	"errors"
	"time"

	"spate/broker/purgatory"
	"spate/broker/quota"
	"spate/internal/invariant"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/netpoll"
	"spate/partition"
	"spate/replica"
	"spate/replica/state"
)

// takeFrame keeps the request for a detour: its appends take long and are left to the writers of their log directories,
// or a transaction's coordinator is asked first. The connection is paused meanwhile, and the frame kept; its bytes move
// by that, so the records are found anew.
func (o *produceOp) takeFrame(c *Context) {
	header := len(c.Frame.Bytes()) - len(c.Body)
	o.frame = c.Frame
	o.frame.Take()
	err := o.request.Parse(o.version, o.frame.Bytes()[header:])
	invariant.Check(err == nil || wire.OnlyLeftOver(err), "a request parsed only once: %v", err)
	i := 0
	for t := range o.request.Topics {
		partitions := o.request.Topics[t].Partitions
		for p := range partitions {
			o.jobs[i].records = partitions[p].Records
			i++
		}
	}
	o.conn.Pause()
}

// passOn hands the operation to the writer of the next log directory in which something is left to append, or back to
// its loop.
func (o *produceOp) passOn() {
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.step != jobToAppend {
			continue
		}
		if log := job.replica.View().Log; log != nil && o.node.Writers.put(log.Dir(), o) {
			return
		}
		o.fail(i, kafka.KafkaStorageError)
	}
	o.conn.Post(o)
}

// workIn does what is to be done in one log directory, on its writer's goroutine.
func (o *produceOp) workIn(dir *partition.LogDir) {
	if o.asks.step == beginning {
		o.beginIn(dir)
		return
	}
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.step == jobToAppend && job.replica.View().Log.Dir() == dir {
			o.appendOne(i)
		}
	}
	o.passOn()
}

// endDetour goes on, on the loop, when all appends are done.
func (o *produceOp) endDetour() {
	o.frame.Release()
	o.frame = nil
	if o.conn.Closed() {
		o.recycle()
		return
	}
	o.conn.Resume()
	conn := o.conn
	if err := o.finish(); err != nil {
		conn.Close(err)
	}
}

// finish answers, or sends the operation into purgatory. The appends are done.
func (o *produceOp) finish() error {
	o.stage(o.meter().append)
	o.busy = o.since.Sub(o.received) - o.asks.waited
	switch {
	case o.request.Acks == 0:
		return o.finishSilently()
	case o.request.Acks == replica.AcksAll && o.mustWait():
		o.park()
	default:
		o.respond()
	}
	return nil
}

// errProduceFailed closes the connection of a producer that wants no answers: it is all that can tell it of an error.
var errProduceFailed = errors.New("a produce request with acks=0 failed")

func (o *produceOp) finishSilently() error {
	conn, ticket, failed, throttle := o.conn, o.ticket, o.failed, o.charge()
	o.meter().total(&o.parked)
	o.recycle()
	if failed {
		return errProduceFailed
	}
	if throttle > 0 {
		conn.Mute(time.Duration(throttle) * time.Millisecond)
	}
	conn.Skip(ticket)
	return nil
}

// mustWait looks for appends that the high watermark has not passed.
func (o *produceOp) mustWait() bool {
	for i := range o.jobs {
		if job := &o.jobs[i]; job.end != kafka.NoOffset && job.replica.HighWatermark() < job.end {
			job.step = jobWaiting
			o.waits++
		}
	}
	return o.waits > 0
}

// park waits for the high watermarks.
func (o *produceOp) park() {
	wait := time.Duration(max(o.request.TimeoutMs, 0)) * time.Millisecond
	o.enter(o.node.Produces, wait, o.waits)
	watch := 0
	for i := range o.jobs {
		if job := &o.jobs[i]; job.step == jobWaiting {
			list := watchers(job.replica)
			o.Watch(list, list.Changes(), job.end)
			job.watch = watch
			watch++
		}
	}
	o.look() // the marks and the leaders may have changed before the operation was on the lists
}

// watchers is the list of those who wait for a replica.
func watchers(r *replica.Replica) *purgatory.List { return r.Watcher().(*purgatory.List) }

// Wake brings the operation back to its loop. Any goroutine.
func (o *produceOp) Wake() { o.conn.Post(o) }

// Run goes on after a wake-up, after the writers are done, or after a coordinator's answer.
func (o *produceOp) Run() {
	switch {
	case o.asks.step != notAsking:
		o.goOnAsking()
	case o.frame != nil:
		o.endDetour()
	case o.Resume():
		o.look()
	default:
		o.arrived()
	}
}

// look answers if nothing is left to wait for.
func (o *produceOp) look() {
	expired := o.Expired()
	for i := range o.jobs {
		job := &o.jobs[i]
		if job.step == jobWaiting && o.decide(i, expired) {
			job.step = jobDone
			o.waits--
			o.Raise(job.watch, never)
		}
	}
	if o.waits > 0 {
		return
	}
	o.leave()
	o.stage(o.waitStage())
	o.respond()
}

// never is a high watermark that does not come.
const never = kafka.Offset(1<<63 - 1)

// decide tells whether the waiting job i is over, and notes the error if it did not end well.
func (o *produceOp) decide(i int, expired bool) bool {
	job := &o.jobs[i]
	v := job.replica.View()
	switch {
	case v.Unavailable != nil:
		o.fail(i, v.Unavailable)
	case v.Role != state.Leader:
		o.fail(i, kafka.NotLeaderOrFollower)
	case v.Log.HighWatermark() >= job.end:
		if v.ISR < v.ISRMin {
			o.fail(i, kafka.NotEnoughReplicasAfterAppend)
		}
	case expired:
		o.fail(i, kafka.RequestTimedOut)
	default:
		return false
	}
	return true
}

// waitStage is what the time in purgatory was spent on: the other replicas if there are any, else the own disk.
func (o *produceOp) waitStage() *metrics.Histogram {
	for i := range o.jobs {
		if r := o.jobs[i].replica; r != nil && r.View().ISR > 1 {
			return o.meter().replicate
		}
	}
	return o.meter().flush
}

// charge counts what the request took, and gives the milliseconds for which the client has to wait. As in Kafka the
// time of a request that wants no answer is free; the stage that has just ended tells the time.
func (o *produceOp) charge() int32 {
	if o.account == nil {
		return 0
	}
	bytesMs := o.account.charge(quota.Produce, float64(o.bytes), o.since)
	timeMs := int32(0)
	if o.request.Acks != 0 {
		timeMs = o.account.chargeTime(o.busy, o.since)
	}
	return o.account.longest(quota.Produce, bytesMs, quota.Request, timeMs)
}

// requestBytes is how long the request is, its size prefix left out.
func requestBytes(c *Context) int {
	if c.Frame != nil {
		return len(c.Frame.Bytes())
	}
	return c.BodyBytes
}

// respond encodes the answer and hands it to the connection.
func (o *produceOp) respond() {
	throttle := o.charge()
	o.response.ThrottleMs = throttle
	o.buf = wire.BeginFrame(o.buf[:0], wire.KeyProduce, o.version, o.correlationID)
	o.buf = wire.AppendProduceResponse(o.buf, o.version, &o.response)
	o.buf = wire.EndFrame(o.buf, 0, 0)
	o.pieces[0] = netpoll.Piece{Bytes: o.buf}
	o.reply = netpoll.Response{Pieces: o.pieces[:]}
	o.send(throttle)
}

// Release notes that the response has left.
func (o *produceOp) Release() {
	o.stage(o.meter().send)
	o.meter().total(&o.parked)
	o.sent()
}

// recycle makes the operation ready for another request. What only a big request needed is not kept.
func (o *produceOp) recycle() {
	clear(o.jobs)
	clear(o.results)
	clear(o.response.Topics)
	o.response = wire.ProduceResponse{Topics: kept(o.response.Topics), Endpoints: o.response.Endpoints[:0]}
	o.jobs, o.results = kept(o.jobs), kept(o.results)
	o.names, o.buf = keptBytes(o.names), keptBytes(o.buf)
	o.failed, o.waits, o.asks = false, 0, verifyState{}
	o.pieces[0] = netpoll.Piece{}
	node := o.node
	o.forget()
	node.produces.Put(o)
}
