package compat

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"spate/internal/proc"
)

// TestKafkaTools lets Kafka's own command-line tools, which use the Java AdminClient, make, describe and delete a
// topic that the other clients then use, and ask for versions, offsets and configs.
func TestKafkaTools(t *testing.T) {
	topic := "tools-" + runID()
	create := []string{"--create", "--topic", topic, "--partitions", "3", "--replication-factor", "1",
		"--config", "retention.ms=123456789", "--config", "segment.bytes=2097152"}
	expect(t, tool(t, "TopicCommand", create...), "Created topic "+topic)
	expect(t, toolFails(t, "TopicCommand", create...), "already exists")
	expect(t, tool(t, "TopicCommand", "--list"), topic)
	expect(t, tool(t, "TopicCommand", "--describe", "--topic", topic), "PartitionCount: 3", "ReplicationFactor: 1",
		"retention.ms=123456789", "segment.bytes=2097152", "Partition: 2\tLeader: 1\tReplicas: 1\tIsr: 1")

	producer := &franz{}
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	j := job{topic: topic, codec: "zstd", acks: "all", idempotent: true, records: plainRecords("tools", 42)}
	for i := range j.records {
		j.records[i].Timestamp = time.Now().UnixMilli() + int64(i) // the last one is the newest
	}
	if err := producer.produce(ctx, &j); err != nil {
		t.Fatal(err)
	}
	expect(t, tool(t, "GetOffsetShell", "--topic", topic), topic+":0:42", topic+":1:0", topic+":2:0")
	expect(t, tool(t, "GetOffsetShell", "--topic", topic, "--time", "earliest"), topic+":0:0")
	expect(t, tool(t, "GetOffsetShell", "--topic", topic, "--time", "max-timestamp"), topic+":0:41")
	expect(t, tool(t, "BrokerApiVersionsCommand"), "(id: 1 ", "Produce(0): 0 to 13", "Fetch(1): 4 to 18")
	expect(t, tool(t, "kafka.admin.ConfigCommand", "--describe", "--entity-type", "topics",
		"--entity-name", topic), "retention.ms=123456789", "segment.bytes=2097152")

	tool(t, "TopicCommand", "--delete", "--topic", topic)
	if out := tool(t, "TopicCommand", "--list"); strings.Contains(out, topic) {
		t.Errorf("the deleted topic is still listed:\n%s", out)
	}
}

// tool runs one of Kafka's classes against the broker and gives what it wrote to standard output.
func tool(t *testing.T, class string, args ...string) string {
	t.Helper()
	out, err := runTool(class, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// toolFails runs a tool that must end in an error, and gives the error.
func toolFails(t *testing.T, class string, args ...string) string {
	t.Helper()
	out, err := runTool(class, args...)
	if err == nil {
		t.Fatalf("%s %s: no error:\n%s", class, strings.Join(args, " "), out)
	}
	return out + err.Error()
}

func runTool(class string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	cmd, err := proc.KafkaTool(ctx, class, append([]string{"--bootstrap-server", underTest.bootstrap}, args...)...)
	if err != nil {
		return "", err
	}
	out, err := run(cmd, nil)
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", class, strings.Join(args, " "), err)
	}
	return string(out), nil
}

func expect(t *testing.T, out string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in:\n%s", part, out)
		}
	}
}
