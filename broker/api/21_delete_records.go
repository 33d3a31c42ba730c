package api

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/partition"
)

// DeleteRecords: what lies below an offset cannot be read from now on; retention removes the segments. The answer waits
// on a worker until the new starts are on the disk, so that no crash brings the records back.

const (
	// highWatermarkOffset, as the offset of a request, is the high watermark.
	highWatermarkOffset = -1
	// noLowWatermark is the low watermark beside an error.
	noLowWatermark = -1
)

func deleteRecords(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DeleteRecordsRequest)
	response := request.ResponseKind().(*kmsg.DeleteRecordsResponse)
	d := deletion{node: c.Node, offsets: map[kafka.TopicPartition]int64{}, dirs: map[*partition.LogDir]error{}}
	for i := range request.Topics {
		for _, p := range request.Topics[i].Partitions { // of a partition that is named twice the last one counts
			tp := kafka.TopicPartition{Topic: request.Topics[i].Topic, Partition: kafka.PartitionIndex(p.Partition)}
			d.add(tp, p.Offset)
		}
	}
	d.run()
	topics := map[string]int{} // where a topic is in the response
	for i, tp := range d.order {
		result := &d.results[i]
		err := result.err
		if err == nil {
			err = d.dirs[result.dir]
		}
		if err != nil {
			result.low = noLowWatermark
		}
		at, ok := topics[tp.Topic]
		if !ok {
			at = len(response.Topics)
			topics[tp.Topic] = at
			response.Topics = append(response.Topics, kmsg.DeleteRecordsResponseTopic{Topic: tp.Topic})
		}
		response.Topics[at].Partitions = append(response.Topics[at].Partitions,
			kmsg.DeleteRecordsResponseTopicPartition{
				Partition: int32(tp.Partition), LowWatermark: int64(result.low), ErrorCode: c.fail(kafka.CodeOf(err)),
			})
	}
	return response, nil
}

// deletion is the work of one request.
type deletion struct {
	node    *Node
	order   []kafka.TopicPartition // each once
	offsets map[kafka.TopicPartition]int64
	results []deleted
	dirs    map[*partition.LogDir]error // that have new starts to record, and how that went
}

// deleted is what became of one partition.
type deleted struct {
	low kafka.Offset
	dir *partition.LogDir
	err error
}

func (d *deletion) add(tp kafka.TopicPartition, offset int64) {
	if _, named := d.offsets[tp]; !named {
		d.order = append(d.order, tp)
	}
	d.offsets[tp] = offset
}

// run deletes, and then makes it durable, once for each directory.
func (d *deletion) run() {
	d.results = make([]deleted, len(d.order))
	for i, tp := range d.order {
		result := &d.results[i]
		result.low, result.dir, result.err = d.node.deleteTo(tp, d.offsets[tp])
		if result.err == nil {
			d.dirs[result.dir] = nil
		}
	}
	for dir := range d.dirs {
		d.dirs[dir] = dir.SaveStarts()
	}
}

// deleteTo deletes the records of one partition below an offset, and gives its low watermark.
func (n *Node) deleteTo(tp kafka.TopicPartition, offset int64) (kafka.Offset, *partition.LogDir, error) {
	if n.Image().Partition(tp.Topic, tp.Partition) == nil {
		return 0, nil, kafka.UnknownTopicOrPartition
	}
	if kafka.IsInternalTopic(tp.Topic) {
		return 0, nil, fmt.Errorf("%w: records of internal topics are not deleted", kafka.InvalidTopicException)
	}
	r, err := n.hosted(tp.Topic, tp.Partition)
	if err != nil {
		return 0, nil, err
	}
	v, err := r.Lead(kafka.NoLeaderEpoch)
	if err != nil {
		return 0, nil, err
	}
	log := v.Log
	if config := log.Config(); config.Compact && !config.Delete {
		return 0, nil, kafka.PolicyViolation
	}
	to := kafka.Offset(offset)
	switch {
	case offset == highWatermarkOffset:
		to = log.HighWatermark()
	case offset < 0:
		return 0, nil, kafka.OffsetOutOfRange
	}
	if err = log.DeleteTo(to); err != nil {
		return 0, nil, err
	}
	return log.LogStartOffset(), log.Dir(), nil
}
