package compat

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	topicCommand         = "org.apache.kafka.tools.TopicCommand"
	offsetShell          = "org.apache.kafka.tools.GetOffsetShell"
	deleteRecordsCommand = "org.apache.kafka.tools.DeleteRecordsCommand"
	logDirsCommand       = "org.apache.kafka.tools.LogDirsCommand"
	quorumCommand        = "org.apache.kafka.tools.MetadataQuorumCommand"
	featureCommand       = "org.apache.kafka.tools.FeatureCommand"
	leaderCommand        = "org.apache.kafka.tools.LeaderElectionCommand"
	reassignCommand      = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
)

// adminMasks hide what no two brokers have in common, and the differences that docs/protocol.md lists.
var adminMasks = []mask{
	{what: regexp.MustCompile(`"logDir":"[^"]*"`), by: `"logDir":"DIR"`},
	{what: regexp.MustCompile(`"log_dirs":\["[^"]*"\]`), by: `"log_dirs":["DIR"]`},
	{what: regexp.MustCompile(`"totalBytes":\d+,"usableBytes":\d+`), by: `"totalBytes":N,"usableBytes":N`},
	{what: regexp.MustCompile(`(?m)^(LeaderEpoch|HighWatermark): +\d+$`), by: "$1: N"},
	{what: regexp.MustCompile(`(?m)^(\d+)\s+ID\s+\d+\s+(\d+)\s+\d+\s+\d+\s+Leader`), by: "$1 ID N $2 TIME TIME Leader"},
	// Kafka's controller has a listener of its own.
	{what: regexp.MustCompile(`"endpoints": \["[A-Z]+://[^"]*"\]`), by: `"endpoints": ["ENDPOINT"]`},
	// Features of things that Spate does not serve, and metadata versions that it has never written; the epoch counts
	// records.
	{what: regexp.MustCompile(`(?m)^Feature: (eligible|kraft|share|streams|transaction)\..*\n`)},
	{what: regexp.MustCompile(`(Feature: metadata\.version +SupportedMinVersion: )\S+`), by: "${1}MIN"},
	{what: regexp.MustCompile(`(?m)Epoch: \d+$`), by: "Epoch: N"},
	// Kafka sets this one for the whole cluster when it formats a data directory.
	{what: regexp.MustCompile(`min\.insync\.replicas=1,?`)},
	{what: regexp.MustCompile(`(?m)Configs: \S+,\S+$`), change: sortedConfigs},
	// The tool prints these as the map of its answers has them.
	{what: regexp.MustCompile(`(?m)(^partition: .*\n)+`), change: sortedLines},
}

// sortedConfigs puts the configs of a topic in order: Kafka's is that of a Java hash map.
func sortedConfigs(text string) string {
	list := strings.Split(strings.TrimPrefix(text, "Configs: "), ",")
	slices.Sort(list)
	return "Configs: " + strings.Join(list, ",")
}

func sortedLines(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestAdminTools runs scripts of Kafka's own administrative tools against Apache Kafka and against the broker under
// test: the texts must be equal, but for what is masked.
func TestAdminTools(t *testing.T) {
	t.Parallel()
	settings := groupSettings()
	settings["log.segment.bytes"] = "1073741824" // as in Kafka's stock file
	kafka, tested := startKafka(t, settings), startTarget(t, settings)
	t.Run("topics and their records", func(t *testing.T) { bothSay(t, kafka, tested, topicsScript) })
	t.Run("configs of topics", func(t *testing.T) { bothSay(t, kafka, tested, topicConfigsScript) })
	t.Run("the node", func(t *testing.T) { bothSay(t, kafka, tested, nodeScript) })
}

// topicsScript makes topics, lets them grow, deletes some of their records, and then them.
func topicsScript(s *script) {
	s.masks = adminMasks
	for _, line := range []string{
		"--list", "--describe", "--describe --topic missing", "--delete --topic missing",
		"--alter --topic missing --partitions 2",
		"--create --topic plain --partitions 3 --replication-factor 1",
		"--create --topic plain --partitions 3 --replication-factor 1",
		"--create --topic plain --if-not-exists",
		"--create --topic set --config retention.ms=123456789 --config segment.bytes=2097152",
		"--create --topic by-hand --replica-assignment 1,1", "--create --topic nowhere --replica-assignment 1:7",
		"--create --topic wide --replication-factor 2", "--create --topic none --partitions 0",
		"--create --topic with.dot", "--create --topic with_dot", "--create --topic ..",
		"--create --topic bad --config nonsense=1", "--create --topic bad --config retention.ms=x",
		"--list", "--list --topic pl.*", "--list --exclude-internal",
		"--describe", "--describe --topic set", "--describe --topic plain --partition-size-limit-per-response 2",
		"--describe --under-replicated-partitions", "--describe --unavailable-partitions",
		"--describe --under-min-isr-partitions", "--describe --at-min-isr-partitions",
		"--describe --topics-with-overrides",
		"--alter --topic plain --partitions 5", "--describe --topic plain",
		"--alter --topic plain --partitions 5", "--alter --topic plain --partitions 4",
		"--alter --topic plain --partitions 0",
		"--alter --topic plain --partitions 6 --replica-assignment 1,1,1,1,1,1",
		"--alter --topic plain --partitions 7 --replica-assignment 1,1,1,1,1,1,7", "--describe --topic plain",
		"--alter --topic missing --partitions 2 --if-exists",
	} {
		s.line(topicCommand, line)
	}
	s.topic("records", 3, 10)
	s.deletion("some.json", `{"partitions": [{"topic": "records", "partition": 0, "offset": 4},
		{"topic": "records", "partition": 1, "offset": -1}], "version": 1}`)
	s.deletion("far.json", `{"partitions": [{"topic": "records", "partition": 2, "offset": 999}], "version": 1}`)
	for _, line := range []string{
		"--topic records", "--topic records --time earliest", "--topic records --time latest",
		"--topic records --time max-timestamp", "--topic records --partitions 0,2",
		"--topic records --time 1767225600000",
		"--topic-partitions records:1", "--topic missing",
	} {
		s.line(offsetShell, line)
	}
	s.line(topicCommand, "--delete --topic plain")
	s.line(topicCommand, "--delete --topic set,by-hand")
	s.line(topicCommand, "--delete --topic missing --if-exists")
	s.gone("plain", "set", "by-hand")
	s.line(topicCommand, "--list")
	s.line(topicCommand, "--delete --topic records")
	s.line(topicCommand, "--delete --topic with.*")
	s.gone("records", "with.dot")
	s.line(topicCommand, "--list")
}

// gone waits until deleted topics are not listed any more: Kafka answers before.
func (s *script) gone(topics ...string) {
	s.t.Helper()
	s.wait("deleted topics to go", func(ctx context.Context) bool {
		listed, err := s.admin.ListTopics(ctx)
		return err == nil && !slices.ContainsFunc(topics, func(name string) bool { return listed.Has(name) })
	})
}

// topicConfigsScript is about the configs of topics.
func topicConfigsScript(s *script) {
	s.masks = adminMasks
	s.line(topicCommand, "--create --topic tuned --config retention.ms=1000")
	for _, line := range []string{
		"--describe", "--alter --add-config retention.ms=2000,segment.ms=3000", "--describe",
		"--alter --delete-config retention.ms", "--describe", "--alter --add-config nonsense=1",
		"--alter --add-config retention.ms=x", "--alter --delete-config nonsense",
		"--alter --delete-config retention.ms",
		"--describe",
	} {
		s.line(configCommand, "--entity-type topics --entity-name tuned "+line)
	}
	s.line(configCommand, "--entity-type topics --entity-name missing --describe")
	s.line(configCommand, "--entity-type topics --entity-name missing --alter --add-config retention.ms=1")
	s.line(configCommand, "--entity-type topics --describe")
	s.line(topicCommand, "--delete --topic tuned")
}

// nodeScript is about the node: its log directories, its quorum, its features, and who leads.
func nodeScript(s *script) {
	s.masks = adminMasks
	s.line(topicCommand, "--create --topic here --partitions 2")
	s.line(logDirsCommand, "--describe --topic-list here")
	s.line(logDirsCommand, "--describe --topic-list here --broker-list 1")
	s.line(logDirsCommand, "--describe --broker-list 7")
	s.line(logDirsCommand, "--describe --topic-list missing")
	s.line(quorumCommand, "describe --status")
	s.line(quorumCommand, "describe --replication")
	s.line(featureCommand, "describe")
	for _, line := range []string{
		"--election-type preferred --all-topic-partitions", "--election-type preferred --topic here --partition 0",
		"--election-type unclean --topic here --partition 1", "--election-type preferred --topic here --partition 9",
		"--election-type preferred --topic missing --partition 0",
	} {
		s.line(leaderCommand, line)
	}
	s.line(reassignCommand, "--list")
	s.file("here.json", `{"version": 1, "partitions": [{"topic": "here", "partition": 0, "replicas": [1]}]}`)
	s.file("away.json", `{"version": 1, "partitions": [{"topic": "here", "partition": 0, "replicas": [2]}]}`)
	s.line(reassignCommand, "--execute --reassignment-json-file DIR/here.json")
	s.line(reassignCommand, "--execute --reassignment-json-file DIR/away.json")
	s.line(topicCommand, "--delete --topic here")
}

// file writes a file into the script's directory.
func (s *script) file(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// deletion runs DeleteRecordsCommand with an offset file.
func (s *script) deletion(name, text string) {
	s.t.Helper()
	s.file(name, text)
	s.line(deleteRecordsCommand, "--offset-json-file DIR/"+name)
}
