package compat

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"spate/internal/proc"
)

// javaConsole is Apache Kafka's console producer and consumer: the Java client.
type javaConsole struct{}

// Separators that occur in no record of the tests. The console producer takes some of them as regular expressions.
const (
	javaNull      = "<null>"
	javaField     = "<field>"
	javaHeader    = "<header>"
	javaName      = "<name>"
	javaRecord    = "<record>"
	javaNoHeaders = "NO_HEADERS"
)

func (*javaConsole) name() string { return "Java console" }

func (*javaConsole) features() features {
	return features{nullHeader: true, nullAndNone: true, manyHeaders: true}
}

func (*javaConsole) codecs() []string { return allCodecs }

func (*javaConsole) install() (string, error) {
	_, err := proc.Jars()
	return "Apache Kafka " + proc.KafkaVersion, err
}

func (*javaConsole) produce(ctx context.Context, j *job) error {
	cmd, err := proc.KafkaTool(ctx, "ConsoleProducer", "--bootstrap-server", underTest.bootstrap, "--topic", j.topic,
		"--compression-codec", j.codec,
		"--command-property", "acks="+j.acks,
		"--command-property", "enable.idempotence="+strconv.FormatBool(j.idempotent),
		"--command-property", "linger.ms=50",
		"--reader-property", "parse.key=true",
		"--reader-property", "key.separator="+javaField,
		"--reader-property", "parse.headers=true",
		"--reader-property", "headers.delimiter="+javaField,
		"--reader-property", "headers.separator="+javaHeader,
		"--reader-property", "headers.key.separator="+javaName,
		"--reader-property", "null.marker="+javaNull)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	text := func(b []byte) string {
		if b == nil {
			return javaNull
		}
		return string(b)
	}
	for _, r := range j.records {
		var headers []string
		for _, h := range r.Headers {
			headers = append(headers, h.Name+javaName+text(h.Value))
		}
		all := strings.Join(headers, javaHeader)
		if headers == nil {
			all = javaNull
		}
		fmt.Fprintf(&lines, "%s%s%s%s%s\n", all, javaField, text(r.Key), javaField, text(r.Value))
	}
	_, err = run(cmd, lines.Bytes())
	return err
}

func (*javaConsole) consume(ctx context.Context, topic string, partition, count int) ([]record, error) {
	cmd, err := proc.KafkaTool(ctx, "consumer.ConsoleConsumer", "--bootstrap-server", underTest.bootstrap,
		"--topic", topic, "--partition", strconv.Itoa(partition), "--offset", "0",
		"--max-messages", strconv.Itoa(count), "--timeout-ms", "60000",
		"--formatter-property", "print.offset=true",
		"--formatter-property", "print.timestamp=true",
		"--formatter-property", "print.headers=true",
		"--formatter-property", "print.key=true",
		"--formatter-property", "key.separator="+javaField,
		"--formatter-property", "headers.separator="+javaHeader,
		"--formatter-property", "line.separator="+javaRecord,
		"--formatter-property", "null.literal="+javaNull)
	if err != nil {
		return nil, err
	}
	out, err := run(cmd, nil)
	if err != nil {
		return nil, err
	}
	var records []record
	for len(out) > 0 {
		line, rest, _ := bytes.Cut(out, []byte(javaRecord))
		r, err := parseJava(line)
		if err != nil {
			return nil, fmt.Errorf("the console consumer's output after %d records: %w", len(records), err)
		}
		records, out = append(records, r), rest
	}
	return records, nil
}

// parseJava reads CreateTime:timestamp, Offset:offset, headers, key and value.
func parseJava(line []byte) (record, error) {
	var r record
	parts := bytes.Split(line, []byte(javaField))
	if len(parts) != 5 {
		return r, fmt.Errorf("%.200q has %d fields", line, len(parts))
	}
	if _, err := fmt.Sscanf(string(parts[0]), "CreateTime:%d", &r.Timestamp); err != nil {
		return r, fmt.Errorf("%q: %w", parts[0], err)
	}
	if _, err := fmt.Sscanf(string(parts[1]), "Offset:%d", &r.Offset); err != nil {
		return r, fmt.Errorf("%q: %w", parts[1], err)
	}
	if string(parts[2]) != javaNoHeaders {
		r.Headers = parseHeaders(parts[2], javaHeader, ":", javaNull)
	}
	for i, field := range []*[]byte{&r.Key, &r.Value} {
		if b := parts[3+i]; string(b) != javaNull {
			*field = b
		}
	}
	return r, nil
}
