package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeFlags say what is read and how it is printed.
type consumeFlags struct {
	clientFlags
	partitions []int32
	from       string
	count      int64
	toEnd      bool
	committed  bool
	printing   printFlags
}

// newConsume is "spate consume".
func newConsume() *cobra.Command {
	var flags consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print the records of a topic, and then those that arrive",
		Example: `  spate consume orders
  spate consume orders --from latest --print timestamp,key
  spate consume orders --partition 0 --from -10 --to-end --output json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.consume(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags.add(cmd)
	cmd.Flags().Int32SliceVarP(&flags.partitions, "partition", "p", nil, "partitions to read, by commas; none: all")
	cmd.Flags().StringVarP(&flags.from, "from", "f", "earliest", "where to begin: earliest, latest, an offset, -N for "+
		"the last N\nof each partition, or a time: 2006-01-02T15:04:05Z, @milliseconds, or -1h")
	cmd.Flags().Int64VarP(&flags.count, "count", "c", 0, "stop after so many records; 0: do not")
	cmd.Flags().BoolVarP(&flags.toEnd, "to-end", "e", false, "stop at the end, instead of waiting for more")
	cmd.Flags().BoolVar(&flags.committed, "read-committed", false, "leave out what open and aborted transactions wrote")
	flags.printing.add(cmd)
	return cmd
}

// consume reads until the count or the end is reached, or the command is interrupted.
func (f *consumeFlags) consume(ctx context.Context, topic string, out, status io.Writer) error {
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
	client, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	r := &reading{topic: topic, count: f.count, toEnd: f.toEnd, print: show}
	if err := r.resolve(ctx, kadm.NewClient(client), f.partitions, from, f.committed); err != nil {
		return err
	}
	client.Close() // it knows nothing of the partitions; a client that reads is set up with them
	buffered := bufio.NewWriterSize(out, 64<<10)
	err = r.run(ctx, f, buffered, status)
	return errors.Join(err, buffered.Flush())
}

// reading is the state of one run.
type reading struct {
	topic string
	count int64
	toEnd bool
	print printer
	spans map[int32]*span // by partition; those that are read to their end are taken out
	read  int64           // records printed
}

// span is what is read of one partition.
type span struct{ next, end int64 }

// resolve asks where the partitions begin and end, and where from lies in them.
func (r *reading) resolve(ctx context.Context, admin *kadm.Client, wanted []int32, from start, committed bool) error {
	topics, err := admin.ListTopics(ctx, r.topic)
	if err != nil {
		return err
	}
	detail := topics[r.topic]
	if detail.Err != nil {
		return explain(r.topic, detail.Err, "")
	}
	if len(wanted) == 0 {
		wanted = detail.Partitions.Numbers()
	}
	list := admin.ListEndOffsets
	if committed {
		list = admin.ListCommittedOffsets
	}
	starts, err := admin.ListStartOffsets(ctx, r.topic)
	if err != nil {
		return err
	}
	ends, err := list(ctx, r.topic)
	if err != nil {
		return err
	}
	times := starts
	if from.kind == fromTime {
		if times, err = admin.ListOffsetsAfterMilli(ctx, from.value, r.topic); err != nil {
			return err
		}
	}
	r.spans = make(map[int32]*span, len(wanted))
	for _, p := range wanted {
		if _, ok := detail.Partitions[p]; !ok {
			return fmt.Errorf("topic %s has no partition %d; it has %d", r.topic, p, len(detail.Partitions))
		}
		first, _ := starts.Lookup(r.topic, p)
		last, _ := ends.Lookup(r.topic, p)
		at, _ := times.Lookup(r.topic, p)
		if err := errors.Join(first.Err, last.Err, at.Err); err != nil {
			return fmt.Errorf("partition %d: %w", p, explain(r.topic, err, ""))
		}
		next, err := from.resolve(first.Offset, last.Offset, at.Offset)
		if err != nil {
			return fmt.Errorf("partition %d of %s: %w", p, r.topic, err)
		}
		r.spans[p] = &span{next, last.Offset}
	}
	return nil
}

// run reads and prints.
func (r *reading) run(ctx context.Context, f *consumeFlags, out *bufio.Writer, status io.Writer) error {
	offsets := make(map[int32]kgo.Offset, len(r.spans))
	for p, s := range r.spans {
		offsets[p] = kgo.NewOffset().At(s.next)
	}
	options := []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // an offset that is gone is an error, never another offset
		kgo.KeepControlRecords(),                    // they are not printed, but they fill the offsets to the end
		kgo.KeepRetryableFetchErrors(),
	}
	if f.committed {
		options = append(options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if r.finished() {
		return nil
	}
	client, err := f.connect(ctx, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	hinted := !isTerminal(status) || r.toEnd
	for !r.finished() {
		fetches := r.poll(ctx, client)
		if ctx.Err() != nil {
			return nil // interrupted by the one who reads: not an error
		}
		if err := r.failure(fetches); err != nil {
			return err
		}
		if err := r.take(out, fetches); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if fetches.Empty() && !hinted {
			fmt.Fprintf(status, "at the end; waiting for more (Ctrl-C ends)\n")
			hinted = true
		}
	}
	return nil
}

// pollFor is how long one poll waits: after that long without a record, the end has been reached.
const pollFor = time.Second

// poll waits for records for a while.
func (r *reading) poll(ctx context.Context, client *kgo.Client) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, pollFor)
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
		case errors.Is(e.Err, kerr.OffsetOutOfRange):
			return fmt.Errorf("partition %d of %s: the offset to read next is gone; retention deleted it, "+
				"or the log was cut", e.Partition, e.Topic)
		default:
			return fmt.Errorf("partition %d: %w", e.Partition, explain(r.topic, e.Err, ""))
		}
	}
	return nil
}

// take prints the records of a poll, up to the count and, if asked, the ends.
func (r *reading) take(out *bufio.Writer, fetches kgo.Fetches) error {
	for records := fetches.RecordIter(); !records.Done() && !r.finished(); {
		record := records.Next()
		s := r.spans[record.Partition]
		if s == nil || r.toEnd && record.Offset >= s.end {
			continue
		}
		s.next = record.Offset + 1
		if record.Attrs.IsControl() {
			continue
		}
		r.read++
		if err := r.print(out, record); err != nil {
			return err
		}
	}
	return nil
}

// finished reports whether nothing is left to read.
func (r *reading) finished() bool {
	if r.count > 0 && r.read >= r.count {
		return true
	}
	if !r.toEnd {
		return false
	}
	for _, s := range r.spans {
		if s.next < s.end {
			return false
		}
	}
	return true
}
