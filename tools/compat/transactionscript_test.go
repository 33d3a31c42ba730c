package compat

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"spate/kafka"
	batches "spate/kafka/record"
)

const transactionsCommand = "org.apache.kafka.tools.TransactionsCommand"

// transactionMasks hide times, and the widths of columns that follow from them.
var transactionMasks = []mask{
	{what: regexp.MustCompile(`\d{13}`), by: "TIME"},
	{what: regexp.MustCompile(` +\t`), by: "\t"},
	{what: regexp.MustCompile(`TIME\t\d+\t`), by: "TIME\tDURATION\t"},
}

// TestTransactionsCommand runs a script of Kafka's own tool for transactions against Apache Kafka and against the
// broker under test: the texts must be equal, but for times. Both let records of transactions in that no coordinator
// knows of.
func TestTransactionsCommand(t *testing.T) {
	t.Parallel()
	settings := groupSettings()
	settings["transaction.partition.verification.enable"] = "false"
	kafka, tested := startKafka(t, settings), startTarget(t, settings)
	bothSay(t, kafka, tested, transactionsScript)
}

func transactionsScript(s *script) {
	s.masks = transactionMasks
	s.topic("plain", 2, 2)
	say := func(lines ...string) {
		for _, line := range lines {
			s.line(transactionsCommand, line)
		}
	}
	say("list", "describe --transactional-id none", "describe-producers --topic plain --partition 0",
		"find-hanging --topic plain",
		"find-hanging", "abort --topic plain --partition 0 --start-offset 0", "abort --topic plain --partition 0")
	worker := s.transaction("payments", "plain")
	say("list", "list --duration-filter 0", "list --duration-filter 3600000", "describe --transactional-id payments",
		"find-hanging --topic plain --max-transaction-timeout 0")
	s.hang("plain", 4000, 3)
	say("describe-producers --topic plain --partition 1", "find-hanging --topic plain",
		"find-hanging --topic plain --partition 0", "find-hanging --broker-id 1",
		"find-hanging --topic plain --max-transaction-timeout 300",
		"abort --topic plain --partition 1 --start-offset 1",
		"abort --topic plain --partition 1 --start-offset 2", "find-hanging --topic plain",
		"describe-producers --topic plain --partition 1")
	s.hang("plain", 4001, 0)
	say("abort --topic plain --partition 1 --producer-id 4001 --producer-epoch 0 --coordinator-epoch -1",
		"abort --topic plain --partition 1 --producer-id 4001 --producer-epoch 0 --coordinator-epoch -1",
		"find-hanging --topic plain")
	if err := worker.EndTransaction(s.t.Context(), kgo.TryCommit); err != nil {
		s.t.Fatal(err)
	}
	s.wait("the transaction to be complete", func(ctx context.Context) bool {
		d, err := s.admin.DescribeTransactions(ctx, "payments")
		return err == nil && d["payments"].State == "CompleteCommit"
	})
	say("list", "list --duration-filter 0", "describe --transactional-id payments")
}

// transaction begins a transaction with a record in partition 0 of a topic, by a client before KIP-890.
func (s *script) transaction(id, topic string) *kgo.Client {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.target.bootstrap), kgo.TransactionalID(id),
		kgo.MaxVersions(kversion.V3_7_0()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionTimeout(transactionTimeout))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	if err := client.BeginTransaction(); err != nil {
		s.t.Fatal(err)
	}
	r := &kgo.Record{Topic: topic, Value: []byte("value")}
	if err := client.ProduceSync(s.t.Context(), r).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
	return client
}

// hang writes a record of a transaction, two hours old, into partition 1 of a topic for a producer that nobody knows.
func (s *script) hang(topic string, id kafka.ProducerID, epoch kafka.ProducerEpoch) {
	s.t.Helper()
	w := batches.NewBuilder(batches.BuilderOptions{
		LeaderEpoch: kafka.NoLeaderEpoch, Producer: &batches.Producer{ID: id, Epoch: epoch}, Transactional: true,
	})
	w.Append(kafka.Timestamp(time.Now().Add(-2*time.Hour-time.Second).UnixMilli()), nil, []byte("value"))
	batch, err := w.Build()
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.target.bootstrap), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	request := kmsg.NewPtrProduceRequest()
	request.TransactionID, request.Acks, request.TimeoutMillis = kmsg.StringPtr("nobody"), -1, 5000
	request.Topics = []kmsg.ProduceRequestTopic{{
		Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1, Records: batch}},
	}}
	response, err := request.RequestWith(s.t.Context(), client.Broker(1))
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
