package wire

import (
	"slices"

	"spate/kafka"
)

// ProduceRequest is a Produce request as views over its frame. The zero value is ready; Parse may be called again and
// again, and reuses the slices.
type ProduceRequest struct {
	TransactionalID []byte // nil for null
	Acks            int16
	TimeoutMs       int32
	Topics          []ProduceTopic

	partitions []ProducePartition // backs Topics[i].Partitions
}

// ProduceTopic is one topic of a ProduceRequest.
type ProduceTopic struct {
	Name       []byte     // nil from version 13 on
	ID         kafka.UUID // zero before version 13
	Partitions []ProducePartition
}

// ProducePartition is the records for one partition.
type ProducePartition struct {
	Index   kafka.PartitionIndex
	Records []byte // nil for null
}

// produceIDVersion is the first version that names topics by id.
const produceIDVersion = 13

// Parse decodes body, the body of a Produce request in a version that Served allows. The error is a *DecodeError,
// or a *LeftOverError after everything was read.
func (p *ProduceRequest) Parse(version int16, body []byte) error {
	r := reader{src: body, flexible: version >= Served[0].Flexible}
	p.reset()
	p.TransactionalID = r.nullableString()
	p.Acks = r.int16()
	p.TimeoutMs = r.int32()
	n := r.array(produceTopicBytes(version))
	p.Topics = slices.Grow(p.Topics, n)[:n]
	for i := 0; i < n && r.ok(); i++ {
		p.parseTopic(&r, version, &p.Topics[i])
	}
	r.skipTags()
	return r.end(KeyProduce, version)
}

func (p *ProduceRequest) reset() {
	topics, partitions := p.Topics[:0], p.partitions[:0]
	if cap(topics) > elementsKept || cap(partitions) > elementsKept {
		topics, partitions = nil, nil
	}
	*p = ProduceRequest{Topics: topics, partitions: partitions}
}

// produceTopicBytes is the least length of a topic: its name or id and the count of its partitions.
func produceTopicBytes(version int16) int {
	switch {
	case version >= produceIDVersion:
		return 16 + 1 + 1
	case version >= Served[0].Flexible:
		return 1 + 1 + 1
	}
	return 2 + 4
}

func (p *ProduceRequest) parseTopic(r *reader, version int16, t *ProduceTopic) {
	*t = ProduceTopic{}
	if version >= produceIDVersion {
		t.ID = r.uuid()
	} else {
		t.Name = r.string()
	}
	first, n := len(p.partitions), r.array(4+1)
	p.partitions = slices.Grow(p.partitions, n)[:first+n]
	t.Partitions = p.partitions[first : first+n : first+n]
	for i := 0; i < n && r.ok(); i++ {
		t.Partitions[i] = ProducePartition{
			Index:   kafka.PartitionIndex(r.int32()),
			Records: r.nullableBytes(),
		}
		r.skipTags()
	}
	r.skipTags()
}
