package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"spate/internal/task"
)

// produceFlags say how lines become records and how they are sent.
type produceFlags struct {
	clientFlags
	keySeparator string
	null         string
	headers      []string
	partition    int32
	compression  string
	acks         string
	linger       time.Duration
	timeout      time.Duration
	quiet        bool
}

// newProduce is "spate produce".
func newProduce() *cobra.Command {
	var flags produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC [FILE]",
		Short: "Send the lines of standard input, or of a file, as records",
		Example: `  echo hello | spate produce greetings
  spate produce orders orders.txt --key-separator : --compression zstd`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if len(args) == 2 && args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			return flags.produce(cmd.Context(), args[0], in, cmd.ErrOrStderr())
		},
	}
	flags.addBootstrap(cmd)
	cmd.Flags().StringVarP(&flags.keySeparator, "key-separator", "k", "",
		`what separates key and value in a line, such as : or \t`)
	cmd.Flags().StringVar(&flags.null, "null", "", "a key or value of this text is sent as null")
	cmd.Flags().StringArrayVarP(&flags.headers, "header", "H", nil, "header of each record, key=value; may be repeated")
	cmd.Flags().Int32VarP(&flags.partition, "partition", "p", -1, "partition to send to; -1: by key, else spread")
	cmd.Flags().StringVarP(&flags.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	cmd.Flags().StringVarP(&flags.acks, "acks", "a", "all", "what to wait for: all, 1 or 0")
	cmd.Flags().DurationVar(&flags.linger, "linger", 5*time.Millisecond, "how long to wait for more lines for a batch")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 30*time.Second,
		"give up on a record that is not acknowledged so long")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print no progress and no summary")
	return cmd
}

// produce sends every line and waits for the answers. It ends at the first record that could not be sent.
func (f *produceFlags) produce(ctx context.Context, topic string, in io.Reader, status io.Writer) error {
	lines, err := f.lineReader(in)
	if err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	client, err := f.connect(ctx, options...)
	if err != nil {
		return err
	}
	defer client.Close()
	s := &sending{topic: topic, partition: f.partition, began: time.Now()}
	stop := func() {}
	switch {
	case f.quiet:
	case isTerminal(in): // progress would run into what is typed
		fmt.Fprintln(status, "each line becomes a record; Ctrl-D ends")
	case isTerminal(status):
		stop = s.progress(status)
	}
	err = s.all(ctx, client, lines)
	stop()
	if err != nil {
		return fmt.Errorf("%s acknowledged, then: %w", plural(s.records.Load(), "record"), err)
	}
	if !f.quiet {
		fmt.Fprintf(status, "produced %s to %s\n", s.summary(), topic)
	}
	return nil
}

// lineReader makes the reader of the lines.
func (f *produceFlags) lineReader(in io.Reader) (*lineReader, error) {
	separator, err := unescape(f.keySeparator)
	if err != nil {
		return nil, usageError{fmt.Errorf("--key-separator %q: %w", f.keySeparator, err)}
	}
	r := newLineReader(in, separator)
	r.null = f.null
	for _, pair := range f.headers {
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usageError{fmt.Errorf("--header %q: must be key=value", pair)}
		}
		r.headers = append(r.headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return r, nil
}

// options are the client's settings.
func (f *produceFlags) options() ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
	codec, ok := codecs[f.compression]
	if !ok {
		return nil, usageError{fmt.Errorf("--compression %q: must be none, gzip, snappy, lz4 or zstd", f.compression)}
	}
	options := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(f.linger),
		kgo.RecordDeliveryTimeout(f.timeout), kgo.AllowAutoTopicCreation()}
	switch f.acks {
	case "all", "-1":
		options = append(options, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1":
		options = append(options, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		options = append(options, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, usageError{fmt.Errorf("--acks %q: must be all, 1 or 0", f.acks)}
	}
	if f.partition >= 0 {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	return options, nil
}

// sending is the state of one run.
type sending struct {
	topic     string
	partition int32
	began     time.Time
	records   atomic.Int64 // acknowledged
	bytes     atomic.Int64 // of their keys and values

	mu     sync.Mutex
	failed error // the first
}

// all sends every line and waits for the answers.
func (s *sending) all(ctx context.Context, client *kgo.Client, lines *lineReader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var unread error // what ended the lines early
	for {
		record, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			unread = err
			break
		}
		record.Topic, record.Partition = s.topic, max(s.partition, 0)
		client.Produce(ctx, record, func(r *kgo.Record, err error) {
			if err != nil {
				s.fail(err)
				cancel(err) // the lines behind it must not be sent
				return
			}
			s.records.Add(1)
			s.bytes.Add(int64(len(r.Key) + len(r.Value)))
		})
		if ctx.Err() != nil {
			break
		}
	}
	if err := client.Flush(ctx); err != nil && !errors.Is(err, context.Canceled) {
		s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return s.failed
	case ctx.Err() != nil:
		return errors.New("interrupted")
	}
	return unread
}

// fail keeps the first error, with its explanation.
func (s *sending) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
	case errors.Is(err, kgo.ErrRecordTimeout):
		s.failed = fmt.Errorf("topic %s: no acknowledgement in time; see what the broker logs; --timeout waits longer",
			s.topic)
	default:
		s.failed = explain(s.topic, err, "")
	}
}

// summary says how much was acknowledged, and how fast.
func (s *sending) summary() string {
	records, bytes, elapsed := s.records.Load(), s.bytes.Load(), time.Since(s.began)
	rate := float64(records) / max(elapsed.Seconds(), 1e-6)
	return fmt.Sprintf("%s, %s, %.0f records/s", plural(records, "record"), byteText(bytes), rate)
}

// progress shows the rate on a terminal until the returned function is called.
func (s *sending) progress(status io.Writer) func() {
	done := make(chan struct{})
	var painter task.Group
	painter.Go("progress", func() {
		tick := time.NewTicker(time.Second / 2)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if s.records.Load() > 0 {
					fmt.Fprintf(status, "\r%s%s", s.summary(), eraseToEnd)
				}
			}
		}
	})
	return func() {
		close(done)
		painter.Wait()
		fmt.Fprintf(status, "\r%s", eraseToEnd)
	}
}

// eraseToEnd clears the rest of a terminal's line.
const eraseToEnd = "\x1b[K"

// plural is a count with its noun.
func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// byteText is a number of bytes for people.
func byteText(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
