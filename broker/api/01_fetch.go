package api

import (
	"slices"
	"time"

	"spate/broker/quota"
	"spate/broker/session"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/netpoll"
	"spate/partition"
	"spate/replica"
)

// Fetch: parse, find out with the session which partitions are meant, read each, and answer as soon as there are enough
// bytes, an error, or no time left; until then the operation waits in purgatory. Records are not copied: the response
// is made of what is encoded here and of ranges of segment files, which it holds until it has left.

// fetchOp is one Fetch request from its arrival until its response has left.
type fetchOp struct {
	parked
	request wire.FetchRequest
	session *session.Session // of an incremental request
	parts   []fetchPart
	aborted []wire.AbortedTransaction      // backs the aborted transactions of the parts
	found   []partition.AbortedTransaction // of one part, as its log gives them
	names   []byte                         // backs the names of topics that are not known here

	bytesMin int
	bytesMax int
	bytes    int  // of the records read
	served   int  // parts that have a replica
	enough   bool // the answer cannot wait: some part has an error, or more than fits
	waiting  bool // in purgatory
	waited   bool // it was woken there, with the bytes that it answers
	cold     coldRead

	busy     time.Duration // on a thread, until the first look was over
	throttle int32         // milliseconds for which the client has to wait

	errorCode int16 // of the whole answer
	encoder   wire.FetchResponseEncoder
	endpoints []wire.NodeEndpoint
	cuts      []cut
	pieces    []netpoll.Piece
	buf       []byte
}

// cut is a place in the encoded bytes where the records of a part belong.
type cut struct{ at, part int }

// fetchPart is one partition of a fetch.
type fetchPart struct {
	replica *replica.Replica // nil: refused before any read
	name    []byte
	id      kafka.UUID
	index   kafka.PartitionIndex
	entry   *session.Partition // of an incremental request

	ask      replica.ReadOptions
	bytesMax int
	logStart kafka.Offset // of a follower

	changes   uint64 // of the replica's watchers, before it was read
	read      replica.ReadResult
	had       bool // it had records, which are given back while the operation waits for more
	code      int16
	unknown   bool // there is no such topic or partition
	aborted   int  // where this part's aborted transactions begin in those of the operation,
	abortedTo int  // and where they end
	watch     int  // which watch of the operation is this part's
	quiet     bool // the session has nothing new to tell
}

func fetch(c *Context) error {
	o, _ := c.Node.fetches.Get().(*fetchOp)
	if o == nil {
		o = &fetchOp{}
		o.self = o
		o.cold.fetch = o
		o.Init(o)
	}
	o.begin(c)
	if err := o.request.Parse(c.Header.Version, c.Body); err != nil && !wire.OnlyLeftOver(err) {
		o.recycle()
		return err
	}
	o.bytesMax = min(int(o.request.MaxBytes), o.node.FetchBytesMax)
	if most, limited := o.account.burst(quota.Fetch); limited {
		// More at once would have to wait in any case, so nothing could ever be had.
		o.bytesMax = int(min(float64(o.bytesMax), most))
	}
	o.bytesMin = min(int(o.request.MinBytes), o.bytesMax)
	o.choose()
	o.stage(o.meter().decode)
	if o.errorCode != kafka.NoError {
		o.busy = o.since.Sub(o.received)
		o.respond()
		return nil
	}
	o.look()
	return nil
}

func (o *fetchOp) meter() *Meter { return o.node.Meters.Of(wire.KeyFetch) }

// usesTopicIDs tells how the request names topics.
func (o *fetchOp) usesTopicIDs() bool { return o.version >= 13 }

// choose lists the partitions that are meant: those that the request names, or all of its session.
func (o *fetchOp) choose() {
	if session.IsFull(o.request.SessionEpoch) {
		o.node.Sessions.closeID(o.request.SessionID)
		o.parts = slices.Grow(o.parts, o.askedCount())
		for i := range o.request.Topics {
			t := &o.request.Topics[i]
			topic := o.findTopic(t.Name, t.ID)
			name := o.keepName(topic, t.Name)
			for j := range t.Partitions {
				want := wanted(t, &t.Partitions[j])
				o.addAsked(topic, name, &want)
			}
		}
		return
	}
	if err := o.node.Sessions.begin(o); err != nil {
		o.errorCode = kafka.CodeOf(err)
		o.meter().Fail(o.errorCode)
	}
}

func (o *fetchOp) askedCount() int {
	n := 0
	for i := range o.request.Topics {
		n += len(o.request.Topics[i].Partitions)
	}
	return n
}

func (o *fetchOp) findTopic(name []byte, id kafka.UUID) *replica.Topic {
	if o.usesTopicIDs() {
		return o.node.Replicas.TopicByID(id)
	}
	return o.node.Replicas.Topic(name)
}

// keepName gives a topic's name as bytes that outlive the request.
func (o *fetchOp) keepName(topic *replica.Topic, name []byte) []byte {
	if topic != nil {
		return topic.NameBytes
	}
	first := len(o.names)
	o.names = append(o.names, name...)
	return o.names[first:]
}

// addAsked adds a partition that the request names.
func (o *fetchOp) addAsked(topic *replica.Topic, name []byte, w *session.Want) {
	o.parts = append(o.parts, fetchPart{
		name: name, id: w.TopicID, index: w.Partition, bytesMax: int(w.BytesMax), logStart: w.LogStartOffset,
		ask: replica.ReadOptions{
			Offset: w.FetchOffset, CurrentLeaderEpoch: w.CurrentLeaderEpoch, LastFetchedEpoch: w.LastFetchedEpoch,
		},
	})
	o.admit(topic, &o.parts[len(o.parts)-1])
}

// addCached adds a partition of the session. The session's lock is held.
func (o *fetchOp) addCached(p *session.Partition) {
	var topic *replica.Topic
	if o.usesTopicIDs() {
		topic = o.node.Replicas.TopicByID(p.TopicID)
	} else {
		topic = o.node.Replicas.TopicNamed(p.Topic)
	}
	var name []byte
	if topic != nil {
		name = topic.NameBytes
	} else {
		first := len(o.names)
		o.names = append(o.names, p.Topic...)
		name = o.names[first:]
	}
	o.parts = append(o.parts, fetchPart{
		name: name, id: p.TopicID, index: p.Index, entry: p, bytesMax: int(p.BytesMax), logStart: p.FollowerLogStart,
		ask: replica.ReadOptions{
			Offset: p.FetchOffset, CurrentLeaderEpoch: p.CurrentLeaderEpoch, LastFetchedEpoch: p.LastFetchedEpoch,
		},
	})
	o.admit(topic, &o.parts[len(o.parts)-1])
}

// admit finds the part's replica, or the reason why it cannot be read here. As in Kafka, an unknown topic alone does
// not make the answer leave early: a client would ask again at once.
func (o *fetchOp) admit(topic *replica.Topic, p *fetchPart) {
	p.ask.Committed = o.request.IsolationLevel == wire.ReadCommitted
	p.changes = notRead
	p.clear()
	var r *replica.Replica
	if topic != nil {
		r = topic.Partition(p.index)
	}
	switch {
	case topic == nil && o.usesTopicIDs():
		o.refuse(p, kafka.UnknownTopicID)
		p.unknown = true
	case topic != nil && r == nil && o.node.elsewhere(topic.ID, p.index):
		o.refuse(p, kafka.NotLeaderOrFollower)
		o.enough = true
	case r == nil:
		o.refuse(p, kafka.UnknownTopicOrPartition)
		p.unknown = true
	case o.request.IsolationLevel != wire.ReadUncommitted && o.request.IsolationLevel != wire.ReadCommitted:
		o.refuse(p, kafka.UnknownServerError) // as Kafka, which trips over it
		p.unknown = true
		o.errorCode = p.code
	case o.request.ReplicaID >= 0:
		// No other broker has a replica: who says that it follows is not in the assignment.
		if p.ask.CurrentLeaderEpoch < 0 {
			o.refuse(p, kafka.NotLeaderOrFollower)
		} else {
			o.refuse(p, kafka.UnknownLeaderEpoch)
		}
		o.enough = true
	default:
		p.replica = r
		o.served++
	}
}

// notRead is a count of changes that no list reaches.
const notRead = ^uint64(0)

// refuse answers a part with an error without reading anything.
func (o *fetchOp) refuse(p *fetchPart, err *kafka.Error) {
	p.code = err.Code
	o.meter().Fail(err.Code)
}

// clear sets the part's answer back to that of an error.
func (p *fetchPart) clear() {
	p.code = kafka.NoError
	p.read = replica.ReadResult{
		HighWatermark: kafka.NoOffset, LastStableOffset: kafka.NoOffset, LogStartOffset: kafka.NoOffset,
		DivergingEpoch: kafka.NoLeaderEpoch, DivergingEnd: kafka.NoOffset,
	}
}

// want is what the part asks, in the session's words.
func (p *fetchPart) want(usesTopicIDs bool) session.Want {
	w := session.Want{
		TopicID: p.id, Partition: p.index, FetchOffset: p.ask.Offset, CurrentLeaderEpoch: p.ask.CurrentLeaderEpoch,
		LastFetchedEpoch: p.ask.LastFetchedEpoch, LogStartOffset: p.logStart, BytesMax: int32(p.bytesMax),
	}
	if !usesTopicIDs {
		w.Topic = p.name
	}
	return w
}

// told is what the part answers, in the session's words.
func (p *fetchPart) told() session.Told {
	return session.Told{
		HighWatermark: p.read.HighWatermark, LogStartOffset: p.read.LogStartOffset,
		RecordsBytes: p.read.Records.Length(), Failed: p.code != kafka.NoError,
		Diverging: p.read.DivergingEpoch != kafka.NoLeaderEpoch,
	}
}
