package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/wire"
	"spate/partition"
	"spate/replica"
)

// ListOffsets: where a log begins and ends, and where a time is in it. A real time and the largest timestamp are looked
// up in segments, which may be cold, so those wait on a worker; the rest is known.

// The timestamps that mean something else than a time.
const (
	latestTimestamp                kafka.Timestamp = -1
	earliestTimestamp              kafka.Timestamp = -2
	maxTimestamp                   kafka.Timestamp = -3
	earliestLocalTimestamp         kafka.Timestamp = -4
	latestTieredTimestamp          kafka.Timestamp = -5
	earliestPendingUploadTimestamp kafka.Timestamp = -6
)

// timestampSince is the first version in which each of them may be asked for, by its negation.
var timestampSince = [...]int16{
	-latestTimestamp: 1, -earliestTimestamp: 1, -maxTimestamp: 7, -earliestLocalTimestamp: 8,
	-latestTieredTimestamp: 9, -earliestPendingUploadTimestamp: 11,
}

// Who asks, where it is not a follower.
const (
	consumerReplica  = -1
	debuggingReplica = -2 // reads followers too, and past the high watermark
)

// nothingFound is the answer where there is no such offset, and beside an error.
var nothingFound = partition.TimestampOffset{
	Timestamp: kafka.NoTimestamp, Offset: kafka.NoOffset, LeaderEpoch: kafka.NoLeaderEpoch,
}

// listOffsetsBlocks tells whether some partition has to be searched, or there are many.
func listOffsetsBlocks(_ *Context, r kmsg.Request) bool {
	asked := 0
	for _, t := range r.(*kmsg.ListOffsetsRequest).Topics {
		if asked += len(t.Partitions); asked > inlineMax {
			return true
		}
		for i := range t.Partitions {
			if ts := kafka.Timestamp(t.Partitions[i].Timestamp); ts >= 0 || ts == maxTimestamp {
				return true
			}
		}
	}
	return false
}

func listOffsets(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.ListOffsetsRequest)
	response := request.ResponseKind().(*kmsg.ListOffsetsResponse)
	counts := countPartitions(request)
	topics := make(map[string]int, len(request.Topics)) // where a topic is in the response
	for i := range request.Topics {
		asked := &request.Topics[i]
		at, ok := topics[asked.Topic]
		if !ok {
			at = len(response.Topics)
			topics[asked.Topic] = at
			response.Topics = append(response.Topics, kmsg.ListOffsetsResponseTopic{Topic: asked.Topic})
		}
		told := &response.Topics[at]
		for j := range asked.Partitions {
			p := &asked.Partitions[j]
			tp := kafka.TopicPartition{Topic: asked.Topic, Partition: kafka.PartitionIndex(p.Partition)}
			found, err := nothingFound, error(kafka.InvalidRequest)
			switch count := counts[tp]; {
			case count == 0:
				continue // a repetition that has been refused
			case count > 1:
				counts[tp] = 0
			default:
				found, err = c.findOffset(request, tp, p)
			}
			told.Partitions = append(told.Partitions, kmsg.ListOffsetsResponseTopicPartition{
				Partition: p.Partition, ErrorCode: c.fail(offsetErrorCode(err, request.Version)),
				Timestamp: int64(found.Timestamp), Offset: int64(found.Offset), LeaderEpoch: int32(found.LeaderEpoch),
			})
		}
	}
	return response, nil
}

// countPartitions counts how often each partition is asked for.
func countPartitions(request *kmsg.ListOffsetsRequest) map[kafka.TopicPartition]int {
	counts := make(map[kafka.TopicPartition]int)
	for i := range request.Topics {
		t := &request.Topics[i]
		for j := range t.Partitions {
			counts[kafka.TopicPartition{Topic: t.Topic, Partition: kafka.PartitionIndex(t.Partitions[j].Partition)}]++
		}
	}
	return counts
}

// offsetErrorCode is the code of err in a version: OFFSET_NOT_AVAILABLE is newer than the API.
func offsetErrorCode(err error, version int16) int16 {
	code := kafka.CodeOf(err)
	if code == kafka.OffsetNotAvailable.Code && version < 5 {
		return kafka.LeaderNotAvailable.Code
	}
	return code
}

// findOffset answers for one partition; beside an error it is nothingFound.
func (c *Context) findOffset(request *kmsg.ListOffsetsRequest, tp kafka.TopicPartition,
	p *kmsg.ListOffsetsRequestTopicPartition) (partition.TimestampOffset, error) {
	ts := kafka.Timestamp(p.Timestamp)
	if ts < 0 && (-ts >= kafka.Timestamp(len(timestampSince)) || -ts < 0 || request.Version < timestampSince[-ts]) {
		return nothingFound, kafka.UnsupportedVersion
	}
	r, err := c.Node.hosted(tp.Topic, tp.Partition)
	if err != nil {
		return nothingFound, err
	}
	check := r.Lead
	if request.ReplicaID == debuggingReplica {
		check = r.Check
	}
	v, err := inEpoch(check, p.CurrentLeaderEpoch)
	if err != nil {
		return nothingFound, err
	}
	q := offsetQuery{view: v, end: v.Log.LogEndOffset()}
	if request.ReplicaID == consumerReplica {
		q.restrict(wire.IsolationLevel(request.IsolationLevel))
	}
	return q.find(ts)
}

// offsetQuery is a look-up in one log.
type offsetQuery struct {
	view *replica.View
	end  kafka.Offset // nothing at or past it may be told
	// lagging says that the high watermark has not reached the start of the leader epoch yet: the last leader may have
	// shown more than this one does now.
	lagging bool
}

// restrict makes it the query of a consumer.
func (q *offsetQuery) restrict(level wire.IsolationLevel) {
	mark := q.view.Log.HighWatermark()
	q.end = mark
	if level == wire.ReadCommitted {
		q.end = q.view.Log.LastStableOffset()
	}
	_, epochStart := q.view.Log.EpochEndOffset(q.view.LeaderEpoch - 1)
	q.lagging = epochStart > mark
}

func (q *offsetQuery) find(ts kafka.Timestamp) (found partition.TimestampOffset, err error) {
	log := q.view.Log
	switch ts {
	case latestTimestamp:
		if q.lagging {
			return nothingFound, kafka.OffsetNotAvailable
		}
		return partition.TimestampOffset{
			Timestamp: kafka.NoTimestamp, Offset: q.end, LeaderEpoch: q.view.LeaderEpoch,
		}, nil
	case earliestTimestamp, earliestLocalTimestamp: // all of the log is local
		return log.EarliestOffset(), nil
	case latestTieredTimestamp, earliestPendingUploadTimestamp: // nothing is, nor will be, elsewhere
		return nothingFound, nil
	case maxTimestamp:
		found, err = log.MaxTimestampOffset()
	default:
		invariant.Check(ts >= 0, "the timestamp %d was let pass", ts)
		found, err = log.OffsetForTimestamp(ts)
	}
	if err != nil {
		return nothingFound, err
	}
	if found.Offset == kafka.NoOffset || found.Offset >= q.end {
		if q.lagging {
			return nothingFound, kafka.OffsetNotAvailable
		}
		return nothingFound, nil
	}
	return found, nil
}
