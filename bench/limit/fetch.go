package limit

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/bench"
	"spate/kafka"
	"spate/kafka/record"
	"spate/kafka/wire"
)

// logBatchBytes is the size of the batches in a log that is fetched from.
const logBatchBytes = 64 << 10

// Fetch is a load of Fetch requests to partition 0 of a topic, each from where the one before ended, and from the start
// again after the end.
type Fetch struct {
	log         *Produce // what it is filled with
	batches     int      // in the log
	answerBytes int      // of batches
	answerCount int      // of batches
}

// NewFetch makes requests for so many bytes of a log, which both are multiples of 64 KiB.
func NewFetch(topic string, answerBytes, logBytes int) (*Fetch, error) {
	if answerBytes <= 0 || answerBytes%logBatchBytes != 0 || logBytes <= 0 || logBytes%answerBytes != 0 {
		return nil, fmt.Errorf("%d bytes of %d are not whole batches", answerBytes, logBytes)
	}
	log, err := NewProduce(topic, logBatchBytes)
	return &Fetch{log: log, batches: logBytes / logBatchBytes, answerBytes: answerBytes,
		answerCount: answerBytes / logBatchBytes}, err
}

// Bytes is how much an answer holds.
func (f *Fetch) Bytes() int { return f.answerBytes }

// Prepare writes the log.
func (f *Fetch) Prepare(ctx context.Context, t bench.Target) error {
	_, err := f.log.Broker(ctx, t, f.batches)
	return err
}

// Start writes the log to the file, and has the program send it. It computes no checksums: a broker does not either.
func (f *Fetch) Start(program Program, file string, _ bool) (*Server, error) {
	if err := f.writeLog(file); err != nil {
		return nil, err
	}
	var e wire.FetchResponseEncoder
	e.Begin(nil, version, wire.FetchResponseHead{TopicCount: 1})
	e.Topic([]byte(f.log.topic), kafka.UUID{}, 1)
	end := kafka.Offset(int64(f.batches) * f.log.records())
	e.Partition(&wire.FetchPartitionResult{
		HighWatermark: end, LastStableOffset: end, PreferredReadReplica: kafka.NoBroker,
	}, f.answerBytes)
	cut := e.Len()
	e.EndPartition()
	e.EndTopic()
	answer := e.End(nil)
	return program.start("read", file, hex.EncodeToString(answer[:cut]), fmt.Sprint(f.answerBytes),
		hex.EncodeToString(answer[cut:]))
}

func (f *Fetch) writeLog(path string) (err error) {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	w := bufio.NewWriterSize(file, logBatchBytes)
	for n := range f.batches {
		b := f.log.batches[n%InFlight]
		b.SetBaseOffset(kafka.Offset(int64(n) * f.log.records())) // which the checksum leaves out
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return w.Flush()
}

// Server expects what Broker does.
func (f *Fetch) Server(ctx context.Context, s *Server, n int) (float64, error) {
	return f.Broker(ctx, s.Target, n)
}

// Broker has each answer hold as much as was asked for, from the right offset on.
func (f *Fetch) Broker(ctx context.Context, t bench.Target, n int) (float64, error) {
	response := kmsg.NewPtrFetchResponse()
	response.SetVersion(version)
	return exchange{batchBytes: f.answerBytes, request: f.request, check: func(n int, answer []byte) error {
		if err := response.ReadFrom(answer); err != nil {
			return err
		}
		if response.ErrorCode != 0 {
			return fmt.Errorf("error code %d", response.ErrorCode)
		}
		if len(response.Topics) != 1 || response.Topics[0].Topic != f.log.topic ||
			len(response.Topics[0].Partitions) != 1 || response.Topics[0].Partitions[0].Partition != 0 {
			return errOther
		}
		return f.check(n, &response.Topics[0].Partitions[0])
	}}.run(ctx, t, n)
}

// check looks for an error, the length, and the first batch.
func (f *Fetch) check(n int, got *kmsg.FetchResponseTopicPartition) error {
	if got.ErrorCode != 0 || len(got.RecordBatches) != f.answerBytes {
		return fmt.Errorf("error code %d, %d bytes of %d", got.ErrorCode, len(got.RecordBatches), f.answerBytes)
	}
	first, _, err := record.Next(got.RecordBatches)
	if err != nil {
		return err
	}
	if first.BaseOffset() != f.offset(n) {
		return fmt.Errorf("batches from offset %d on, not %d", first.BaseOffset(), f.offset(n))
	}
	return first.CheckCRC()
}

// offset is from where on the nth request asks.
func (f *Fetch) offset(n int) kafka.Offset {
	return kafka.Offset(int64(n*f.answerCount%f.batches) * f.log.records())
}

func (f *Fetch) request(n int) []byte {
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes = 500, 1, int32(f.answerBytes)
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.FetchOffset, partition.PartitionMaxBytes = int64(f.offset(n)), int32(f.answerBytes)
	request.Topics = []kmsg.FetchRequestTopic{{
		Topic: f.log.topic, Partitions: []kmsg.FetchRequestTopicPartition{partition},
	}}
	return frame(request, n)
}
