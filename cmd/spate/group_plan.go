package main

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"spate/kafka"
)

// resetKind is where reset-offsets moves offsets to.
type resetKind uint8

// The kinds, one a flag.
const (
	toEarliest resetKind = iota + 1
	toLatest
	toCurrent
	toOffset
	shiftBy
	toTime
	fromFile
)

// resetTarget is a kind with its number: an offset, a distance, or milliseconds since 1970.
type resetTarget struct {
	kind  resetKind
	value int64
	// offsets are those of a file, by partition.
	offsets map[kafka.TopicPartition]int64
}

// resetRow is what reset-offsets does with one partition.
type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Current   int64  `json:"current"` // -1: none is committed
	New       int64  `json:"new"`
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	Note      string `json:"note,omitempty"`
}

// plan sets the new offset of a row whose current offset and ends are known. atTime is the first offset at or after the
// time of the target; -1 means that there is none.
func (t resetTarget) plan(row *resetRow, atTime int64) error {
	wanted := int64(0)
	switch t.kind {
	case toEarliest:
		wanted = row.Start
	case toLatest:
		wanted = row.End
	case toCurrent:
		wanted = row.Current
		if wanted < 0 {
			wanted, row.Note = row.End, "no committed offset: the end"
		}
	case toOffset:
		wanted = t.value
	case shiftBy:
		if row.Current < 0 {
			return fmt.Errorf(
				"%s-%d has no committed offset to shift; give it one with --to-earliest, --to-latest or "+
					"--to-offset",
				row.Topic,
				row.Partition,
			)
		}
		wanted = row.Current + t.value
		if t.value > 0 && wanted < row.Current { // past the largest number
			wanted = row.End
		}
	case toTime:
		wanted = atTime
		if wanted < 0 {
			wanted, row.Note = row.End, "no record is that late: the end"
		}
	case fromFile:
		wanted = t.offsets[kafka.TopicPartition{Topic: row.Topic, Partition: kafka.PartitionIndex(row.Partition)}]
	}
	row.New = min(max(wanted, row.Start), row.End)
	switch {
	case wanted < row.Start:
		row.Note = fmt.Sprintf("%d is before the first record: moved to it", wanted)
	case wanted > row.End:
		row.Note = fmt.Sprintf("%d is past the end: moved to it", wanted)
	}
	return nil
}

// change is how far an offset moves, for people.
func (r resetRow) change() string {
	if r.Current < 0 {
		return "new"
	}
	if r.New == r.Current {
		return "0"
	}
	return fmt.Sprintf("%+d", r.New-r.Current)
}

// parseResetTime reads --to-datetime.
func parseResetTime(text string) (int64, error) {
	t, err := parseTime(text)
	if err != nil {
		return 0, fmt.Errorf("--to-datetime %w", err)
	}
	return t.UnixMilli(), nil
}

// isoDuration is the part of ISO 8601 that Kafka's tool takes.
var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// parseAge reads how long ago something was: 1h30m, 7d, or PT1H30M and P1D as Kafka's tool takes it.
func parseAge(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q: must be like 36h, 1h30m, 7d, P1D or PT1H30M", text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text = "P" + days + "D"
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		parts := isoDuration.FindStringSubmatch(strings.ToUpper(text))
		if parts == nil || strings.HasSuffix(strings.ToUpper(text), "T") || len(text) < 3 {
			return 0, wrong
		}
		d = 0
		for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
			if parts[i+1] == "" {
				continue
			}
			n, err := strconv.ParseFloat(parts[i+1], 64)
			if err != nil || n > float64(durationMax/unit) {
				return 0, wrong
			}
			d += time.Duration(n * float64(unit))
		}
	}
	if d < 0 || d > durationMax {
		return 0, wrong
	}
	return d, nil
}

// durationMax keeps sums of durations far from overflow; nothing is older than a century.
const durationMax = 100 * 365 * 24 * time.Hour

// csvRowsMax bounds a file of offsets: more partitions than any cluster has.
const csvRowsMax = 10_000_000

// byteOrderMark is what spreadsheets write before the first line.
const byteOrderMark = "\ufeff"

// readOffsets reads a file of --from-file: topic,partition,offset in each line, or group,topic,partition,offset, of
// which the lines of this group count. Both are what Kafka's tool writes.
func readOffsets(in io.Reader, group string) (map[kafka.TopicPartition]int64, error) {
	buffered := bufio.NewReader(in)
	if mark, _ := buffered.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = buffered.Discard(len(mark)) // of what has been read already: cannot fail
	}
	reader := csv.NewReader(buffered)
	reader.FieldsPerRecord = -1
	reader.TrimLeadingSpace = true
	offsets := make(map[kafka.TopicPartition]int64)
	foreign := ""
	for rows := 0; rows < csvRowsMax; rows++ {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // it says the line
		}
		line, _ := reader.FieldPos(0)
		if len(fields) == 4 {
			if fields[0] != group {
				foreign = fields[0]
				continue
			}
			fields = fields[1:]
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf(
				"line %d has %s: want topic,partition,offset or group,topic,partition,offset",
				line,
				plural(int64(len(fields)), "field"),
			)
		}
		partition, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
		if err != nil || partition < 0 {
			return nil, fmt.Errorf("line %d: %q is not a partition", line, fields[1])
		}
		offset, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err != nil || offset < 0 {
			return nil, fmt.Errorf("line %d: %q is not an offset", line, fields[2])
		}
		at := kafka.TopicPartition{Topic: strings.TrimSpace(fields[0]), Partition: kafka.PartitionIndex(partition)}
		if at.Topic == "" {
			return nil, fmt.Errorf("line %d names no topic", line)
		}
		if _, twice := offsets[at]; twice {
			return nil, fmt.Errorf("line %d: %s is there twice", line, at)
		}
		offsets[at] = offset
	}
	switch {
	case len(offsets) > 0:
		return offsets, nil
	case foreign != "":
		return nil, fmt.Errorf("no line is for group %s; there are some for %s", group, foreign)
	}
	return nil, errors.New("it has no lines")
}

// writeOffsets writes a plan as a file that --from-file and Kafka's tool read.
func writeOffsets(out io.Writer, rows []resetRow) error {
	w := csv.NewWriter(out)
	for _, r := range rows {
		if err := w.Write([]string{r.Topic, fmt.Sprint(r.Partition), fmt.Sprint(r.New)}); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// topicsOf are the topics and partitions that a file names.
func topicsOf(offsets map[kafka.TopicPartition]int64) map[string][]int32 {
	topics := make(map[string][]int32)
	for at := range offsets {
		topics[at.Topic] = append(topics[at.Topic], int32(at.Partition))
	}
	for _, partitions := range topics {
		slices.Sort(partitions)
	}
	return topics
}
