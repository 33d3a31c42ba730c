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
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/kafka"
)

// consumeFlags say what is read and how it is printed.
type consumeFlags struct {
	clientFlags
	partitions []int32
	from       string
	to         string
	count      int64
	toEnd      bool
	committed  bool
	quiet      bool
	filters    filterFlags
	group      groupFlags
	printing   printFlags
}

// newConsume is "spate consume".
func newConsume() *cobra.Command {
	var flags consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Print the records of topics: all, a range of offsets or time, or those that arrive",
		Long: `Print the records of topics, and then those that arrive.

With --to or --to-end it reads history: up to that place, or to what is there now, and then it ends. --from and --to
take the same places. --to is exclusive, so that --from 2026-03-01 --to 2026-03-02 is one day; a time stands for the
first record at or after it, and for the end where no record is that late.

With --group, the command is a member of a consumer group: it shares the partitions with the other members, goes on where
the group's committed offsets are, and commits what it has printed or filtered out, every second and when it ends.`,
		Example: `  spate consume orders
  spate consume orders --from latest --print timestamp,key
  spate consume orders --from 2h --to 1h --key customer-17 --output json
  spate consume orders --from 0:100,1:250 --to 0:200,1:300
  spate consume orders --partitions 0 --from -10 --to-end
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
	f := cmd.Flags()
	f.Int32SliceVarP(&flags.partitions, "partitions", "p", nil, "partitions to read, by commas; none: all")
	f.StringVarP(
		&flags.from,
		"from",
		"f",
		"earliest",
		"where to begin: earliest, latest, an offset, -N for N records "+
			"before the end,\na time (2006-01-02T15:04:05Z, 2006-01-02, @milliseconds) or how long ago (2h, 7d);\n"+
			"or by partition, 0:100,1:200, which reads only these;\nwith --group only where the group has no "+
			"committed offset",
	)
	f.StringVarP(
		&flags.to,
		"to",
		"t",
		"",
		"where to stop, in the same words; the record there is not printed any more",
	)
	f.BoolVarP(&flags.toEnd, "to-end", "e", false, "stop at the end as it is now, instead of waiting for more")
	f.Int64VarP(&flags.count, "count", "c", 0, "stop after so many printed records; 0: do not")
	f.BoolVar(&flags.committed, "read-committed", false, "leave out what open and aborted transactions wrote")
	f.BoolVarP(&flags.quiet, "quiet", "q", false, "print nothing but records and errors")
	flags.filters.add(cmd)
	flags.group.add(cmd)
	flags.printing.add(cmd)
	return cmd
}

// outBytes is how much of the output is gathered for one write.
const outBytes = 256 << 10

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
	r := &reading{
		flags: f, topics: topics, print: show, out: bufio.NewWriterSize(out, outBytes), status: status,
		meter: meter{began: time.Now()}, spans: make(map[kafka.TopicPartition]*span),
	}
	if err := r.parse(r.meter.began); err != nil {
		return usageError{err}
	}
	r.meter.filters = r.filter.any
	r.line.m, r.mixed = &r.meter, isTerminal(out)
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

// parse reads the flags that say which records are printed.
func (r *reading) parse(now time.Time) (err error) {
	f := r.flags
	if r.from, err = parsePlaces(f.from, now); err != nil {
		return fmt.Errorf("--from %w", err)
	}
	r.bounded, r.to = f.toEnd, places{all: place{kind: atLatest}}
	if f.to != "" {
		r.bounded = true
		if r.to, err = parsePlaces(f.to, now); err != nil {
			return fmt.Errorf("--to %w", err)
		}
	}
	if r.filter, err = f.filters.compile(); err != nil {
		return err
	}
	return f.check(r.topics, r.from, r.to)
}

// check refuses flags that do not go together.
func (f *consumeFlags) check(topics []string, from, to places) error {
	sorted := slices.Sorted(slices.Values(topics))
	switch {
	case len(slices.Compact(sorted)) < len(topics):
		return errors.New("a topic is named twice")
	case len(f.partitions) > 0 && len(topics) > 1:
		return errors.New("--partitions needs one topic: each topic has partitions of its own")
	case len(f.partitions) > 0 && f.group.name != "":
		return errors.New("--partitions and --group exclude each other: a group's coordinator says who reads what")
	case f.toEnd && f.to != "":
		return errors.New("--to and --to-end exclude each other: --to-end is --to latest")
	case f.to != "" && f.group.name != "":
		return errors.New("--to and --group exclude each other: a member stops at the end with --to-end")
	case f.count < 0:
		return fmt.Errorf("--count %d: must not be negative", f.count)
	}
	if err := f.checkPlaces(topics, from, to); err != nil {
		return err
	}
	return f.group.check()
}

// reading is the state of one run.
type reading struct {
	flags    *consumeFlags
	topics   []string
	from, to places
	bounded  bool // the run ends where its spans do
	filter   filter
	print    printer
	out      *bufio.Writer
	status   io.Writer
	mixed    bool // records and status are on one terminal
	meter    meter
	line     rateLine

	mu    sync.Mutex                     // a group's callbacks change what follows while the run waits for records
	spans map[kafka.TopicPartition]*span // what is read; in a group, what is assigned at the moment
	left  bool                           // the member is on its way out of the group
	// failing is set while commits fail, and away while no broker answers a run with an end, so that it is said once.
	// fallen is set from when the member has fallen out of its group until it has joined again.
	failing, away, fallen bool
}

// span is what is read of one partition.
type span struct {
	first, next, end int64 // where it began, the next offset to read, and where it ends if the run does
	epoch            int32 // the leader epoch of the record before next, or -1
	marked           bool  // next is part of the next commit
}

// fetchWait is how long a broker holds a fetch without records back: as long as that of Kafka's own consumers.
const fetchWait = time.Second / 2

// partitionBytes is the most of one partition in an answer: much more than Kafka's default, since what is read is
// mostly history, and each round costs a pause.
const partitionBytes = 8 << 20

// options are those of every client that reads.
func (r *reading) options() []kgo.Opt {
	options := []kgo.Opt{
		kgo.KeepControlRecords(), // they are not printed, but they fill the offsets to the end
		kgo.KeepRetryableFetchErrors(),
		kgo.FetchMaxWait(fetchWait), // a client that ends waits for the fetch that is under way
		kgo.FetchMaxPartitionBytes(partitionBytes),
	}
	if r.flags.committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	return options
}

// run reads and prints. printed is called when the records of a poll are written out.
func (r *reading) run(ctx context.Context, client *kgo.Client, printed func()) error {
	hinted := !isTerminal(r.status) || r.bounded || r.flags.quiet
	for !r.finished() {
		fetches := r.poll(ctx, client)
		if ctx.Err() != nil {
			return nil // interrupted by the one who reads: not an error
		}
		if err := r.failure(fetches); err != nil {
			return err
		}
		if !fetches.Empty() && r.mixed {
			r.line.erase()
		}
		err := r.take(fetches, client)
		if err := errors.Join(err, r.out.Flush()); err != nil {
			return err
		}
		if fetches.Empty() && r.bounded {
			r.stalled(ctx, client)
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

// How long one poll waits: after pollFor without a record, the end has been reached. With an end to reach, there may
// be nothing to wait for at all, and the run looks more often.
const (
	pollFor        = time.Second
	pollBoundedFor = time.Second / 10
)

// poll waits for records for a while.
func (r *reading) poll(ctx context.Context, client *kgo.Client) kgo.Fetches {
	wait := pollFor
	if r.bounded {
		wait = pollBoundedFor
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

// take prints the records of a poll, up to the count and the ends.
func (r *reading) take(fetches kgo.Fetches, client *kgo.Client) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		at := kafka.TopicPartition{Topic: p.Topic, Partition: kafka.PartitionIndex(p.Partition)}
		s := r.spans[at]
		if s == nil || err != nil || r.counted() {
			return
		}
		before := s.next
		err = r.takeSpan(s, p.Records)
		r.meter.passed.Add(s.next - before)
		if r.bounded && s.next >= s.end && r.flags.group.name == "" {
			client.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
		}
	})
	return err
}

// takeSpan prints the records of one partition.
func (r *reading) takeSpan(s *span, records []*kgo.Record) error {
	for _, record := range records {
		if r.bounded && record.Offset >= s.end {
			// The offsets before it may have been compacted away: the end is reached all the same.
			s.next, s.marked = max(s.next, s.end), s.marked && s.next >= s.end
			return nil
		}
		s.next, s.epoch, s.marked = record.Offset+1, record.LeaderEpoch, false
		if record.Attrs.IsControl() {
			continue
		}
		r.meter.count(len(record.Key) + len(record.Value))
		if !r.filter.takes(record) {
			continue
		}
		r.meter.matched.Add(1)
		if err := r.print(r.out, record); err != nil {
			return err
		}
		if r.counted() {
			return nil
		}
	}
	return nil
}

// counted reports whether as many records were printed as were asked for.
func (r *reading) counted() bool { return r.flags.count > 0 && r.meter.matched.Load() >= r.flags.count }

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
	if r.counted() {
		return true
	}
	// A member that has nothing yet waits for those that have: the end is that of what it reads itself.
	if !r.bounded || r.flags.group.name != "" && len(r.spans) == 0 {
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
