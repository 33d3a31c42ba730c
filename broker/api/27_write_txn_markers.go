package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
	"spate/kafka"
)

// WriteTxnMarkers: ends transactions in partitions, for a coordinator on another broker, or for an administrator who
// aborts one that no coordinator knows of.

func writeTxnMarkersBlocks(_ *Context, r kmsg.Request) bool {
	request := r.(*kmsg.WriteTxnMarkersRequest)
	return len(request.Markers)+marksOf(request) > inlineMax
}

// marksOf counts the topics and the partitions of a request.
func marksOf(request *kmsg.WriteTxnMarkersRequest) int {
	n := 0
	for i := range request.Markers {
		for j := range request.Markers[i].Topics {
			n += 1 + len(request.Markers[i].Topics[j].Partitions)
		}
	}
	return n
}

// markBytes is what a marker in a partition costs until it is committed: the job, its name, its place on the list of
// those who wait there, the error and its place in the answer. On the wire it may be four bytes.
const markBytes = 256

func writeTxnMarkers(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.WriteTxnMarkersRequest)
	markers := request.Markers
	errs := make([][]error, len(markers))
	for i := range markers {
		if markers[i].ProducerID < 0 || markers[i].ProducerEpoch < 0 {
			a.Answer(a.tellMarkers(request, errs, kafka.UnknownServerError)) // as Kafka, which trips over it
			return
		}
	}
	a.charge(int64(marksOf(request)) * markBytes)
	a.gather(len(markers), func(i int, to runtime.Done) {
		m := &markers[i]
		c.Node.WriteMarker(Marker{
			ProducerID: kafka.ProducerID(m.ProducerID), ProducerEpoch: kafka.ProducerEpoch(m.ProducerEpoch),
			Commit: m.Committed, CoordinatorEpoch: m.CoordinatorEpoch, TransactionVersion: int16(m.TransactionVersion),
		}, markedPartitions(m), func(told []error) {
			errs[i] = told
			to.Done(nil, nil)
		})
	}, func(answers []said) {
		var all error
		for i := range answers {
			if all == nil {
				all = answers[i].err // too much is under way here
			}
		}
		a.Answer(a.tellMarkers(request, errs, all))
	})
}

// tellMarkers makes the answer: errs by marker and partition, or one error for all.
func (a *Asked) tellMarkers(request *kmsg.WriteTxnMarkersRequest, errs [][]error, all error) kmsg.Response {
	response := request.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	places := make(map[int64]int, len(request.Markers)) // of a producer in the response: one, however many markers
	for i := range request.Markers {
		m := &request.Markers[i]
		if !hasPartitions(m) {
			continue
		}
		at, known := places[m.ProducerID]
		if !known {
			at = len(response.Markers)
			places[m.ProducerID] = at
			response.Markers = append(response.Markers, kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID})
		}
		a.tellMarker(&response.Markers[at], m, errs[i], all)
	}
	return response
}

// markedPartitions are the partitions of a marker, in order.
func markedPartitions(m *kmsg.WriteTxnMarkersRequestMarker) []kafka.TopicPartition {
	var list []kafka.TopicPartition
	for i := range m.Topics {
		for _, p := range m.Topics[i].Partitions {
			list = append(list, kafka.TopicPartition{Topic: m.Topics[i].Topic, Partition: kafka.PartitionIndex(p)})
		}
	}
	return list
}

func hasPartitions(m *kmsg.WriteTxnMarkersRequestMarker) bool {
	for i := range m.Topics {
		if len(m.Topics[i].Partitions) > 0 {
			return true
		}
	}
	return false
}

// tellMarker adds what became of a marker: errs by partition, or one error for all.
func (a *Asked) tellMarker(
	told *kmsg.WriteTxnMarkersResponseMarker, m *kmsg.WriteTxnMarkersRequestMarker, errs []error, all error,
) {
	next := 0
	for i := range m.Topics {
		topic := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: m.Topics[i].Topic}
		for _, p := range m.Topics[i].Partitions {
			err := all
			if err == nil {
				err = errs[next]
			}
			next++
			topic.Partitions = append(topic.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{
				Partition: p, ErrorCode: a.code(err),
			})
		}
		told.Topics = append(told.Topics, topic)
	}
}
