package api

import (
	"bytes"

	"spate/broker/quota"
	"spate/broker/session"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/netpoll"
)

// respond encodes the answer and hands it, with the ranges of records, to the connection.
func (o *fetchOp) respond() {
	if o.waited {
		o.stage(o.meter().wait)
	} else {
		o.stage(o.meter().read)
	}
	if o.busy == 0 { // it was answered at once
		o.busy = o.since.Sub(o.received)
	}
	id := session.NoID
	if o.charge(); o.throttle == 0 {
		id = o.tell()
	} else {
		id = o.withhold()
	}
	o.encode(id)
	o.cutPieces()
	o.reply = netpoll.Response{Pieces: o.pieces}
	o.node.FetchedBytes.Add(uint64(o.bytes))
	o.send(o.throttle)
}

// charge counts what the request took and what its answer takes, and finds for how long the client has to wait. The
// bytes that it then does not get are not counted.
func (o *fetchOp) charge() {
	a := o.account
	if a == nil {
		return
	}
	bytes := float64(o.answerBytes())
	timeMs := a.chargeTime(o.busy, o.since)
	bytesMs := a.charge(quota.Fetch, bytes, o.since)
	if o.throttle = a.longest(quota.Fetch, bytesMs, quota.Request, timeMs); o.throttle > 0 {
		a.refund(quota.Fetch, bytes, o.since)
	}
}

// What an answer takes beside the records and the names of topics: its head, and what is said of a partition.
const (
	answerHeadBytes = 20
	answerPartBytes = 50
)

// answerBytes is the length of the answer, but for a few bytes: it is encoded later, when it is known whether it may
// be.
func (o *fetchOp) answerBytes() int {
	n := answerHeadBytes
	for i := range o.parts {
		if p := &o.parts[i]; p.entry == nil || p.read.Records.Length() > 0 || p.code != kafka.NoError {
			n += answerPartBytes + len(p.name) + p.read.Records.Length()
		}
	}
	return n
}

// withhold makes the answer an empty one, of which the session knows nothing: the client asks again when its time has
// come.
func (o *fetchOp) withhold() int32 {
	switch {
	case o.errorCode != kafka.NoError:
		return session.NoID
	case o.session != nil && !o.node.Sessions.current(o):
		o.fail(kafka.InvalidFetchSessionEpoch)
		return o.session.ID()
	}
	o.silence()
	if o.session != nil {
		return o.session.ID()
	}
	return session.NoID
}

// tell updates the session by what is about to be answered, or opens one, and gives the id for the answer.
func (o *fetchOp) tell() int32 {
	switch {
	case o.errorCode != kafka.NoError:
		return session.NoID
	case o.session != nil:
		if err := o.node.Sessions.tell(o); err != nil {
			o.fail(err)
		}
		return o.session.ID()
	case o.version >= 7 && o.request.SessionEpoch == session.InitialEpoch:
		return o.node.Sessions.open(o)
	}
	return session.NoID
}

// fail makes the whole answer an error.
func (o *fetchOp) fail(err error) {
	o.errorCode = kafka.CodeOf(err)
	o.meter().Fail(o.errorCode)
	o.silence()
}

// silence takes all partitions out of the answer.
func (o *fetchOp) silence() {
	for i := range o.parts {
		o.parts[i].release()
		o.parts[i].quiet = true
	}
	o.bytes = 0
}

// encode writes all but the records, and notes where they belong.
func (o *fetchOp) encode(sessionID int32) {
	o.encoder.Begin(o.buf[:0], o.version, wire.FetchResponseHead{
		CorrelationID: o.correlationID, ThrottleMs: o.throttle, ErrorCode: o.errorCode, SessionID: sessionID,
		TopicCount: o.topicCount(),
	})
	for i := 0; i < len(o.parts); {
		if o.parts[i].quiet {
			i++
			continue
		}
		i = o.encodeTopic(i)
	}
	o.buf = o.encoder.End(o.endpoints)
}

// topicCount counts the runs of parts of one topic. The order of parts is that of the request or the session, in
// which a topic may come up more than once.
func (o *fetchOp) topicCount() int {
	topics := 0
	var last *fetchPart
	for i := range o.parts {
		p := &o.parts[i]
		if p.quiet {
			continue
		}
		if last == nil || !p.sameTopic(last) {
			topics++
		}
		last = p
	}
	return topics
}

func (p *fetchPart) sameTopic(other *fetchPart) bool {
	return p.id == other.id && bytes.Equal(p.name, other.name)
}

// encodeTopic writes the run of parts that begins at first, and gives where the next one begins.
func (o *fetchOp) encodeTopic(first int) (next int) {
	head := &o.parts[first]
	count := 0
	for next = first; next < len(o.parts); next++ {
		p := &o.parts[next]
		if p.quiet {
			continue
		}
		if !p.sameTopic(head) {
			break
		}
		count++
	}
	o.encoder.Topic(head.name, head.id, count)
	for i := first; i < next; i++ {
		if !o.parts[i].quiet {
			o.encodePart(i)
		}
	}
	o.encoder.EndTopic()
	return next
}

var noneAborted = []wire.AbortedTransaction{}

func (o *fetchOp) encodePart(i int) {
	p := &o.parts[i]
	result := wire.FetchPartitionResult{
		Index: p.index, ErrorCode: p.code,
		HighWatermark: p.read.HighWatermark, LastStableOffset: p.read.LastStableOffset,
		LogStartOffset: p.read.LogStartOffset, PreferredReadReplica: kafka.NoBroker,
	}
	if p.ask.Committed && p.code == kafka.NoError || p.unknown {
		result.Aborted = noneAborted // an empty list, which is not null
		if p.aborted < p.abortedTo {
			result.Aborted = o.aborted[p.aborted:p.abortedTo]
		}
	}
	if p.read.DivergingEpoch != kafka.NoLeaderEpoch {
		result.DivergingEpoch = wire.EpochEndOffset{
			Known: true, Epoch: p.read.DivergingEpoch, EndOffset: p.read.DivergingEnd,
		}
	}
	if o.version >= 16 && p.replica != nil && wantsLeader(p.code) {
		v := p.replica.View()
		result.Leader = wire.CurrentLeader{Known: true, Leader: v.Leader, Epoch: v.LeaderEpoch}
		o.endpoints = o.node.addEndpoint(o.endpoints, v.Leader, o.conn.Listener())
	}
	length := p.read.Records.Length()
	o.encoder.Partition(&result, length)
	if length > 0 {
		o.cuts = append(o.cuts, cut{at: o.encoder.Len(), part: i})
	}
	o.encoder.EndPartition()
}

// wantsLeader lists the errors after which a client looks for the leader.
func wantsLeader(code int16) bool {
	return code == kafka.NotLeaderOrFollower.Code || code == kafka.FencedLeaderEpoch.Code
}

// cutPieces lays the encoded bytes and the records between them out for sending.
func (o *fetchOp) cutPieces() {
	from := 0
	for _, c := range o.cuts {
		records := &o.parts[c.part].read.Records
		o.pieces = append(o.pieces,
			netpoll.Piece{Bytes: o.buf[from:c.at]},
			netpoll.Piece{
				FD: records.FD(), Offset: int64(records.Position()), Length: int64(records.Length()),
				Mapped: records.Bytes(), Hot: o.waited || records.Warm(),
			})
		from = c.at
	}
	o.pieces = append(o.pieces, netpoll.Piece{Bytes: o.buf[from:]})
}

// Release notes that the response has left, and gives back the ranges of records.
func (o *fetchOp) Release() {
	o.stage(o.meter().send)
	o.meter().total(&o.parked)
	o.sent()
}

// recycle makes the operation ready for another request. What only a big request needed is not kept.
func (o *fetchOp) recycle() {
	for i := range o.parts {
		o.parts[i].release()
	}
	clear(o.parts)
	clear(o.pieces)
	o.parts, o.pieces, o.cuts = kept(o.parts), kept(o.pieces), kept(o.cuts)
	o.aborted, o.found = kept(o.aborted), kept(o.found)
	o.names, o.buf = keptBytes(o.names), keptBytes(o.buf)
	o.endpoints = o.endpoints[:0]
	o.session = nil
	o.served, o.bytes, o.errorCode = 0, 0, kafka.NoError
	o.busy, o.throttle = 0, 0
	o.enough, o.waiting, o.waited = false, false, false
	node := o.node
	o.forget()
	node.fetches.Put(o)
}
