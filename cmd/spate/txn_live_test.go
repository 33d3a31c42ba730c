package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"spate/kafka"
	"spate/kafka/record"
)

// txnSettings let a test write records of a transaction that no coordinator knows of.
var txnSettings = map[string]string{
	"transaction.partition.verification.enable": "false", "transaction.state.log.num.partitions": "4",
}

// TestTxn lists, describes, finds and aborts transactions: one that is at work, and two that hang.
func TestTxn(t *testing.T) {
	b, _ := startBroker(t, txnSettings)
	at := func(args ...string) result { return spate(t, "", append(args, "-b", b.Bootstrap)...) }
	check := func(r result, code int, out, err string) {
		t.Helper()
		if r.code != code || !strings.Contains(r.out, out) || !strings.Contains(r.err, err) {
			t.Errorf("status %d, want %d, %q, %q\n%s%s", r.code, code, out, err, r.out, r.err)
		}
	}
	check(at("topic", "create", "orders", "-p", "2"), 0, "", "")
	check(at("txn", "find-hanging"), 0, "", "no transaction hangs")
	worker, err := kgo.NewClient(kgo.SeedBrokers(b.Bootstrap), kgo.TransactionalID("payments"),
		kgo.TransactionTimeout(10*time.Minute), // many commands look at it
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer worker.Close()
	if err := worker.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := worker.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	hang(t, b.Bootstrap, 4000)
	hang(t, b.Bootstrap, 4001)

	check(at("txn", "list"), 0, "TRANSACTIONAL-ID  COORDINATOR  PRODUCER-ID  STATE\npayments          1", "")
	check(at("txn", "list", "--state", "ongoing", "--matching", "pay.*", "--longer-than", "0s"), 0, "Ongoing", "")
	check(at("txn", "list", "--state", "empty"), 0, "", "no transactional ids")
	check(at("txn", "list", "--state", "odd"), 2, "", `--state "odd": must be of Ongoing, PrepareCommit`)
	check(at("txn", "describe", "payments", "none"), 1, "  orders-0\n", "none is not known")
	var described []describedTxn
	r := at("txn", "describe", "payments", "--output", "json")
	if err := json.Unmarshal([]byte(r.out), &described); err != nil || len(described) != 1 ||
		described[0].State != "Ongoing" || described[0].StartedMs == nil || *described[0].DurationMs < 0 ||
		fmt.Sprint(described[0].Partitions) != "[orders-0]" {
		t.Errorf("%v: %s", err, r.out)
	}

	check(at("txn", "find-hanging", "--topic", "orders:0"), 0, "", "no transaction hangs")
	check(at("txn", "find-hanging", "--topic", "orders:7"), 1, "", "topic orders has no partition 7")
	check(at("txn", "find-hanging", "--topic", "none"), 1, "", "topic none does not exist")
	check(at("txn", "find-hanging", "--broker-id", "9"), 0, "", "no transaction hangs")
	check(at("txn", "find-hanging", "--max-transaction-timeout", "3h"), 0, "", "no transaction hangs")
	var hanging []hangingTxn
	r = at("txn", "find-hanging", "--output", "json")
	if err := json.Unmarshal([]byte(r.out), &hanging); err != nil || len(hanging) != 2 ||
		hanging[0].DurationMinutes < 120 || hanging[0].DurationMinutes > 130 ||
		hanging[0].Topic != "orders" || hanging[0].Partition != 1 || hanging[0].StartOffset != 0 {
		t.Fatalf("%v: %s", err, r.out)
	}

	check(at("txn", "abort", "orders", "1"), 2, "", "--start-offset")
	check(at("txn", "abort", "orders", "one", "--start-offset", "0"), 2, "", `"one" is not a partition`)
	check(at("txn", "abort", "orders", "1", "--start-offset", "5"), 1, "", "no open transaction begins at offset 5")
	check(at("txn", "abort", "orders", "1", "--producer-id", "4000", "--producer-epoch", "2"), 1, "", "orders-1: ")
	check(at("txn", "abort", "orders", "1", "--start-offset", "0"), 0,
		"aborted the transaction of producer 4000 in orders-1\n", "")
	check(at("txn", "abort", "orders", "1", "--producer-id", "4001", "--producer-epoch", "3", "-o", "json"), 0,
		`"done": true`, "")
	check(at("txn", "find-hanging"), 0, "", "no transaction hangs")
	if err := worker.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Error(err)
	}
}

// hang writes a record of a transaction, two hours old, into orders-1 on behalf of a producer that nobody knows.
func hang(t *testing.T, bootstrap string, id kafka.ProducerID) {
	t.Helper()
	w := record.NewBuilder(record.BuilderOptions{
		LeaderEpoch: kafka.NoLeaderEpoch, Producer: &record.Producer{ID: id, Epoch: 3}, Transactional: true,
	})
	w.Append(kafka.Timestamp(time.Now().Add(-2*time.Hour-time.Second).UnixMilli()), nil, []byte("v"))
	batch, err := w.Build()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.MaxVersions(kversion.V3_7_0()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	request := kmsg.NewPtrProduceRequest()
	request.TransactionID, request.Acks, request.TimeoutMillis = kmsg.StringPtr("nobody"), -1, 30_000
	request.Topics = []kmsg.ProduceRequestTopic{{
		Topic: "orders", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 1, Records: batch}},
	}}
	response, err := request.RequestWith(t.Context(), client.Broker(1))
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}
