package api_test

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/record"
)

// What the stories of the administrative APIs need besides.

// idempotent appends a batch for each line of timestamps, as an idempotent producer:
// idempotent topic=a partition=0 producer=500 epoch=3 sequence=0.
func (s *story) idempotent(d *datadriven.TestData) string {
	var topic string
	var partition, sequence int32
	var producer int64
	var epoch int16
	d.ScanArgs(s.t, "topic", &topic)
	d.ScanArgs(s.t, "partition", &partition)
	d.ScanArgs(s.t, "producer", &producer)
	var number int
	d.ScanArgs(s.t, "epoch", &number)
	epoch = int16(number)
	d.ScanArgs(s.t, "sequence", &sequence)
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		words := strings.Fields(line)
		b := record.NewBuilder(record.BuilderOptions{Producer: &record.Producer{
			ID: kafka.ProducerID(producer), Epoch: kafka.ProducerEpoch(epoch), Sequence: kafka.Sequence(sequence),
		}})
		for _, word := range words {
			ts, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			b.Append(kafka.Timestamp(ts), nil, []byte(word))
		}
		batch, err := b.Build()
		if err != nil {
			s.t.Fatal(err)
		}
		sequence += int32(len(words))
		request := kmsg.NewPtrProduceRequest()
		request.Version, request.Acks, request.TimeoutMillis = 9, -1, 10_000
		request.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: partition, Records: batch},
		}}}
		p := s.produced(request)
		fmt.Fprintf(&out, "base offset %d, error %d\n", p.BaseOffset, p.ErrorCode)
	}
	return out.String()
}

// produced sends a request for one partition until the partition has its leader, which in Kafka comes later than that
// a client knows of the partition.
func (s *story) produced(request *kmsg.ProduceRequest) (p kmsg.ProduceResponseTopicPartition) {
	s.await("there is a leader", func() bool {
		p = s.exchange(request).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		return p.ErrorCode != kafka.NotLeaderOrFollower.Code
	})
	return p
}

// steady replaces, in an answer, what is another on every disk and at every moment: by one where it is there at all.
func (s *story) steady(response kmsg.Response) {
	sign := func(n *int64) { *n = min(max(*n, -1), 1) }
	switch r := response.(type) {
	case *kmsg.DescribeLogDirsResponse:
		for i := range r.Dirs {
			d := &r.Dirs[i]
			d.Dir = s.nameDir(d.Dir)
			sign(&d.TotalBytes)
			sign(&d.UsableBytes)
		}
	case *kmsg.DescribeQuorumResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				p := &r.Topics[i].Partitions[j]
				sign(&p.HighWatermark)
				p.LeaderEpoch = min(p.LeaderEpoch, 1)
				for k := range p.CurrentVoters {
					v := &p.CurrentVoters[k]
					sign(&v.LogEndOffset)
					sign(&v.LastFetchTimestamp)
					sign(&v.LastCaughtUpTimestamp)
					if v.ReplicaDirectoryID != kafka.ZeroUUID {
						v.ReplicaDirectoryID = [16]byte{0: 1}
					}
				}
			}
		}
		for i := range r.Nodes {
			for j := range r.Nodes[i].Listeners {
				r.Nodes[i].Listeners[j].Name = "the listener"
			}
		}
	}
}
