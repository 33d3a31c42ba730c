package broker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// recovery is a state of a transaction in which the power goes, and what has to come of it.
type recovery struct {
	state   string
	stuck   string // directories in which no marker can be written before that
	commit  bool   // how the transaction ends: asked for before, or, where it is open, after the restart
	settled string // the state in the end
}

// Goal: a transaction goes on from each state in which its coordinator may end, whichever markers are written: it has
// the end that was decided in each partition, nothing stays open, and its producer goes on. (A marker that was written
// comes again, as in Kafka: the coordinator does not know which were.)
// Method: each state, by both protocols; the disk is copied then, with what was not flushed torn at random, and a
// broker starts on the copy.
func TestTransactionsAreRecoveredFromEachState(t *testing.T) {
	for _, r := range []recovery{
		{"Empty", "", false, "Empty"},
		{"Ongoing", "", true, "CompleteCommit"},
		{"Ongoing", "", false, "CompleteAbort"},
		{"PrepareCommit", "/orders", true, "CompleteCommit"},
		{"PrepareCommit", "/b/orders", true, "CompleteCommit"},
		{"PrepareAbort", "/orders", false, "CompleteAbort"},
		{"PrepareAbort", "/b/orders", false, "CompleteAbort"},
		{"CompleteCommit", "", true, "CompleteCommit"},
		{"CompleteAbort", "", false, "CompleteAbort"},
	} {
		for _, isOlder := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, stuck %q, commit %v, older %v", r.state, r.stuck, r.commit, isOlder),
				func(t *testing.T) { r.run(t, isOlder) })
		}
	}
}

func (r *recovery) run(t *testing.T, isOlder bool) {
	disk := vfs.NewMem()
	sick := newSickDisk(disk, vfs.OpWrite)
	settings := with("transaction.state.log.num.partitions=1")
	n, inA, _ := twoDirs(t, sick, settings)
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	p := &txnProducer{c: n.client(), id: "t", isOlder: isOlder}
	if err := p.begin(); err != nil {
		t.Fatal(err)
	}
	if r.state != "Empty" {
		p.writeBoth(t, "first")
	}
	sick.gate.Store(&gate)
	sick.below.Store(&r.stuck)
	if r.stuck == "" {
		sick.below.Store(nil)
	}
	if r.state != "Empty" && r.state != "Ongoing" {
		p.mustEnd(t, r.commit)
	}
	p.await(t, r.state)
	if r.stuck == "/b/orders" {
		eventually(t, "one marker is written", func() bool { return n.markers(inA) == 1 })
	}
	after := startNode(t, on(disk.CrashClone(rand.New(rand.NewPCG(3, 19))), "/a,/b"), settings)
	open()
	n.stop()
	p.c, p.correlation = after.client(), 0
	r.check(after, p, inA)
}

// check holds the broker against what was decided, and has the producer go on.
func (r *recovery) check(n *node, p *txnProducer, inA int32) {
	n.t.Helper()
	var want []string
	var ends [2]int // markers in each partition
	switch r.state {
	case "Empty":
		if code, err := p.end(true); err != nil || code != kafka.InvalidTxnState.Code {
			n.t.Fatal(errorName(code), err)
		}
	case "Ongoing":
		p.await(n.t, r.state)
		p.Sequence++
		p.writeBoth(n.t, "second")
		p.mustEnd(n.t, r.commit)
		ends = [2]int{1, 1}
		if r.commit {
			want = append(want, "first", "second")
		}
	default:
		ends = [2]int{1, 1}
		if r.stuck == "/b/orders" {
			ends[inA]++
		}
		if r.commit {
			want = append(want, "first")
		}
	}
	p.await(n.t, r.settled)
	n.checkBoth(want, ends)
	if p.isOlder && r.state != "Empty" {
		p.Sequence++
	} else {
		p.Sequence = 0 // the first of its epoch
	}
	p.writeBoth(n.t, "last")
	p.mustEnd(n.t, true)
	p.await(n.t, "CompleteCommit")
	n.checkBoth(append(want, "last"), [2]int{ends[0] + 1, ends[1] + 1})
}

// checkBoth wants these records to be committed in both partitions, so many markers in each, and nothing open.
func (n *node) checkBoth(want []string, markers [2]int) {
	n.t.Helper()
	c := n.client()
	for partition := range int32(2) {
		got, isOpen := c.committedValues("orders", partition)
		if !slices.Equal(got, want) || isOpen || n.markers(partition) != markers[partition] {
			n.t.Errorf("partition %d: %q are committed, open: %v, %d markers; want %q and %d", partition, got, isOpen,
				n.markers(partition), want, markers[partition])
		}
	}
}

// markers counts the control batches of a partition.
func (n *node) markers(partition int32) (count int) {
	n.t.Helper()
	r := changed(fetchRequest(12, "orders", kafka.ZeroUUID, partition, 0),
		func(r *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) {
			r.MaxWaitMillis, p.PartitionMaxBytes = 10, 50<<20
		})
	for rest := ask[*kmsg.FetchResponse](n.client(), r).Topics[0].Partitions[0].RecordBatches; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			n.t.Fatal(err)
		}
		if rest = after; b.IsControl() {
			count++
		}
	}
	return count
}

// writeBoth writes a record to each partition.
func (p *txnProducer) writeBoth(t testing.TB, value string) {
	t.Helper()
	for partition := range int32(2) {
		if code, err := p.write("orders", partition, value); err != nil || code != kafka.NoError {
			t.Fatal(errorName(code), err)
		}
	}
}

func (p *txnProducer) mustEnd(t testing.TB, commit bool) {
	t.Helper()
	if code, err := p.end(commit); err != nil || code != kafka.NoError {
		t.Fatal(errorName(code), err)
	}
}

// await waits for a state of the transactional id.
func (p *txnProducer) await(t testing.TB, state string) {
	t.Helper()
	eventually(t, "the transaction is "+state, func() bool {
		got, err := p.state()
		if err != nil {
			t.Fatal(err)
		}
		return got == state
	})
}
