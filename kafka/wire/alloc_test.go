package wire

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// hotProduce is a Produce request over topics × partitions, each with records of recordsBytes.
func hotProduce(version int16, topics, partitions, recordsBytes int) *kmsg.ProduceRequest {
	request := kmsg.NewPtrProduceRequest()
	request.Version = version
	for i := range topics {
		topic := kmsg.ProduceRequestTopic{Topic: fmt.Sprint("topic-", i), TopicID: [16]byte{1, byte(i)}}
		for j := range partitions {
			topic.Partitions = append(topic.Partitions, kmsg.ProduceRequestTopicPartition{
				Partition: int32(j), Records: make([]byte, recordsBytes),
			})
		}
		request.Topics = append(request.Topics, topic)
	}
	return request
}

// hotFetch is a Fetch request over topics × partitions.
func hotFetch(version int16, topics, partitions int) *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.Version, request.MaxWaitMillis, request.MaxBytes = version, 500, 50<<20
	for i := range topics {
		topic := kmsg.FetchRequestTopic{Topic: fmt.Sprint("topic-", i), TopicID: [16]byte{1, byte(i)}}
		for j := range partitions {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(j), 1<<40, 1<<20
			topic.Partitions = append(topic.Partitions, p)
		}
		request.Topics = append(request.Topics, topic)
	}
	return request
}

func frameOf(request kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("producer-1")).AppendRequest(nil, request, 7)[4:]
}

// hotProduceResponse answers hotProduce, with hints at another leader and record errors too.
func hotProduceResponse(topics, partitions int) *ProduceResponse {
	other := NodeEndpoint{Node: 2, Host: "broker-2.example.org", Port: 9092, Rack: "a"}
	response := &ProduceResponse{Endpoints: []NodeEndpoint{other}}
	for i := range topics {
		topic := ProduceTopicResponse{Name: fmt.Append(nil, "topic-", i), ID: kafka.UUID{1, byte(i)}}
		for j := range partitions {
			topic.Partitions = append(topic.Partitions, ProducePartitionResponse{
				Index: kafka.PartitionIndex(j), BaseOffset: 1 << 40, LogAppendTime: kafka.NoTimestamp,
				RecordErrors: []RecordError{{1, "no key"}}, ErrorMessage: "one record is wrong",
				Leader: CurrentLeader{true, 2, 5},
			})
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}

// encodeHotFetch answers hotFetch.
func encodeHotFetch(e *FetchResponseEncoder, dst []byte, version int16, request *FetchRequest) []byte {
	e.Begin(dst, version, FetchResponseHead{CorrelationID: 7, SessionID: 1, TopicCount: len(request.Topics)})
	result := FetchPartitionResult{
		HighWatermark: 1 << 41, LastStableOffset: 1 << 41, PreferredReadReplica: kafka.NoBroker,
		Leader: CurrentLeader{true, 2, 5},
	}
	for i := range request.Topics {
		t := &request.Topics[i]
		e.Topic(t.Name, t.ID, len(t.Partitions))
		for j := range t.Partitions {
			result.Index = t.Partitions[j].Index
			e.Partition(&result, 1<<20)
			e.EndPartition()
		}
		e.EndTopic()
	}
	return e.End(nil)
}

// Goal: in the steady state, decoding and answering Produce and Fetch does not allocate, at any version. Method: the
// second and later use of the same values.
func TestHotPathDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1<<16)
	check := func(name string, version int16, run func()) {
		t.Helper()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s v%d: %v allocations", name, version, n)
		}
	}
	for _, version := range versions(KeyProduce) {
		frame := frameOf(hotProduce(version, 3, 4, 100))
		var request ProduceRequest
		check("Produce request", version, func() {
			_, body, err := ParseHeader(frame)
			if err != nil || request.Parse(version, body) != nil || len(request.Topics) != 3 {
				t.Fatal("not parsed")
			}
		})
		response := hotProduceResponse(3, 4)
		check("Produce response", version, func() {
			buf = BeginFrame(buf[:0], KeyProduce, version, 7)
			buf = EndFrame(AppendProduceResponse(buf, version, response), 0, 0)
		})
	}
	for _, version := range versions(KeyFetch) {
		frame := frameOf(hotFetch(version, 3, 4))
		var request FetchRequest
		check("Fetch request", version, func() {
			_, body, err := ParseHeader(frame)
			if err != nil || request.Parse(version, body) != nil || len(request.Topics) != 3 {
				t.Fatal("not parsed")
			}
		})
		var encoder FetchResponseEncoder
		check("Fetch response", version, func() { buf = encodeHotFetch(&encoder, buf[:0], version, &request) })
	}
}

// Goal: a hostile Produce or Fetch body allocates in proportion to its own length. Method: bodies of minimal elements
// without end, and bodies that lie about their counts.
func TestHotParsersAllocateInProportion(t *testing.T) {
	hostile := func(body []byte) (bodies [][]byte) {
		bodies = append(bodies, body)
		for at := 0; at+4 <= min(len(body), 80); at += 5 {
			for _, claim := range []int32{0x7fffffff, int32(len(body) - at - 4), -1, -1 << 31} {
				lying := append([]byte(nil), body...)
				copy(lying[at:], appendInt32(nil, claim))
				bodies = append(bodies, lying)
			}
		}
		return bodies
	}
	for _, version := range versions(KeyProduce) {
		many, wide := hotProduce(version, 1000, 0, 0), hotProduce(version, 1, 1000, 0)
		for _, request := range []*kmsg.ProduceRequest{many, wide} {
			for _, body := range hostile(request.AppendTo(nil)) {
				checkAllocates(t, fmt.Sprint("Produce v", version), len(body), func() {
					var p ProduceRequest
					_ = p.Parse(version, body)
				})
			}
		}
	}
	for _, version := range versions(KeyFetch) {
		for _, request := range []*kmsg.FetchRequest{hotFetch(version, 1000, 0), hotFetch(version, 1, 1000)} {
			for _, body := range hostile(request.AppendTo(nil)) {
				checkAllocates(t, fmt.Sprint("Fetch v", version), len(body), func() {
					var f FetchRequest
					_ = f.Parse(version, body)
				})
			}
		}
	}
}
