package broker

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// txnProducer is a transactional producer, on a connection of its own.
type txnProducer struct {
	c         *client
	isOlder   bool // it speaks the protocol before transaction.version 2
	id        string
	timeoutMs int32 // a minute where it is 0
	record.Producer
	correlation int32
}

// call sends a request; an error means that the broker has gone.
func (p *txnProducer) call(r kmsg.Request) (kmsg.Response, error) {
	if err := p.post(r); err != nil {
		return nil, err
	}
	return p.c.tryReceive(r)
}

// post sends a request whose answer is for p.c.tryReceive.
func (p *txnProducer) post(r kmsg.Request) error {
	p.correlation++
	_, err := p.c.conn.Write(p.c.formatter.AppendRequest(nil, r, p.correlation))
	return err
}

// begin takes the transactional id, as soon as what another had open is ended.
func (p *txnProducer) begin() error {
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.SetVersion(4)
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{p.id}
	r := kmsg.NewPtrInitProducerIDRequest()
	r.SetVersion(4)
	r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = &p.id, 60_000, -1, -1
	if p.timeoutMs > 0 {
		r.TransactionTimeoutMillis = p.timeoutMs
	}
	for {
		if _, err := p.call(find); err != nil {
			return err
		}
		response, err := p.call(r)
		if err != nil {
			return err
		}
		if begun := response.(*kmsg.InitProducerIDResponse); begun.ErrorCode == kafka.NoError {
			p.ID, p.Epoch = kafka.ProducerID(begun.ProducerID), kafka.ProducerEpoch(begun.ProducerEpoch)
			return nil
		}
	}
}

// write appends a record to a partition, which is added to the transaction by that; by the older protocol it is added
// before.
func (p *txnProducer) write(topic string, partition int32, value string) (code int16, err error) {
	version := int16(12)
	if p.isOlder {
		version = 11
		if code, err := p.add(topic, partition); err != nil || code != kafka.NoError {
			return code, err
		}
	}
	producer := p.Producer
	r := produceRequest(version, -1, topic, kafka.ZeroUUID, partition,
		batchOf(record.BuilderOptions{Producer: &producer, Transactional: true}, value))
	r.TransactionID = &p.id
	response, err := p.call(r)
	if err != nil {
		return 0, err
	}
	return response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode, nil
}

// mustWrite is write as soon as the end of the last transaction is complete, which clients wait for too.
func (p *txnProducer) mustWrite(t testing.TB, topic string, partition int32, value string) {
	t.Helper()
	eventually(t, "a record is written", func() bool {
		code, err := p.write(topic, partition, value)
		if err != nil || code != kafka.NoError && code != kafka.ConcurrentTransactions.Code {
			t.Fatal(errorName(code), err)
		}
		return code == kafka.NoError
	})
}

func (p *txnProducer) add(topic string, partition int32) (code int16, err error) {
	r := kmsg.NewPtrAddPartitionsToTxnRequest()
	r.SetVersion(3)
	r.TransactionalID, r.ProducerID, r.ProducerEpoch = p.id, int64(p.ID), int16(p.Epoch)
	r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
	response, err := p.call(r)
	if err != nil {
		return 0, err
	}
	return response.(*kmsg.AddPartitionsToTxnResponse).Topics[0].Partitions[0].ErrorCode, nil
}

// end ends the transaction, and goes on with the epoch that it is told.
func (p *txnProducer) end(commit bool) (code int16, err error) {
	r := kmsg.NewPtrEndTxnRequest()
	r.SetVersion(5)
	if p.isOlder {
		r.SetVersion(4)
	}
	r.TransactionalID, r.ProducerID, r.ProducerEpoch, r.Commit = p.id, int64(p.ID), int16(p.Epoch), commit
	response, err := p.call(r)
	if err != nil {
		return 0, err
	}
	ended := response.(*kmsg.EndTxnResponse)
	if ended.ErrorCode == kafka.NoError && !p.isOlder {
		p.ID, p.Epoch = kafka.ProducerID(ended.ProducerID), kafka.ProducerEpoch(ended.ProducerEpoch)
	}
	return ended.ErrorCode, nil
}

// state is that of the transactional id.
func (p *txnProducer) state() (string, error) {
	r := kmsg.NewPtrDescribeTransactionsRequest()
	r.TransactionalIDs = []string{p.id}
	response, err := p.call(r)
	if err != nil {
		return "", err
	}
	return response.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].State, nil
}

// committed is what a reader of committed records makes of a partition, and whether a transaction is open in it.
func (c *client) committedValues(topic string, partition int32) (list []string, isOpen bool) {
	c.t.Helper()
	r := changed(fetchRequest(12, topic, kafka.ZeroUUID, partition, 0),
		func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
			r.IsolationLevel, r.MaxWaitMillis, p.PartitionMaxBytes = 1, 10, 50<<20
		})
	p := ask[*kmsg.FetchResponse](c, r).Topics[0].Partitions[0]
	aborts := p.AbortedTransactions
	slices.SortFunc(aborts, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	dropped := map[int64]bool{}
	for rest := p.RecordBatches; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			c.t.Fatal(err)
		}
		rest = after
		for len(aborts) > 0 && aborts[0].FirstOffset <= int64(b.BaseOffset()) {
			dropped[aborts[0].ProducerID] = true
			aborts = aborts[1:]
		}
		producer := int64(b.ProducerID())
		switch {
		case b.IsControl():
			delete(dropped, producer) // its transaction ends, and only an aborted one was dropped
		case !dropped[producer]:
			list = append(list, values(c.t, b)...)
		}
	}
	return list, p.LastStableOffset < p.HighWatermark
}

// outcomes notes how transactions ended, as far as their producers were told.
type outcomes struct {
	mu     sync.Mutex
	told   map[string]bool // true for a commit
	enough chan struct{}
	left   int
}

func (o *outcomes) note(value string, commit bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told[value] = commit
	if o.left--; o.left == 0 {
		close(o.enough)
	}
}

// run produces one transaction after another, to two partitions each, until the broker is gone.
func (o *outcomes) run(p *txnProducer) {
	for k := 0; p.begin() == nil; {
		for isWell := true; isWell; k++ {
			value := fmt.Sprint(p.id, "-", k)
			for partition := range int32(2) {
				for {
					code, err := p.write("orders", partition, value)
					if err != nil {
						return
					}
					isWell = code == kafka.NoError
					if code != kafka.ConcurrentTransactions.Code {
						break
					}
				}
			}
			commit := k%3 != 0
			code, err := p.end(commit)
			if err != nil {
				return
			}
			if isWell = isWell && code == kafka.NoError; isWell {
				o.note(value, commit)
			}
		}
	}
}

// Goal: whatever moment the power goes, a transaction whose end was acknowledged has that end in all of its
// partitions, every other one is there in whole or not at all, and none stays open. Method: producers commit and
// abort; the disk is copied in the middle, with what was not flushed torn at random; a broker starts on the copy, and
// the producers come back.
func TestAPowerCutTearsNoTransaction(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 17))
			disk := vfs.NewMem()
			n := startNode(t, on(disk, "/a"), with("transaction.state.log.num.partitions=3"))
			n.createTopic("orders", 2)
			o := &outcomes{told: map[string]bool{}, enough: make(chan struct{}), left: 5 + random.IntN(60)}
			ids := []string{"s", "t", "u"}
			var producers sync.WaitGroup
			for _, id := range ids {
				p := &txnProducer{c: n.client(), id: id}
				producers.Go(func() { o.run(p) })
			}
			<-o.enough
			o.mu.Lock()
			told := map[string]bool{}
			for value, commit := range o.told {
				told[value] = commit
			}
			o.mu.Unlock()
			after := startNode(t, on(disk.CrashClone(random), "/a"))
			n.stop()
			producers.Wait()
			after.checkTransactions(ids, told)
		})
	}
}

// checkTransactions brings the producers back, and holds the partitions against what they were told.
func (n *node) checkTransactions(ids []string, told map[string]bool) {
	n.t.Helper()
	for _, id := range ids {
		p := &txnProducer{c: n.client(), id: id}
		if err := p.begin(); err != nil {
			n.t.Fatal(err)
		}
	}
	c := n.client()
	var lists [2][]string
	for partition := range int32(2) {
		eventually(n.t, "no transaction is open", func() bool {
			list, isOpen := c.committedValues("orders", partition)
			slices.Sort(list)
			lists[partition] = list
			return !isOpen
		})
	}
	if !slices.Equal(lists[0], lists[1]) {
		n.t.Errorf("transactions are torn:\n%q\n%q", lists[0], lists[1])
	}
	for value, commit := range told {
		if slices.Contains(lists[0], value) != commit {
			n.t.Errorf("%s was told commit=%v", value, commit)
		}
	}
	if len(slices.Compact(slices.Clone(lists[0]))) != len(lists[0]) {
		n.t.Errorf("records are there twice: %q", lists[0])
	}
}

// Goal: a coordinator that loses its state, because its disk was full or failed, or because it is told to resign,
// goes on where it was. Method: a restart between transactions and in the middle of one.
func TestTransactionsOverARestart(t *testing.T) {
	n := startNode(t, with("transaction.state.log.num.partitions=1"))
	n.createTopic("orders", 2)
	p := &txnProducer{c: n.client(), id: "t"}
	must := func(code int16, err error) {
		t.Helper()
		if err != nil || code != kafka.NoError {
			t.Fatal(errorName(code), err)
		}
	}
	if err := p.begin(); err != nil {
		t.Fatal(err)
	}
	must(p.write("orders", 0, "first"))
	must(p.end(true))
	p.mustWrite(t, "orders", 1, "second")
	n.restart()
	p.c, p.correlation = n.client(), 0
	must(p.end(true)) // the coordinator is loaded before clients are served
	reader := n.client()
	eventually(t, "both are committed", func() bool {
		first, _ := reader.committedValues("orders", 0)
		second, _ := reader.committedValues("orders", 1)
		return slices.Equal(first, []string{"first"}) && slices.Equal(second, []string{"second"})
	})
	if stats := n.transactions.host.Stats(); stats.Replayed.Load() == 0 || stats.Corrupt.Load() != 0 {
		t.Errorf("%d records were replayed, %d partitions are corrupt", stats.Replayed.Load(), stats.Corrupt.Load())
	}
}

// Goal: an operator sees in /metrics what transactions do. Method: one for each way to end, and one that stays open.
func TestTransactionsAreCounted(t *testing.T) {
	manual := clock.NewManual(time.Now()) // so that what is late is late when the test says so
	n := startNode(t, by(manual), with("transaction.state.log.num.partitions=1",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms=20"))
	n.createTopic("orders", 2)
	p := &txnProducer{c: n.client(), id: "t"}
	begin := func(p *txnProducer) {
		t.Helper()
		if err := p.begin(); err != nil {
			t.Fatal(err)
		}
	}
	write := func(p *txnProducer, partition int32) {
		t.Helper()
		p.mustWrite(t, "orders", partition, "a")
	}
	begin(p)
	for _, commit := range []bool{true, true, false} {
		write(p, 0)
		if code, err := p.end(commit); err != nil || code != kafka.NoError {
			t.Fatal(errorName(code), err)
		}
	}
	write(p, 0)
	begin(p) // fences itself
	late := &txnProducer{c: n.client(), id: "late", timeoutMs: 1}
	begin(late)
	write(late, 0)
	open := &txnProducer{c: n.client(), id: "open", timeoutMs: 600_000}
	begin(open)
	write(open, 1)
	want := []string{
		`spate_transactional_ids{state="CompleteAbort"} 1`, `spate_transactional_ids{state="Empty"} 1`,
		`spate_transactional_ids{state="Ongoing"} 1`,
		`spate_transactions_ended_total{outcome="abort"} 1`, `spate_transactions_ended_total{outcome="commit"} 2`,
		`spate_transactions_ended_total{outcome="fenced"} 1`, `spate_transactions_ended_total{outcome="timeout"} 1`,
		`spate_transactions_awaiting_markers 0`, `spate_transaction_markers_written_total 5`,
		`spate_transaction_markers_refused_total 0`, `spate_transaction_markers_seconds_count 5`,
		`spate_coordinators{of="transactions",state="serving"} 1`,
		`spate_coordinator_load_seconds_count{of="transactions"} 1`,
		`spate_partition_high_watermark{partition="0",topic="orders"} 10`,
		`spate_partition_last_stable_offset{partition="0",topic="orders"} 10`,
		`spate_partition_high_watermark{partition="1",topic="orders"} 1`,
		`spate_partition_last_stable_offset{partition="1",topic="orders"} 0`,
	}
	var missing string
	eventually(t, "all is counted", func() bool {
		manual.Advance(100 * time.Millisecond)
		page := httptest.NewRecorder()
		n.Metrics().Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		lines := strings.Split(page.Body.String(), "\n")
		i := slices.IndexFunc(want, func(line string) bool { return !slices.Contains(lines, line) })
		if i >= 0 && want[i] != missing {
			missing = want[i]
			t.Log("waits for", missing)
		}
		return i < 0
	})
}

// Goal: at level 0 of transaction.version clients of version 2 are refused and others are served, also after a restart,
// until the level is raised. Method: a producer of each kind at each level.
func TestTransactionsAreDowngraded(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	p := &txnProducer{c: n.client(), id: "t"}
	step := func(what string, code int16, err error, want error) {
		t.Helper()
		if err != nil || code != kafka.CodeOf(want) {
			t.Fatalf("%s: %v %v", what, kafka.ErrorOf(code), err)
		}
	}
	begin := func() {
		t.Helper()
		step("begin", 0, p.begin(), nil)
	}
	older := func(value string) {
		t.Helper()
		begin()
		p.isOlder = true
		defer func() { p.isOlder = false }()
		code, err := p.write("orders", 0, value)
		step("write", code, err, nil)
		code, err = p.end(true)
		step("end", code, err, nil)
	}
	newer := func(value string, want error) {
		t.Helper()
		begin()
		code, err := p.write("orders", 0, value)
		step("write", code, err, want)
		if want == nil {
			code, err = p.end(true)
			step("end", code, err, nil)
		}
	}
	newer("first", nil)
	n.updateFeature("transaction.version", 0, 2)
	for _, value := range []string{"second", "third"} {
		newer("refused", kafka.UnsupportedVersion)
		older(value)
		n.restart()
		p.c, p.correlation = n.client(), 0
	}
	n.updateFeature("transaction.version", 2, 1)
	newer("fourth", nil)
	begin() // waits for the end of that
	got, isOpen := n.client().committedValues("orders", 0)
	if want := []string{"first", "second", "third", "fourth"}; !slices.Equal(got, want) || isOpen {
		t.Errorf("committed are %q, open: %v", got, isOpen)
	}
}

// Goal: a partition that makes a transaction too large for the log of its coordinator is refused with the error of
// Kafka's coordinator, and what was added before can be ended. Method: partitions are added until no more fit, by both
// protocols.
func TestATransactionGetsNoLargerThanItsLog(t *testing.T) {
	for _, isOlder := range []bool{true, false} {
		t.Run(fmt.Sprintf("older %v", isOlder), func(t *testing.T) {
			n := startNode(t, with("message.max.bytes=600"))
			p := &txnProducer{c: n.client(), id: "t", isOlder: isOlder}
			if err := p.begin(); err != nil {
				t.Fatal(err)
			}
			count, code := 0, kafka.NoError
			for code == kafka.NoError {
				topic := strings.Repeat("t", 60) + fmt.Sprint(count)
				n.createTopic(topic, 1)
				var err error
				if code, err = p.write(topic, 0, "value"); err != nil {
					t.Fatal(err)
				}
				count++
			}
			if code != kafka.UnknownServerError.Code || count < 4 {
				t.Fatalf("partition %d: %s", count, errorName(code))
			}
			p.mustEnd(t, true)
			p.await(t, "CompleteCommit")
		})
	}
}
