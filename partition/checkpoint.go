package partition

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"spate/internal/vfs"
	"spate/kafka"
)

// The checkpoint files of a log directory, in Kafka's names and its text format: a line "0" (the version), a line with
// the number of entries, then the entries, one a line.
const (
	recoveryPointFile  = "recovery-point-offset-checkpoint"
	logStartFile       = "log-start-offset-checkpoint"
	highWatermarkFile  = "replication-offset-checkpoint"
	cleanerFile        = "cleaner-offset-checkpoint"
	epochFile          = "leader-epoch-checkpoint"
	checkpointVersion  = "0"
	checkpointBytesMax = 64 << 20 // a directory of 500,000 partitions with long names
)

func appendCheckpointHead(dst []byte, entries int) []byte {
	dst = append(dst, checkpointVersion...)
	dst = append(dst, '\n')
	dst = strconv.AppendInt(dst, int64(entries), 10)
	return append(dst, '\n')
}

// parseCheckpoint calls entry for each entry line. An empty file holds no entries: Kafka leaves such files behind.
func parseCheckpoint(text []byte, entry func(line []byte) error) error {
	if len(text) == 0 {
		return nil
	}
	version, rest := cutLine(text)
	if string(version) != checkpointVersion {
		return fmt.Errorf("checkpoint version %q is not %s", clip(version), checkpointVersion)
	}
	head, rest := cutLine(rest)
	count, err := parseInt(head, 31)
	if err != nil || count < 0 {
		return fmt.Errorf("%q is no number of entries", clip(head))
	}
	seen := int64(0)
	for ; len(rest) > 0; seen++ {
		var line []byte
		line, rest = cutLine(rest)
		if seen == count {
			return fmt.Errorf("more than the %d entries that the file announces", count)
		}
		if err := entry(line); err != nil {
			return err
		}
	}
	if seen < count {
		return fmt.Errorf("%d entries of the %d that the file announces", seen, count)
	}
	return nil
}

// cutLine splits the first line off text; a carriage return before the line feed goes too.
func cutLine(text []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(text, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

// clip keeps a quoted piece of a broken file short.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// parseInt reads a decimal number of at most bits bits as Kafka writes it: digits and perhaps a minus.
func parseInt(text []byte, bits int) (int64, error) {
	if len(text) > 0 && text[0] == '+' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(string(text), 10, bits)
}

// offsetCheckpoint is an offset for each partition, as one checkpoint file holds it.
type offsetCheckpoint map[kafka.TopicPartition]kafka.Offset

// appendTo writes the file: lines of topic, partition and offset, in order.
func (c offsetCheckpoint) appendTo(dst []byte) []byte {
	dst = appendCheckpointHead(dst, len(c))
	for _, tp := range slices.SortedFunc(maps.Keys(c), compareTopicPartitions) {
		dst = append(dst, tp.Topic...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(tp.Partition), 10)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(c[tp]), 10)
		dst = append(dst, '\n')
	}
	return dst
}

func compareTopicPartitions(a, b kafka.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// parseOffsetCheckpoint reads what appendTo writes.
func parseOffsetCheckpoint(text []byte) (offsetCheckpoint, error) {
	c := offsetCheckpoint{}
	err := parseCheckpoint(text, func(line []byte) error {
		fields := bytes.Split(line, []byte(" "))
		if len(fields) != 3 || len(fields[0]) == 0 {
			return fmt.Errorf("%q is not topic, partition and offset", clip(line))
		}
		partition, err := parseInt(fields[1], 32)
		if err != nil || partition < 0 {
			return fmt.Errorf("%q has no partition", clip(line))
		}
		offset, err := parseInt(fields[2], 64)
		if err != nil {
			return fmt.Errorf("%q has no offset", clip(line))
		}
		tp := kafka.TopicPartition{Topic: string(fields[0]), Partition: kafka.PartitionIndex(partition)}
		if _, twice := c[tp]; twice {
			return fmt.Errorf("%s is listed twice", tp)
		}
		c[tp] = kafka.Offset(offset)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// readOffsetCheckpoint reads one of the directory's checkpoint files; a missing file is empty.
func readOffsetCheckpoint(fsys vfs.FS, name string) (offsetCheckpoint, error) {
	text, err := readFile(fsys, name, checkpointBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return offsetCheckpoint{}, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := parseOffsetCheckpoint(text)
	if err != nil {
		return nil, &checkpointError{File: name, Err: err}
	}
	return c, nil
}

// checkpointError is a checkpoint file that makes no sense.
type checkpointError struct {
	File string
	Err  error
}

func (e *checkpointError) Error() string { return e.File + ": " + e.Err.Error() }

func (e *checkpointError) Unwrap() error { return e.Err }
