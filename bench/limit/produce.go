package limit

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/bench"
	"spate/kafka"
	"spate/kafka/record"
	"spate/kafka/wire"
)

// Produce is a load of Produce requests with acks=all, each of one batch for partition 0 of a topic.
type Produce struct {
	topic string
	// As many requests as can be on their way at a time, which are sent again and again.
	batches [InFlight]record.Batch
	frames  [InFlight][]byte
	sums    [InFlight]uint32 // CRC-32C of the frames
}

// NewProduce makes requests with batches of exactly so many bytes.
func NewProduce(topic string, batchBytes int) (*Produce, error) {
	p := &Produce{topic: topic}
	for n := range InFlight {
		b, err := newBatch(batchBytes, n)
		if err != nil {
			return nil, err
		}
		request := kmsg.NewPtrProduceRequest()
		request.Acks, request.TimeoutMillis = -1, 30_000
		request.Topics = []kmsg.ProduceRequestTopic{{
			Topic:      topic,
			Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b}},
		}}
		p.batches[n], p.frames[n] = b, frame(request, n)
		p.sums[n] = crc32.Checksum(p.frames[n], crc32.MakeTable(crc32.Castagnoli))
	}
	return p, nil
}

// records is how many there are in each batch.
func (p *Produce) records() int64 { return int64(p.batches[0].Count()) }

// Bytes is the size of a batch.
func (p *Produce) Bytes() int { return len(p.batches[0]) }

// Prepare does nothing: the topic is enough.
func (p *Produce) Prepare(context.Context, bench.Target) error { return nil }

// Broker has the answers say that the records follow each other.
func (p *Produce) Broker(ctx context.Context, t bench.Target, n int) (float64, error) {
	var end int64
	return p.load(func(n int, base int64) error {
		if n > 0 && base != end {
			return fmt.Errorf("the base offset %d comes after the end %d", base, end)
		}
		end = base + p.records()
		return nil
	}).run(ctx, t, n)
}

// answerOffset is the base offset in the answers of a server that computes no checksums.
const answerOffset = 0x5ac3b10f

// Start has the program append the requests to the file, and answer like a broker.
func (p *Produce) Start(program Program, file string, sums bool) (*Server, error) {
	answer := wire.BeginFrame(nil, wire.KeyProduce, version, 0)
	answer = wire.AppendProduceResponse(answer, version, &wire.ProduceResponse{Topics: []wire.ProduceTopicResponse{{
		Name: []byte(p.topic),
		Partitions: []wire.ProducePartitionResponse{{
			BaseOffset: answerOffset, LogAppendTime: kafka.NoTimestamp,
		}},
	}}})
	answer = wire.EndFrame(answer, 0, 0)
	sumAt := 0
	if sums {
		sumAt = bytes.Index(answer, binary.BigEndian.AppendUint32(nil, answerOffset))
	}
	s, err := program.start("write", file, hex.EncodeToString(answer), fmt.Sprint(sumAt))
	if err == nil {
		s.sums = sums
	}
	return s, err
}

// Server has the answers give the checksums in place of the base offset.
func (p *Produce) Server(ctx context.Context, s *Server, n int) (float64, error) {
	return p.load(func(n int, base int64) error {
		want := int64(answerOffset)
		if s.sums {
			want = int64(p.sums[n%InFlight])
		}
		if base != want {
			return fmt.Errorf("the checksum is %#x, not %#x", base, want)
		}
		return nil
	}).run(ctx, s.Target, n)
}

// load is the requests, with a check of the base offset in each answer.
func (p *Produce) load(check func(n int, base int64) error) exchange {
	response := kmsg.NewPtrProduceResponse()
	response.SetVersion(version)
	return exchange{
		batchBytes: p.Bytes(),
		request:    func(n int) []byte { return p.frames[n%InFlight] },
		check: func(n int, answer []byte) error {
			if err := response.ReadFrom(answer); err != nil {
				return err
			}
			if len(response.Topics) != 1 || response.Topics[0].Topic != p.topic ||
				len(response.Topics[0].Partitions) != 1 || response.Topics[0].Partitions[0].Partition != 0 {
				return errOther
			}
			got := &response.Topics[0].Partitions[0]
			if got.ErrorCode != 0 {
				return fmt.Errorf("error code %d", got.ErrorCode)
			}
			return check(n, got.BaseOffset)
		},
	}
}
