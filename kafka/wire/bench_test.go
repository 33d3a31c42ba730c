package wire

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The benchmarks compare this package's codec of the hot requests with kmsg's, over the shapes that matter: one
// partition a request, and many.

var hotShapes = []struct{ topics, partitions int }{{1, 1}, {10, 10}}

func BenchmarkProduceParse(b *testing.B) {
	for _, shape := range hotShapes {
		frame := frameOf(hotProduce(13, shape.topics, shape.partitions, 1024))
		b.Run(fmt.Sprintf("own/partitions=%d", shape.topics*shape.partitions), func(b *testing.B) {
			var request ProduceRequest
			b.ReportAllocs()
			for b.Loop() {
				h, body, err := ParseHeader(frame)
				if err != nil || request.Parse(h.Version, body) != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("kmsg/partitions=%d", shape.topics*shape.partitions), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h, body, err := ParseHeader(frame)
				request := kmsg.ProduceRequest{Version: h.Version}
				if err != nil || request.UnsafeReadFrom(body) != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkProduceRespond(b *testing.B) {
	for _, shape := range hotShapes {
		response := hotProduceResponse(shape.topics, shape.partitions)
		response.Endpoints = nil
		for i := range response.Topics {
			for j := range response.Topics[i].Partitions {
				p := &response.Topics[i].Partitions[j]
				p.RecordErrors, p.ErrorMessage, p.Leader = nil, "", CurrentLeader{}
			}
		}
		b.Run(fmt.Sprintf("partitions=%d", shape.topics*shape.partitions), func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = BeginFrame(buf[:0], KeyProduce, 13, 7)
				buf = EndFrame(AppendProduceResponse(buf, 13, response), 0, 0)
			}
		})
	}
}

func BenchmarkFetchParse(b *testing.B) {
	for _, shape := range hotShapes {
		frame := frameOf(hotFetch(18, shape.topics, shape.partitions))
		b.Run(fmt.Sprintf("own/partitions=%d", shape.topics*shape.partitions), func(b *testing.B) {
			var request FetchRequest
			b.ReportAllocs()
			for b.Loop() {
				h, body, err := ParseHeader(frame)
				if err != nil || request.Parse(h.Version, body) != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("kmsg/partitions=%d", shape.topics*shape.partitions), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h, body, err := ParseHeader(frame)
				request := kmsg.FetchRequest{Version: h.Version}
				if err != nil || request.UnsafeReadFrom(body) != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkFetchRespond(b *testing.B) {
	for _, shape := range hotShapes {
		frame := frameOf(hotFetch(18, shape.topics, shape.partitions))
		_, body, _ := ParseHeader(frame)
		var request FetchRequest
		if err := request.Parse(18, body); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("partitions=%d", shape.topics*shape.partitions), func(b *testing.B) {
			var buf []byte
			var encoder FetchResponseEncoder
			b.ReportAllocs()
			for b.Loop() {
				buf = encodeHotFetch(&encoder, buf[:0], 18, &request)
			}
		})
	}
}

func BenchmarkDecodeMetadata(b *testing.B) {
	for _, topics := range []int{1, 100} {
		request := kmsg.NewPtrMetadataRequest()
		request.Version = 13
		for i := range topics {
			name := fmt.Sprint("topic-", i)
			request.Topics = append(request.Topics, kmsg.MetadataRequestTopic{Topic: &name})
		}
		body := request.AppendTo(nil)
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeRequest(KeyMetadata, 13, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
