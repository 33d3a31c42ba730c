package compat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// drain adds a record to the end of each partition of the input, outside of transactions, and waits until the groups
// have come there: before, the transactions that the producers have left open are aborted for their age.
func (r *chainRun) drain(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, c := range r.chains {
		last := &inputTransaction{from: c.numbers(), to: c.numbers() + chainInPartitions, end: "committed"}
		ends := map[int32]int64{}
		for number := last.from; number < last.to; number++ {
			record := &kgo.Record{Topic: c.in, Partition: int32(number % chainInPartitions),
				Value: strconv.AppendInt(nil, number, 10)}
			if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
				return err
			}
			ends[record.Partition] = record.Offset + 1
		}
		c.input = append(c.input, last)
		err := r.eventually(ctx, "group "+c.group, func() (bad []string, err error) {
			at, err := r.admin.FetchOffsets(ctx, c.group)
			for p, end := range ends {
				if o, ok := at.Lookup(c.in, p); !ok || o.At != end {
					bad = append(bad, fmt.Sprintf("at %d of %d in partition %d", o.At, end, p))
				}
			}
			return bad, err
		})
		if err != nil {
			return fmt.Errorf("%w; %v", err, c.complaints())
		}
	}
	return nil
}

// eventually waits until nothing is bad.
func (r *chainRun) eventually(ctx context.Context, what string, ask func() (bad []string, err error)) error {
	ctx, cancel := context.WithTimeout(ctx, chainWithin)
	defer cancel()
	var bad []string
	var failed error
	err := waitFor(ctx, func() (bool, error) {
		bad, failed = ask()
		return failed == nil && len(bad) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%s after %v: %v, %w", what, chainWithin, bad, errors.Join(failed, err))
	}
	return nil
}

// settled waits until no transaction is open, neither for its coordinator nor in any partition.
func (r *chainRun) settled(ctx context.Context) error {
	topics := []string{"__consumer_offsets", "__transaction_state"}
	for _, c := range r.chains {
		topics = append(topics, c.in, c.out)
	}
	return r.eventually(ctx, "open transactions", func() (bad []string, err error) {
		listed, err := r.admin.ListTransactions(ctx, nil, nil)
		if err != nil {
			return nil, err
		}
		for _, l := range listed.Sorted() {
			if !strings.HasPrefix(l.State, "Complete") && l.State != "Empty" {
				bad = append(bad, l.TxnID+": "+l.State)
			}
		}
		open, err := openPartitions(ctx, r.admin, topics...)
		return append(bad, open...), err
	})
}

// chainRecords are the records of a topic's partitions, in their order.
type chainRecords [][]*kgo.Record

func (records chainRecords) count() (n int) {
	for _, some := range records {
		n += len(some)
	}
	return n
}

// read reads what there is of a topic.
func (r *chainRun) read(ctx context.Context, topic string, partitions int, level kgo.IsolationLevel) (
	chainRecords, error,
) {
	all, _, err := readTopic(ctx, r.target.bootstrap, topic, level)
	records := make(chainRecords, partitions)
	for _, record := range all {
		records[record.Partition] = append(records[record.Partition], record)
	}
	return records, err
}

// check compares what each chain has made with f of its input, before and after one more death of the broker.
func (r *chainRun) check(ctx context.Context) error {
	if err := r.settled(ctx); err != nil {
		return err
	}
	var made []chainRecords
	for _, c := range r.chains {
		in, err := r.read(ctx, c.in, chainInPartitions, kgo.ReadCommitted())
		if err != nil {
			return err
		}
		out, err := r.read(ctx, c.out, chainOutPartitions, kgo.ReadCommitted())
		if err != nil {
			return err
		}
		all, err := r.read(ctx, c.out, chainOutPartitions, kgo.ReadUncommitted())
		if err != nil {
			return err
		}
		c.records.in, c.records.out, c.records.aborted = in.count(), out.count(), all.count()-out.count()
		r.Logf("%s: %d records in, %d out, %d more in transactions that were aborted", c.library, c.records.in,
			c.records.out, c.records.aborted)
		if all.count() == out.count() {
			r.Errorf("%s: nothing was aborted, so that nothing is proved", c.library)
		}
		for _, bad := range append(c.wrongInput(in), wrongOutput(in, out)...) {
			r.Errorf("%s: %s", c.library, bad)
		}
		made = append(made, out)
	}
	if err := r.target.restart(); err != nil {
		return err
	}
	if err := r.settled(ctx); err != nil {
		return fmt.Errorf("after the broker's last death: %w", err)
	}
	for i, c := range r.chains {
		if err := c.readByOther(ctx, made[i]); err != nil {
			return err
		}
	}
	return nil
}

// wrongInput tells of numbers that are lost, there twice, or of transactions that are there in part.
func (c *chain) wrongInput(in chainRecords) (bad []string) {
	seen := map[int64]int{}
	for p, records := range in {
		for _, r := range records {
			number, err := strconv.ParseInt(string(r.Value), 10, 64)
			if err != nil || number%chainInPartitions != int64(p) {
				bad = append(bad, fmt.Sprintf("partition %d has %q in the input", p, r.Value))
			}
			seen[number]++
		}
	}
	for _, txn := range c.input {
		there := int64(0)
		for number := txn.from; number < txn.to; number++ {
			if seen[number] > 1 {
				bad = append(bad, fmt.Sprintf("%d is there %d times in the input", number, seen[number]))
			}
			there += int64(min(1, seen[number]))
			delete(seen, number)
		}
		none, all := there == 0, there == txn.to-txn.from
		if !none && !all || txn.end == "committed" && !all || txn.end == "aborted" && !none {
			bad = append(bad, fmt.Sprintf("%d of the numbers from %d to %d are in the input, the producer has heard %q",
				there, txn.from, txn.to, txn.end))
		}
	}
	for number := range seen {
		bad = append(bad, fmt.Sprintf("nobody has written %d", number))
	}
	return bad
}

// wrongOutput tells what in the output is not f of the input. The records from each partition of the input to each of
// the output must be in their order.
func wrongOutput(in, out chainRecords) (bad []string) {
	type pair struct{ from, to int }
	want, got := map[pair][]string{}, map[pair][]string{}
	for p, records := range in {
		for _, r := range records {
			made, err := (&franzChain{Partitions: chainOutPartitions}).transform(int32(p), r.Offset, r.Value)
			if err != nil {
				bad = append(bad, err.Error())
			}
			for _, m := range made {
				at := pair{p, int(m.Partition)}
				want[at] = append(want[at], fmt.Sprintf("%s=%s", m.Key, m.Value))
			}
		}
	}
	for q, records := range out {
		for _, r := range records {
			source, _, _ := strings.Cut(string(r.Value), "/")
			p, err := strconv.Atoi(source)
			if err != nil {
				bad = append(bad, fmt.Sprintf("%q in the output", r.Value))
				continue
			}
			at := pair{p, q}
			got[at] = append(got[at], fmt.Sprintf("%s=%s", r.Key, r.Value))
		}
	}
	pairs := slices.SortedFunc(maps.Keys(want), func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	for _, at := range pairs {
		if text := difference(want[at], got[at]); text != "" {
			bad = append(bad, fmt.Sprintf("from partition %d to %d: %s", at.from, at.to, text))
		}
		delete(got, at)
	}
	for at, records := range got {
		bad = append(bad, fmt.Sprintf("from partition %d to %d: %d records too many", at.from, at.to, len(records)))
	}
	return bad
}

// difference says how two lists differ: what is missing, there too often, or in another order.
func difference(want, got []string) string {
	if slices.Equal(want, got) {
		return ""
	}
	count := map[string]int{}
	for _, record := range want {
		count[record]--
	}
	for _, record := range got {
		count[record]++
	}
	var missing, surplus []string
	for record, n := range count {
		switch {
		case n < 0:
			missing = append(missing, record)
		case n > 0:
			surplus = append(surplus, record)
		}
	}
	if len(missing)+len(surplus) == 0 {
		return fmt.Sprintf("%d records in another order", len(want))
	}
	slices.Sort(missing)
	slices.Sort(surplus)
	return fmt.Sprintf("of %d records %d are missing %v, and %d too many %v", len(want), len(missing), few(missing),
		len(surplus), few(surplus))
}

func few(records []string) []string { return records[:min(len(records), 10)] }

// readByOther has another library read the output: it must see the same.
func (c *chain) readByOther(ctx context.Context, want chainRecords) error {
	other := map[string]string{"java": "confluent", "confluent": "java", "franz": "confluent"}[c.library]
	cmd, err := libraryNamed(other).host()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, chainWithin)
	got := make(chan *memberEvent)
	h, err := launchHost(cmd, func(_ string, e *memberEvent) {
		if e.Name != "record_data" {
			return
		}
		select {
		case got <- e:
		case <-ctx.Done():
		}
	})
	if err != nil {
		cancel()
		return err
	}
	defer func() { cancel(); h.kill() }()
	// Thrown out of its group, it would read some records again.
	config := libraryNamed(other).config(&memberOptions{bootstrap: c.run.target.bootstrap, group: "reader-" + c.library,
		protocol: "classic", assignor: "range", clientID: "reader", patient: true})
	config["isolation.level"] = "read_committed"
	err = h.tell(map[string]any{"op": "start", "member": "reader", "topic": c.out, "config": config})
	if err != nil {
		return err
	}
	at := make([]int, len(want))
	for n := range want.count() {
		select {
		case e := <-got:
			records := want[e.Partition]
			next := at[e.Partition]
			at[e.Partition]++
			if next == len(records) || records[next].Offset != e.Offset || string(records[next].Value) != e.Value {
				return fmt.Errorf("%s has read %q at %d of partition %d of what %s has made, after %d records",
					other, e.Value, e.Offset, e.Partition, c.library, next)
			}
		case <-ctx.Done():
			return fmt.Errorf("%s has read %d of %d records of %s: %s", other, n, want.count(), c.library, h.errs)
		}
	}
	c.run.Logf("%s has read all %d records of %s", other, want.count(), c.library)
	return nil
}

var chainNumbers = regexp.MustCompile(`[0-9]+`)

// lastLine is the end of a text, without numbers, which no two have in common.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return chainNumbers.ReplaceAllString(lines[len(lines)-1], "N")
}
