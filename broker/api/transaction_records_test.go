package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spate/coordinator/txn/record"
	"spate/kafka"
	batches "spate/kafka/record"
)

// Goal: what is kept of transactions is what Kafka keeps of them, record by record. Method: the stories that Kafka's
// log in coordinator/txn/record was written by, told to brokers with one coordinator; their logs against that one.
// Only times and ids may differ.
func TestRecordsOfTransactionsAreThoseOfKafka(t *testing.T) {
	if *kafkaAddress != "" {
		t.Skip("it is about our log")
	}
	names := newNames()
	var got []string
	for _, name := range []string{"protocol_two", "fencing", "timeout", "protocol_one"} {
		dir := dataDir(t)
		t.Run(name, func(t *testing.T) {
			set := append([]string{"log.dirs=" + dir, "transaction.state.log.num.partitions=1"}, transactionSettings...)
			tellTransactions(t, newStory(t, set...), filepath.Join("testdata/transactions", name))
		})
		clear(names.producers) // another broker gives the same ids
		got = append(got, names.read(t, filepath.Join(dir, kafka.TransactionStateTopic+"-0"))...)
	}
	want := newNames().read(t, "../../coordinator/txn/record/testdata/kafka-4.3.1/protocols")
	if len(got) < 50 || len(want) < len(got) {
		t.Fatalf("%d records, Kafka has %d", len(got), len(want))
	}
	for i := range got { // Kafka's log goes on with other stories
		if got[i] != want[i] {
			t.Errorf("record %d: %s\nKafka's:  %s", i, got[i], want[i])
		}
	}
}

// names numbers transactional ids and producer ids in the order in which they come.
type names struct {
	ids       map[string]int
	producers map[kafka.ProducerID]int
	count     int
}

func newNames() *names {
	return &names{ids: map[string]int{}, producers: map[kafka.ProducerID]int{kafka.NoProducerID: -1}}
}

// read tells the records of a segment.
func (n *names) read(t *testing.T, folder string) (list []string) {
	t.Helper()
	n.producers[kafka.NoProducerID] = -1
	buf, err := os.ReadFile(filepath.Join(folder, "00000000000000000000.log"))
	if err != nil {
		t.Fatal(err)
	}
	for len(buf) > 0 {
		b, rest, err := batches.Next(buf)
		if err != nil {
			t.Fatal(err)
		}
		buf = rest
		it := b.Records()
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			decoded, err := record.Decode(r.Key, r.Value)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, n.tell(decoded))
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

func (n *names) tell(r *record.Transaction) string {
	if _, known := n.ids[r.ID]; !known {
		n.ids[r.ID] = len(n.ids)
	}
	name, _, _ := strings.Cut(r.ID, "-")
	r.Sort()
	return fmt.Sprintf("%s%d v%d %s producer=%d/%d previous=%d next=%d timeout=%d %v begun=%v client=%d deleted=%v",
		name, n.ids[r.ID], r.Version, r.State, n.producer(r.ProducerID), r.Epoch, n.producer(r.PreviousProducerID),
		n.producer(r.NextProducerID), r.TimeoutMs, r.Partitions(), r.Start >= 0, r.ClientVersion, r.Deleted)
}

func (n *names) producer(id kafka.ProducerID) int {
	number, known := n.producers[id]
	if !known {
		number = n.count
		n.count++
		n.producers[id] = number
	}
	return number
}
