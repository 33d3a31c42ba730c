package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/runtime"
	"spate/kafka"
)

// WriteTxnMarkers: ends transactions in partitions, for a coordinator on another broker, or for an administrator who
// aborts one that no coordinator knows of.

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
	for i := range request.Markers {
		if len(markedPartitions(&request.Markers[i])) > 0 {
			a.tellMarker(response, &request.Markers[i], errs[i], all)
		}
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

// tellMarker adds what became of a marker: errs by partition, or one error for all.
func (a *Asked) tellMarker(response *kmsg.WriteTxnMarkersResponse, m *kmsg.WriteTxnMarkersRequestMarker, errs []error,
	all error) {
	told := producerMarkers(response, m.ProducerID)
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

// producerMarkers is the place for a producer in the response: there is one for each, however many markers it has.
func producerMarkers(response *kmsg.WriteTxnMarkersResponse, id int64) *kmsg.WriteTxnMarkersResponseMarker {
	for i := range response.Markers {
		if response.Markers[i].ProducerID == id {
			return &response.Markers[i]
		}
	}
	response.Markers = append(response.Markers, kmsg.WriteTxnMarkersResponseMarker{ProducerID: id})
	return &response.Markers[len(response.Markers)-1]
}
