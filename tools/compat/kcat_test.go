package compat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"spate/internal/proc"
)

// kcat is the command-line client on librdkafka, as Debian packages it.
type kcat struct{}

func (*kcat) name() string { return "kcat" }

func (*kcat) features() features { return features{nullHeader: true, manyHeaders: true} }

func (*kcat) codecs() []string { return allCodecs }

func (*kcat) install() (string, error) {
	if err := proc.Install("kcat", "kcat"); err != nil {
		return "", err
	}
	out, err := run(exec.Command("kcat", "-V"), nil)
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(out), "\n") {
		if rest, ok := strings.CutPrefix(line, "Version "); ok {
			version, more, _ := strings.Cut(rest, " (")
			_, library, _ := strings.Cut(more, "librdkafka ")
			library, _, _ = strings.Cut(library, " ")
			return version + " librdkafka " + library, nil
		}
	}
	return "", fmt.Errorf("kcat -V: %q", out)
}

// produce sends runs of plain records by one process, and every other record, whose arguments are its own, by another.
func (c *kcat) produce(ctx context.Context, j *job) error {
	for rest := j.records; len(rest) > 0; {
		n := 0
		for n < len(rest) && ordinary(&rest[n]) {
			n++
		}
		n = max(n, 1)
		if err := c.produceLines(ctx, j, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// ordinary says whether a record needs no arguments of its own.
func ordinary(r *record) bool { return r.Key != nil && r.Value != nil && len(r.Headers) == 0 }

// produceLines writes key, tab and value on a line. More than one record must be ordinary.
func (c *kcat) produceLines(ctx context.Context, j *job, records []record) error {
	first := &records[0]
	args := []string{"-P", "-b", underTest.bootstrap, "-t", j.topic, "-p", "0", "-X", "acks=" + j.acks,
		"-X", "enable.idempotence=" + strconv.FormatBool(j.idempotent), "-X", "linger.ms=50"}
	if j.codec != "none" {
		args = append(args, "-z", j.codec)
	}
	if first.Value == nil {
		args = append(args, "-Z")
	}
	for _, h := range first.Headers {
		if h.Value == nil {
			args = append(args, "-H", h.Name)
		} else {
			args = append(args, "-H", h.Name+"="+string(h.Value))
		}
	}
	var lines bytes.Buffer
	if first.Key != nil {
		args = append(args, "-K", "\t")
	}
	for _, r := range records {
		if r.Key != nil {
			fmt.Fprintf(&lines, "%s\t", r.Key)
		}
		fmt.Fprintf(&lines, "%s\n", r.Value)
	}
	_, err := run(exec.CommandContext(ctx, "kcat", args...), lines.Bytes())
	return err
}

// consume has kcat print lengths before the bytes, and the headers, which it cannot measure, behind them.
func (*kcat) consume(ctx context.Context, topic string, partition, count int) ([]record, error) {
	out, err := run(exec.CommandContext(ctx, "kcat", "-C", "-b", underTest.bootstrap, "-t", topic,
		"-p", strconv.Itoa(partition), "-o", "0", "-c", strconv.Itoa(count), "-e", "-q", "-X", "check.crcs=true",
		"-f", `%o %T %K %S\n%k%s%h`+kcatEnd), nil)
	if err != nil {
		return nil, err
	}
	var records []record
	for len(out) > 0 {
		var r record
		if out, err = parseKcat(out, &r); err != nil {
			return nil, fmt.Errorf("kcat's output after %d records: %w", len(records), err)
		}
		records = append(records, r)
	}
	return records, nil
}

// kcatEnd ends a record, where the headers may hold any byte.
const kcatEnd = `\n-- end of record --\n`

func parseKcat(out []byte, r *record) ([]byte, error) {
	head, rest, _ := bytes.Cut(out, []byte("\n"))
	var keyBytes, valueBytes int
	_, err := fmt.Sscanf(string(head), "%d %d %d %d", &r.Offset, &r.Timestamp, &keyBytes, &valueBytes)
	if err != nil || max(keyBytes, 0)+max(valueBytes, 0) > len(rest) {
		return nil, fmt.Errorf("%q: %v", head, err)
	}
	if keyBytes >= 0 {
		r.Key, rest = rest[:keyBytes], rest[keyBytes:]
	}
	if valueBytes >= 0 {
		r.Value, rest = rest[:valueBytes], rest[valueBytes:]
	}
	headers, rest, ok := bytes.Cut(rest, []byte(strings.ReplaceAll(kcatEnd, `\n`, "\n")))
	if !ok {
		return nil, errors.New("no end of record")
	}
	if len(headers) > 0 {
		r.Headers = parseHeaders(headers, ",", "=", "NULL")
	}
	return rest, nil
}

// parseHeaders splits what a client printed, where no name holds one of the separators. A part without a separator is
// the rest of a value that holds one.
func parseHeaders(text []byte, between, within, null string) []header {
	var headers []header
	for part := range bytes.SplitSeq(text, []byte(between)) {
		name, value, ok := bytes.Cut(part, []byte(within))
		switch {
		case !ok && len(headers) > 0:
			last := &headers[len(headers)-1]
			last.Value = append(append(last.Value[:len(last.Value):len(last.Value)], between...), part...)
		case string(value) == null:
			headers = append(headers, header{string(name), nil})
		default:
			headers = append(headers, header{string(name), value})
		}
	}
	return headers
}
