package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
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
		Use:   "produce TOPIC [FILE...]",
		Short: "Send the lines of standard input, or of files, as records",
		Example: `  echo hello | spate produce greetings
  spate produce orders monday.txt tuesday.txt --key-separator : --compression zstd
  printf 'a:NULL\n' | spate produce orders --key-separator : --null NULL      a tombstone for key a`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return flags.produce(cmd, args[0], args[1:])
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&flags.keySeparator, "key-separator", "k", "",
		`what separates key and value in a line, such as : or \t`)
	cmd.Flags().StringVar(&flags.null, "null", "", "a key or value of this text is sent as null")
	cmd.Flags().
		StringArrayVarP(&flags.headers, "header", "H", nil, "header of each record, key=value; may be repeated")
	cmd.Flags().Int32VarP(&flags.partition, "partition", "p", -1, "partition to send to; -1: by key, else spread")
	cmd.Flags().StringVarP(&flags.compression, "compression", "z", "none", "none, gzip, snappy, lz4 or zstd")
	cmd.Flags().StringVarP(&flags.acks, "acks", "a", "all", "what to wait for: all, 1 or 0")
	cmd.Flags().
		DurationVar(&flags.linger, "linger", 5*time.Millisecond, "how long to wait for more lines for a batch")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 30*time.Second,
		"give up on a record that is not acknowledged so long")
	cmd.Flags().BoolVarP(&flags.quiet, "quiet", "q", false, "print no progress and no summary")
	return cmd
}

// produce sends every line and waits for the answers. It ends at the first record that could not be sent.
func (f *produceFlags) produce(cmd *cobra.Command, topic string, files []string) error {
	ctx, stdin, status := cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr()
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files { // a wrong name is said before anything is sent
		if err := readable(name); err != nil {
			return err
		}
	}
	if _, err := f.lineReader(stdin, ""); err != nil {
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
	s := &sending{topic: topic, partition: f.partition, meter: meter{began: time.Now()}}
	stop := func() {}
	switch {
	case f.quiet:
	case slices.Contains(files, "-") && isTerminal(stdin): // progress would run into what is typed
		fmt.Fprintln(status, "each line becomes a record; Ctrl-D ends")
	case isTerminal(status):
		stop = s.progress(status)
	}
	err = s.all(ctx, client, func(yield func(*lineReader, error) bool) {
		for _, name := range files {
			if !f.file(name, stdin, yield) {
				return
			}
		}
	})
	stop()
	if err != nil {
		err = fmt.Errorf("%s acknowledged, then %w", plural(s.meter.records.Load(), "record"), err)
	}
	switch {
	case f.quiet:
	case asJSON:
		sent := sentRecords{topic, s.meter.records.Load(), s.meter.bytes.Load(), time.Since(s.meter.began).Seconds()}
		err = errors.Join(printJSON(cmd.OutOrStdout(), sent), err)
	case err == nil:
		fmt.Fprintf(status, "produced %s to %s\n", s.meter.summary(), topic)
	}
	return err
}

// sentRecords is what produce did, also where it ended with an error.
type sentRecords struct {
	Topic   string  `json:"topic"`
	Records int64   `json:"records"` // acknowledged
	Bytes   int64   `json:"bytes"`   // of their keys and values
	Seconds float64 `json:"seconds"`
}

// readable says why a file cannot be read; "-" is standard input.
func readable(name string) error {
	if name == "-" {
		return nil
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		return fmt.Errorf("%s is a directory; name the files in it", name)
	}
	return err
}

// file gives the reader of one file's lines to yield, and reports whether to go on.
func (f *produceFlags) file(name string, stdin io.Reader, yield func(*lineReader, error) bool) bool {
	in := stdin
	if name == "-" {
		name = ""
	} else {
		file, err := os.Open(name)
		if err != nil {
			return yield(nil, err)
		}
		defer file.Close()
		in = file
	}
	return yield(f.lineReader(in, name))
}

// lineReader makes the reader of the lines of a file; standard input has no name.
func (f *produceFlags) lineReader(in io.Reader, name string) (*lineReader, error) {
	separator, err := unescape(f.keySeparator)
	if err != nil {
		return nil, usageError{fmt.Errorf("--key-separator %q: %w", f.keySeparator, err)}
	}
	r := newLineReader(in, separator)
	r.name, r.null = name, f.null
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
	meter     meter // of what was acknowledged

	mu     sync.Mutex
	failed error // of the first line that failed
	order  int64 // of that line among all
}

// all sends every line and waits for the answers.
func (s *sending) all(ctx context.Context, client *kgo.Client, files iter.Seq2[*lineReader, error]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var unread error // what ended the lines early
	sent := int64(0)
	for lines, err := range files {
		if unread = err; err == nil {
			unread = s.file(ctx, cancel, client, lines, &sent)
		}
		if unread != nil || ctx.Err() != nil {
			break
		}
	}
	if err := client.Flush(ctx); err != nil && !errors.Is(err, context.Canceled) {
		s.fail(sent, "the last lines", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failed != nil:
		return s.failed
	case ctx.Err() != nil:
		return errors.New("interrupted; lines that were on their way may have been written too")
	}
	return unread
}

// file sends the lines of one file, and gives the error that ended them early. sent counts the lines of all files.
func (s *sending) file(ctx context.Context, cancel context.CancelCauseFunc, client *kgo.Client, lines *lineReader,
	sent *int64,
) error {
	for ctx.Err() == nil {
		record, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		record.Topic, record.Partition = s.topic, max(s.partition, 0)
		*sent++
		order, line := *sent, lines.line
		client.Produce(ctx, record, func(r *kgo.Record, err error) {
			if err != nil {
				s.fail(order, lines.place(line), err)
				cancel(err) // the lines behind it must not be sent
				return
			}
			s.meter.count(len(r.Key) + len(r.Value))
		})
	}
	return nil
}

// fail keeps the error of the first line that failed, with its explanation. That others were given up after it, or
// because the command was interrupted, is no failure of their own.
func (s *sending) fail(order int64, place string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled), s.failed != nil && order > s.order:
		return
	case errors.Is(err, kgo.ErrRecordTimeout):
		err = fmt.Errorf("topic %s: no acknowledgement in time; see what the broker logs; --timeout waits longer",
			s.topic)
	default:
		err = explain(s.topic, err, "")
	}
	s.failed, s.order = fmt.Errorf("%s: %w", place, err), order
}

// progress shows the rate on a terminal until the returned function is called.
func (s *sending) progress(status io.Writer) func() {
	done := make(chan struct{})
	line := rateLine{out: status, m: &s.meter}
	var painter task.Group
	painter.Go("progress", func() {
		tick := time.NewTicker(rateEvery)
		defer tick.Stop()
		defer line.erase()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				line.paint(now)
			}
		}
	})
	return func() {
		close(done)
		painter.Wait()
	}
}
