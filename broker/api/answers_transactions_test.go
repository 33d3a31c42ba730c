package api_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// transactionSettings are the settings of both brokers in the stories of transactions:
//
//	go test ./broker/api -run TestTransactionsAreAnsweredAsByKafka -kafka 127.0.0.1:9092 -rewrite
//
// with an Apache Kafka 4.3.1 that has them too. A transaction that takes too long is found soon, so that a story can
// see it.
var transactionSettings = []string{
	"transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
}

// Goal: producers with a transactional id are answered as Kafka answers them, error by error, by the older protocol
// and by the newer one. Method: conversations recorded from Apache Kafka. A transactional id ends in %n, which is
// another text on each run: a Kafka keeps ids for long. producer=p keeps the producer id of an answer, it is @p from
// then on.
func TestTransactionsAreAnsweredAsByKafka(t *testing.T) {
	datadriven.Walk(t, "testdata/transactions", func(t *testing.T, path string) {
		if *kafkaAddress == "" {
			t.Parallel() // each story has a broker of its own
		}
		tellTransactions(t, newStory(t, transactionSettings...), path)
	})
}

// tellTransactions runs one story.
func tellTransactions(t *testing.T, s *story, path string) {
	s.isExact = true
	s.nonce = randomWord(t)
	s.findTransactions()
	links := map[string]*link{}
	t.Cleanup(func() {
		for _, l := range links {
			l.conn.Close()
		}
	})
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		s.t = t
		d.Input = s.fill(d.Input)
		switch d.Cmd {
		case "topic":
			return s.topic(d)
		case "ask":
			l := s.link(links, d)
			s.keepProducer = ""
			if d.HasArg("producer") {
				d.ScanArgs(t, "producer", &s.keepProducer)
			}
			l.send(s, d)
			return strings.ReplaceAll(l.await(s, d), s.nonce, "%n")
		case "exhaust":
			return s.exhaust(s.link(links, d), d)
		case "produce":
			return strings.ReplaceAll(s.produceInTxn(d), s.nonce, "%n")
		case "read":
			return s.read(d)
		case "ends":
			return s.ends(d)
		}
		t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
		return ""
	})
}

// exhaust uses epochs of the transactional id in the input up: exhaust epoch=32766.
func (s *story) exhaust(l *link, d *datadriven.TestData) string {
	var epoch int
	d.ScanArgs(s.t, "epoch", &epoch)
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionalID = kmsg.StringPtr(strings.TrimSpace(d.Input))
	request.Version, request.TransactionTimeoutMillis = 4, 60_000
	for at := -1; at < epoch; {
		n := min(500, max(1, epoch-at-1)) // the first answer tells where it begins
		for range n {
			l.write(s, request)
		}
		for range n {
			response := l.read(s).(*kmsg.InitProducerIDResponse)
			if response.ErrorCode != kafka.NoError {
				s.t.Fatalf("%s: error %d", d.Pos, response.ErrorCode)
			}
			at = int(response.ProducerEpoch)
		}
	}
	return ""
}

func randomWord(t *testing.T) string {
	id, err := kafka.NewUUID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", id[:6])
}

// findTransactions waits until there are coordinators of transactions and of groups, and uses the producer id 0 up:
// that is what answers about nothing have.
func (s *story) findTransactions() {
	s.exchange(kmsg.NewPtrInitProducerIDRequest())
	s.producerMin = 1
	for _, kind := range []int8{0, 1} {
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorType, find.CoordinatorKey = 3, kind, "story"
		s.await("there are coordinators", func() bool {
			return s.exchange(find).(*kmsg.FindCoordinatorResponse).ErrorCode == kafka.NoError
		})
	}
}

// fill puts what this run has for the placeholders of a request.
func (s *story) fill(input string) string {
	input = strings.ReplaceAll(input, "%n", s.nonce)
	for name, id := range s.producerIDs {
		input = strings.ReplaceAll(input, `"@`+name+`"`, strconv.FormatInt(id, 10))
	}
	return input
}

// producerName gives a producer id the name that the story has for it; empty for what is none, or has none.
func (s *story) producerName(key string, value float64) string {
	if key != "ProducerID" || value < 1 {
		return ""
	}
	id := int64(value)
	if s.keepProducer != "" {
		if s.producerIDs == nil {
			s.producerIDs = map[string]int64{}
		}
		s.producerIDs[s.keepProducer] = id
		s.keepProducer = ""
	}
	for _, name := range slices.Sorted(maps.Keys(s.producerIDs)) {
		if s.producerIDs[name] == id {
			return "@" + name
		}
	}
	return ""
}
