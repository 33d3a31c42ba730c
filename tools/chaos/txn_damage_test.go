package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"spate/kafka"
	"spate/kafka/record"
)

// Goal: the checker finds what a broker does wrong, not only what stands in a made-up history. Method: a load of
// transactions runs to its end; then copies of the stopped broker's files are altered as a fault of the broker could
// have written them, and a broker that knows nothing of it serves them to the checker.
func TestTxnCheckFindsWhatIsPlantedInABroker(t *testing.T) {
	settings := txnSettings(map[string]string{
		"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1",
	})
	base := t.TempDir()
	n, err := startNode(filepath.Join(base, "clean"), settings)
	must(t, err)
	defer func() { n.Kill() }()
	must(t, TxnPlan{}.createTopic(t.Context(), n.Bootstrap))
	load := startTxnLoad(n.Bootstrap, *seed, false)
	defer load.close()
	must(t, load.await(n, txnsPerRound))
	read := func() int { return len(load.history.readOf(0)) }
	must(t, n.until(func() bool { return read() >= 100 }, func() string { return fmt.Sprint("read only ", read()) }))
	load.stop()
	client := load.client()
	final, err := load.settled(t.Context(), kadm.NewClient(client))
	client.Close()
	must(t, err)
	if final.isOpen() {
		t.Fatalf("%+v", final)
	}
	must(t, n.Stop())
	load.settle = 2 * time.Second // what is open now stays so

	for _, c := range []struct {
		name  string
		plant func(x *damage)
		kind  string // "" wants a clean answer
	}{
		{"nothing", func(*damage) {}, ""},
		{"indexes and snapshots are made anew", func(x *damage) { x.log(txnTopic+"-0", nil) }, ""},
		{"commits become aborts", func(x *damage) {
			x.log(txnTopic+"-0", x.every(isCommit, turned))
		}, lostWrite},
		{"aborts become commits", func(x *damage) {
			x.log(txnTopic+"-1", x.every(isAbort, turned))
		}, abortedRead},
		{"the index of aborted transactions is lost", func(x *damage) {
			for _, name := range x.files(txnTopic+"-2", "*.txnindex") {
				must(x.T, os.Truncate(name, 0))
			}
		}, abortedRead},
		{"a marker is that of another producer", func(x *damage) {
			x.log(txnTopic+"-0", func(all []record.Batch) []record.Batch {
				last := len(all) - 1
				for all[last].IsControl() {
					last--
				}
				producer := all[last].ProducerID()
				return slices.Concat(all[:last+1], x.every(func(b record.Batch) bool {
					return b.ProducerID() == producer
				}, func(b record.Batch) []record.Batch {
					return []record.Batch{rebuilt(x.T, b, producer+1000, same)}
				})(all[last+1:]))
			})
		}, stableStuck},
		{"the records of a transaction are appended twice", func(x *damage) {
			x.log(txnTopic+"-1", x.replaced(isData, func(b record.Batch) []record.Batch {
				return []record.Batch{b, rebuilt(x.T, b, kafka.NoProducerID, same)}
			}))
		}, duplicate},
		{"a record has another one's content", func(x *damage) {
			x.log(txnTopic+"-0", func(all []record.Batch) []record.Batch {
				other, read := lastValue(all), load.history.readOf(0)
				return x.replaced(func(b record.Batch) bool {
					return isData(b) && read[int64(b.BaseOffset())]
				}, func(b record.Batch) []record.Batch {
					return []record.Batch{rebuilt(x.T, b, b.ProducerID(), func(value []byte) []byte {
						if other != nil { // only the first
							value, other = other, nil
						}
						return value
					})}
				})(all)
			})
		}, twoContents},
		{"the offsets of groups are aborted", func(x *damage) {
			x.log("__consumer_offsets-0", x.every(isCommit, turned))
		}, groupLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			n.options.DataDir = dir
			if out, err := exec.Command("cp", "-r", filepath.Join(base, "clean"), dir).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			c.plant(&damage{t, dir})
			must(t, n.start())
			defer n.Kill()
			final, err := load.final(t.Context())
			must(t, n.told(err))
			var got []string
			if final.isOpen() {
				got = load.history.CheckClosed(final)
			} else {
				got = load.history.Check(final).Violations
			}
			is := func(violation string) bool { return strings.HasPrefix(violation, c.kind+": ") }
			if c.kind == "" && len(got) > 0 || c.kind != "" && !slices.ContainsFunc(got, is) {
				t.Errorf("violations: %q, want %q", got, c.kind)
			}
			t.Logf("%d violations", len(got))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// damage alters the files of a stopped broker.
type damage struct {
	*testing.T
	dir string
}

func (x *damage) files(folder, pattern string) []string {
	x.Helper()
	found, err := filepath.Glob(filepath.Join(x.dir, folder, pattern))
	must(x.T, err)
	return found
}

// log writes the only segment of a partition anew, and has the broker make everything anew that follows from logs.
func (x *damage) log(folder string, alter func([]record.Batch) []record.Batch) {
	x.Helper()
	for _, name := range []string{".kafka_cleanshutdown", "recovery-point-offset-checkpoint"} {
		must(x.T, os.Remove(filepath.Join(x.dir, name)))
	}
	for _, pattern := range []string{"*.index", "*.timeindex", "*.txnindex", "*.snapshot"} {
		for _, name := range x.files(folder, pattern) {
			must(x.T, os.Remove(name))
		}
	}
	if alter == nil {
		return
	}
	logs := x.files(folder, "*.log")
	if len(logs) != 1 {
		x.Fatalf("%s has %d segments: %v", folder, len(logs), logs)
	}
	name := logs[0]
	data, err := os.ReadFile(name)
	must(x.T, err)
	var batches []record.Batch
	for rest := data; len(rest) > 0; {
		var b record.Batch
		b, rest, err = record.Next(rest)
		must(x.T, err)
		batches = append(batches, b)
	}
	var out []byte
	next := batches[0].BaseOffset()
	for _, b := range alter(batches) {
		b = slices.Clone(b)
		b.SetBaseOffset(next)
		next = b.NextOffset()
		out = append(out, b...)
	}
	must(x.T, os.WriteFile(name, out, 0o644))
}

// replaced replaces the first batch of a kind.
func (x *damage) replaced(
	is func(record.Batch) bool, by func(record.Batch) []record.Batch,
) func([]record.Batch) []record.Batch {
	return func(all []record.Batch) []record.Batch {
		for i, b := range all {
			if is(b) {
				return slices.Concat(all[:i], by(b), all[i+1:])
			}
		}
		x.Fatal("there is no such batch")
		return nil
	}
}

// every replaces every batch of a kind by one that is of another.
func (x *damage) every(
	is func(record.Batch) bool, by func(record.Batch) []record.Batch,
) func([]record.Batch) []record.Batch {
	return func(all []record.Batch) []record.Batch {
		for slices.ContainsFunc(all, is) {
			all = x.replaced(is, by)(all)
		}
		return all
	}
}

func isData(b record.Batch) bool   { return !b.IsControl() }
func isCommit(b record.Batch) bool { return b.IsControl() && controlOf(b) == record.ControlCommit }
func isAbort(b record.Batch) bool  { return b.IsControl() && controlOf(b) == record.ControlAbort }

func controlOf(b record.Batch) record.ControlType {
	it := b.Records()
	defer it.Close()
	r, _ := it.Next()
	kind, _ := r.ControlType()
	return kind
}

// readOf is the offsets of a partition that any consumer was given.
func (h *TxnHistory) readOf(partition int32) map[int64]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	offsets := map[int64]bool{}
	for at := range h.dirty {
		if at.Partition == partition {
			offsets[at.Offset] = true
		}
	}
	return offsets
}

// lastValue is the value of the last record that is data: another one than the first's of a batch that was read, of
// which there are some.
func lastValue(all []record.Batch) (value []byte) {
	for _, b := range slices.Backward(all) {
		if !isData(b) {
			continue
		}
		it := b.Records()
		defer it.Close()
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			value = slices.Clone(r.Value)
		}
		return value
	}
	return nil
}

// turned is the opposite marker.
func turned(b record.Batch) []record.Batch {
	kind := record.ControlCommit
	if controlOf(b) == record.ControlCommit {
		kind = record.ControlAbort
	}
	w := builderLike(b, b.ProducerID())
	w.AppendEndTxnMarker(b.MaxTimestamp(), kind, 0)
	next, err := w.Build()
	if err != nil {
		panic(err) // what is built is that small
	}
	return []record.Batch{next}
}

func same(value []byte) []byte { return value }

// rebuilt is a batch with another producer and other values.
func rebuilt(t *testing.T, b record.Batch, producer kafka.ProducerID, change func([]byte) []byte) record.Batch {
	t.Helper()
	w := builderLike(b, producer)
	it := b.Records()
	defer it.Close()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if b.IsControl() {
			w.AppendEndTxnMarker(r.Timestamp, controlOf(b), 0)
			continue
		}
		w.Append(r.Timestamp, r.Key, change(r.Value))
	}
	must(t, it.Err())
	next, err := w.Build()
	must(t, err)
	return next
}

// builderLike begins a batch of the kind of another. A batch of no producer is outside of transactions.
func builderLike(b record.Batch, producer kafka.ProducerID) *record.Builder {
	o := record.BuilderOptions{LeaderEpoch: b.LeaderEpoch(), Control: b.IsControl()}
	if producer != kafka.NoProducerID {
		o.Transactional = true
		o.Producer = &record.Producer{ID: producer, Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()}
	}
	return record.NewBuilder(o)
}
