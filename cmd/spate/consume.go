package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/kafka"
)

// consumeFlags say what is read and how it is printed.
type consumeFlags struct {
	clientFlags
	partitions []int32
	from       string
	count      int64
	toEnd      bool
	committed  bool
	quiet      bool
	group      groupFlags
	printing   printFlags
}

// newConsume is "spate consume".
func newConsume() *cobra.Command {
	var flags consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Print the records of topics, and then those that arrive",
		Long: `Print the records of topics, and then those that arrive.

With --group, the command is a member of a consumer group: it shares the partitions with the other members, goes on where
the group's committed offsets are, and commits what it has printed, every second and when it ends.`,
		Example: `  spate consume orders
  spate consume orders --from latest --print timestamp,key
  spate consume orders --partition 0 --from -10 --to-end --output json
  spate consume orders refunds --group billing
  spate consume orders --group billing --protocol consumer --to-end --quiet`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.group.given(cmd); err != nil {
				return usageError{err}
			}
			return flags.consume(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags.add(cmd)
	cmd.Flags().Int32SliceVarP(&flags.partitions, "partition", "p", nil, "partitions to read, by commas; none: all")
	cmd.Flags().
		StringVarP(&flags.from, "from", "f", "earliest", "where to begin: earliest, latest, an offset, -N for "+
			"the last N\nof each partition, or a time: 2006-01-02T15:04:05Z, @milliseconds, or -1h;\nwith --group "+
			"only where "+
			"the group has no committed offset")
	cmd.Flags().Int64VarP(&flags.count, "count", "c", 0, "stop after so many records; 0: do not")
	cmd.Flags().BoolVarP(&flags.toEnd, "to-end", "e", false, "stop at the end, instead of waiting for more")
	cmd.Flags().
		BoolVar(&flags.committed, "read-committed", false, "leave out what open and aborted transactions wrote")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print nothing but records and errors")
	flags.group.add(cmd)
	flags.printing.add(cmd)
	return cmd
}

// consume reads until the count or the end is reached, or the command is interrupted.
func (f *consumeFlags) consume(ctx context.Context, topics []string, out, status io.Writer) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	show, err := f.printing.printer(asJSON)
	if err != nil {
		return err
	}
	from, err := parseStart(f.from, time.Now())
	if err != nil {
		return usageError{err}
	}
	if err := f.check(topics); err != nil {
		return usageError{err}
	}
	r := &reading{
		flags: f, topics: topics, from: from, print: show, out: bufio.NewWriterSize(out, 64<<10), status: status,
		meter: meter{began: time.Now()}, spans: make(map[kafka.TopicPartition]*span),
	}
	r.line.m = &r.meter
	// A layout of the caller's own may leave a line open, which the rate would write over.
	if !f.quiet && isTerminal(status) && (f.printing.format == "" || !isTerminal(out)) {
		r.line.out = status
	}
	if f.group.name != "" {
		err = r.asMember(ctx)
	} else {
		err = r.alone(ctx)
	}
	r.line.erase()
	return errors.Join(err, r.out.Flush())
}

// check refuses flags that do not go together.
func (f *consumeFlags) check(topics []string) error {
	sorted := slices.Sorted(slices.Values(topics))
	switch {
	case len(slices.Compact(sorted)) < len(topics):
		return errors.New("a topic is named twice")
	case len(f.partitions) > 0 && len(topics) > 1:
		return errors.New("--partition needs one topic: each topic has partitions of its own")
	case len(f.partitions) > 0 && f.group.name != "":
		return errors.New("--partition and --group exclude each other: a group's coordinator says who reads what")
	}
	return f.group.check()
}

// reading is the state of one run.
type reading struct {
	flags  *consumeFlags
	topics []string
	from   start
	print  printer
	out    *bufio.Writer
	status io.Writer
	meter  meter
	line   rateLine

	mu    sync.Mutex                     // a group's callbacks change what follows while the run waits for records
	spans map[kafka.TopicPartition]*span // what is read; in a group, what is assigned at the moment
	left  bool                           // the member is on its way out of the group
	// failing is set while commits fail, so that it is said once.
	failing bool
}

// span is what is read of one partition.
type span struct {
	next, end int64
	epoch     int32 // the leader epoch of the record before next, or -1
	marked    bool  // next is part of the next commit
}

// of names the partition of a record.
func of(r *kgo.Record) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: r.Topic, Partition: kafka.PartitionIndex(r.Partition)}
}

// bounds are the ends of partitions, and the answer to a look-up by time.
type bounds struct{ starts, ends, times kadm.ListedOffsets }

// listBounds asks where topics begin and end.
func (r *reading) listBounds(ctx context.Context, admin *kadm.Client, topics []string) (b bounds, err error) {
	list := admin.ListEndOffsets
	if r.flags.committed {
		list = admin.ListCommittedOffsets
	}
	if b.starts, err = admin.ListStartOffsets(ctx, topics...); err != nil {
		return b, unwrapShards(err)
	}
	if b.ends, err = list(ctx, topics...); err != nil {
		return b, unwrapShards(err)
	}
	b.times = b.starts
	if r.from.kind == fromTime {
		b.times, err = admin.ListOffsetsAfterMilli(ctx, r.from.value, topics...)
	}
	return b, unwrapShards(err)
}

// span is what is to be read of a partition from the beginning that the flags ask for.
func (b bounds) span(topic string, p int32, from start) (*span, error) {
	first, _ := b.starts.Lookup(topic, p)
	last, _ := b.ends.Lookup(topic, p)
	at, _ := b.times.Lookup(topic, p)
	if err := errors.Join(first.Err, last.Err, at.Err); err != nil {
		return nil, fmt.Errorf("partition %d: %w", p, explain(topic, err, ""))
	}
	next, err := from.resolve(first.Offset, last.Offset, at.Offset)
	if err != nil {
		return nil, fmt.Errorf("partition %d of %s: %w", p, topic, err)
	}
	return &span{next: next, end: last.Offset, epoch: -1}, nil
}

// alone reads without a group.
func (r *reading) alone(ctx context.Context) error {
	client, err := r.flags.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	offsets, err := r.resolve(ctx, kadm.NewClient(client))
	if err != nil {
		return err
	}
	client.Close() // it knows nothing of the partitions; a client that reads is set up with them
	if r.finished() {
		return nil
	}
	client, err = r.flags.connect(ctx, append(r.options(),
		kgo.ConsumePartitions(offsets),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // an offset that is gone is an error, never another offset
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	return r.run(ctx, client, func() {})
}

// resolve finds out where to begin in each partition.
func (r *reading) resolve(ctx context.Context, admin *kadm.Client) (map[string]map[int32]kgo.Offset, error) {
	details, err := admin.ListTopics(ctx, r.topics...)
	if err != nil {
		return nil, err
	}
	for _, topic := range r.topics {
		if err := details[topic].Err; err != nil {
			return nil, explain(topic, err, "")
		}
	}
	b, err := r.listBounds(ctx, admin, r.topics)
	if err != nil {
		return nil, err
	}
	offsets := make(map[string]map[int32]kgo.Offset)
	for _, topic := range r.topics {
		wanted := r.flags.partitions
		if len(wanted) == 0 {
			wanted = details[topic].Partitions.Numbers()
		}
		offsets[topic] = make(map[int32]kgo.Offset)
		for _, p := range wanted {
			if _, ok := details[topic].Partitions[p]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d; it has %d", topic, p,
					len(details[topic].Partitions))
			}
			s, err := b.span(topic, p, r.from)
			if err != nil {
				return nil, err
			}
			r.spans[kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}] = s
			offsets[topic][p] = kgo.NewOffset().At(s.next)
		}
	}
	return offsets, nil
}

// fetchWait is how long a broker holds a fetch without records back: as long as that of Kafka's own consumers.
const fetchWait = time.Second / 2

// options are those of every client that reads.
func (r *reading) options() []kgo.Opt {
	options := []kgo.Opt{
		kgo.KeepControlRecords(), // they are not printed, but they fill the offsets to the end
		kgo.KeepRetryableFetchErrors(),
		kgo.FetchMaxWait(fetchWait), // a client that ends waits for the fetch that is under way
	}
	if r.flags.committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return options
}

// run reads and prints. printed is called when the records of a poll are written out.
func (r *reading) run(ctx context.Context, client *kgo.Client, printed func()) error {
	hinted := !isTerminal(r.status) || r.flags.toEnd || r.flags.quiet
	for !r.finished() {
		fetches := r.poll(ctx, client)
		if ctx.Err() != nil {
			return nil // interrupted by the one who reads: not an error
		}
		if err := r.failure(fetches); err != nil {
			return err
		}
		if !fetches.Empty() {
			r.line.erase()
		}
		err := r.take(fetches)
		if err := errors.Join(err, r.out.Flush()); err != nil {
			return err
		}
		printed()
		if fetches.Empty() && !hinted && r.reading() {
			r.line.say(r.status, "at the end; waiting for more (Ctrl-C ends)")
			hinted = true
		}
		if r.reading() {
			r.line.paint(time.Now())
		}
	}
	return nil
}

// How long one poll waits: after pollFor without a record, the end has been reached. With --to-end a member may find
// that it has nothing to wait for at all, and looks more often.
const (
	pollFor      = time.Second
	pollToEndFor = time.Second / 10
)

// poll waits for records for a while.
func (r *reading) poll(ctx context.Context, client *kgo.Client) kgo.Fetches {
	wait := pollFor
	if r.flags.toEnd {
		wait = pollToEndFor
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return client.PollFetches(ctx)
}

// failure is the first error of a poll that the client does not get over by itself.
func (r *reading) failure(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		polled := errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled)
		passes := kerr.IsRetriable(e.Err) && !errors.Is(e.Err, kerr.UnknownTopicOrPartition)
		switch {
		case polled || passes:
		case r.flags.group.name != "":
			if err := r.flags.group.failure(e); err != nil {
				return err
			}
		case errors.Is(e.Err, kerr.OffsetOutOfRange):
			return fmt.Errorf("partition %d of %s: the offset to read next is gone; retention deleted it, "+
				"or the log was cut", e.Partition, e.Topic)
		default:
			return fmt.Errorf("partition %d: %w", e.Partition, explain(e.Topic, e.Err, ""))
		}
	}
	return nil
}

// take prints the records of a poll, up to the count and, if asked, the ends.
func (r *reading) take(fetches kgo.Fetches) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for records := fetches.RecordIter(); !records.Done() && !r.finishedLocked(); {
		record := records.Next()
		s := r.spans[of(record)]
		if s == nil || r.flags.toEnd && record.Offset >= s.end {
			continue
		}
		s.next, s.epoch, s.marked = record.Offset+1, record.LeaderEpoch, false
		if record.Attrs.IsControl() {
			continue
		}
		r.meter.count(len(record.Key) + len(record.Value))
		if err := r.print(r.out, record); err != nil {
			return err
		}
	}
	return nil
}

// reading reports whether there is anything that records can come from.
func (r *reading) reading() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.spans) > 0
}

// finished reports whether nothing is left to read.
func (r *reading) finished() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finishedLocked()
}

func (r *reading) finishedLocked() bool {
	if r.flags.count > 0 && r.meter.records.Load() >= r.flags.count {
		return true
	}
	// A member that has nothing yet waits for those that have: the end is that of what it reads itself.
	if !r.flags.toEnd || r.flags.group.name != "" && len(r.spans) == 0 {
		return false
	}
	for _, s := range r.spans {
		if s.next < s.end {
			return false
		}
	}
	return true
}

// sortedPartitions puts partitions in order.
func sortedPartitions(partitions []kafka.TopicPartition) []kafka.TopicPartition {
	slices.SortFunc(partitions, func(a, b kafka.TopicPartition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return partitions
}
