package api_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/record"
)

// What the stories of transactions say about data: one batch is produced, and a partition is read.
//
//	produce id=t-%n producer=p epoch=0 seq=0 v=12 [topic=a] [partition=0] [plain] [acks=0] [and=(q,0,0)]
//	read [topic=a] [partition=0] [from=0] [uncommitted] v=12 [settled]
//	ends [topic=a] [partition=0]
//
// produce tells the error and the base offset. plain records are not of a transaction; and adds a batch of another
// producer for the next partition.

// produceInTxn sends a Produce with a batch of one record.
func (s *story) produceInTxn(d *datadriven.TestData) string {
	topic, id, partition, version := "a", "", int32(0), int16(12)
	d.MaybeScanArgs(s.t, "topic", &topic)
	d.MaybeScanArgs(s.t, "partition", &partition)
	d.MaybeScanArgs(s.t, "v", &version)
	request := kmsg.NewPtrProduceRequest()
	request.Version, request.Acks, request.TimeoutMillis = version, -1, 10_000
	if d.MaybeScanArgs(s.t, "id", &id) {
		request.TransactionID = kmsg.StringPtr(s.fill(id))
	}
	asked := kmsg.ProduceRequestTopic{Topic: topic, TopicID: s.ids[topic]}
	add := func(name string, epoch, sequence int) {
		producer := record.Producer{ID: kafka.ProducerID(s.producerIDs[name]), Epoch: kafka.ProducerEpoch(epoch),
			Sequence: kafka.Sequence(sequence)}
		w := record.NewBuilder(record.BuilderOptions{
			LeaderEpoch: kafka.NoLeaderEpoch, Producer: &producer, Transactional: !d.HasArg("plain"),
		})
		w.Append(kafka.Timestamp(time.Now().UnixMilli()), []byte("key"), []byte("value"))
		b, err := w.Build()
		if err != nil {
			s.t.Fatal(err)
		}
		asked.Partitions = append(asked.Partitions, kmsg.ProduceRequestTopicPartition{Partition: partition, Records: b})
		partition++
	}
	var name string
	var epoch, sequence int
	d.ScanArgs(s.t, "producer", &name)
	d.ScanArgs(s.t, "epoch", &epoch)
	d.ScanArgs(s.t, "seq", &sequence)
	add(name, epoch, sequence)
	if d.HasArg("and") {
		d.ScanArgs(s.t, "and", &name, &epoch, &sequence)
		add(name, epoch, sequence)
	}
	request.Topics = append(request.Topics, asked)
	var response *kmsg.ProduceResponse
	s.await("the partition has a leader", func() bool {
		response = s.exchange(request).(*kmsg.ProduceResponse)
		return response.Topics[0].Partitions[0].ErrorCode != kafka.NotLeaderOrFollower.Code
	})
	var out strings.Builder
	for _, t := range response.Topics {
		slices.SortFunc(t.Partitions, func(a, b kmsg.ProduceResponseTopicPartition) int {
			return int(a.Partition - b.Partition)
		})
		for _, p := range t.Partitions {
			fmt.Fprintf(&out, "partition %d: error %d, base offset %d, log start offset %d",
				p.Partition, p.ErrorCode, p.BaseOffset, p.LogStartOffset)
			if p.ErrorMessage != nil {
				fmt.Fprintf(&out, ", %q", *p.ErrorMessage)
			}
			fmt.Fprintln(&out)
		}
	}
	return out.String()
}

// read fetches a partition and tells its batches.
func (s *story) read(d *datadriven.TestData) string {
	topic, partition, from, version := "a", int32(0), int64(0), int16(12)
	d.MaybeScanArgs(s.t, "topic", &topic)
	d.MaybeScanArgs(s.t, "partition", &partition)
	d.MaybeScanArgs(s.t, "from", &from)
	d.MaybeScanArgs(s.t, "v", &version)
	request := kmsg.NewPtrFetchRequest()
	request.Version, request.ReplicaID, request.MaxBytes, request.SessionEpoch = version, -1, 1<<20, -1
	request.ReplicaState.ID, request.ReplicaState.Epoch = -1, -1
	request.IsolationLevel = 1
	if d.HasArg("uncommitted") {
		request.IsolationLevel = 0
	}
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, from, 1<<20
	request.Topics = []kmsg.FetchRequestTopic{{
		Topic: topic, TopicID: s.ids[topic], Partitions: []kmsg.FetchRequestTopicPartition{p},
	}}
	var text string
	s.await("all transactions are decided", func() bool {
		response := s.exchange(request).(*kmsg.FetchResponse)
		p := &response.Topics[0].Partitions[0]
		text = s.tellFetched(p)
		return !d.HasArg("settled") || p.HighWatermark == p.LastStableOffset
	})
	return text
}

func (s *story) tellFetched(p *kmsg.FetchResponseTopicPartition) string {
	var out strings.Builder
	fmt.Fprintf(&out, "error %d, high watermark %d, last stable offset %d",
		p.ErrorCode, p.HighWatermark, p.LastStableOffset)
	switch {
	case p.AbortedTransactions == nil:
	case len(p.AbortedTransactions) == 0:
		out.WriteString(", nothing aborted")
	default:
		for _, a := range p.AbortedTransactions {
			fmt.Fprintf(&out, ", aborted %s from %d", s.producerText(a.ProducerID), a.FirstOffset)
		}
	}
	out.WriteByte('\n')
	for rest := p.RecordBatches; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			break // cut off
		}
		rest = after
		fmt.Fprintf(&out, "  %d to %d: %s epoch %d sequence %d, transactional %t%s\n",
			b.BaseOffset(), b.LastOffset(), s.producerText(int64(b.ProducerID())), b.ProducerEpoch(),
			b.BaseSequence(), b.IsTransactional(), markerText(b))
	}
	return out.String()
}

// markerText is what a control batch says.
func markerText(b record.Batch) string {
	if !b.IsControl() {
		return ""
	}
	records := b.Records()
	defer records.Close()
	r, ok := records.Next()
	if !ok {
		return ", an empty control batch"
	}
	kind, err := r.ControlType()
	if err != nil {
		return err.Error()
	}
	epoch, err := r.CoordinatorEpoch()
	if err != nil {
		return err.Error()
	}
	word := map[record.ControlType]string{record.ControlCommit: "commit", record.ControlAbort: "abort"}[kind]
	return fmt.Sprintf(", %s of coordinator epoch %d, value %x", word, epoch, r.Value)
}

func (s *story) producerText(id int64) string {
	for name, known := range s.producerIDs {
		if known == id {
			return "@" + name
		}
	}
	return "nobody"
}

// ends tells where a partition ends for both kinds of readers.
func (s *story) ends(d *datadriven.TestData) string {
	topic, partition := "a", int32(0)
	d.MaybeScanArgs(s.t, "topic", &topic)
	d.MaybeScanArgs(s.t, "partition", &partition)
	var out strings.Builder
	for level, name := range []string{"uncommitted", "committed"} {
		request := kmsg.NewPtrListOffsetsRequest()
		request.Version, request.ReplicaID, request.IsolationLevel = 7, -1, int8(level)
		for _, timestamp := range []int64{-1, 0} {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = partition, timestamp
			request.Topics = []kmsg.ListOffsetsRequestTopic{{
				Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p},
			}}
			found := s.exchange(request).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
			fmt.Fprintf(&out, "%s, timestamp %d: error %d, offset %d\n", name, timestamp, found.ErrorCode, found.Offset)
		}
	}
	return out.String()
}
