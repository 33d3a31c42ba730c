package compat

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"spate/kafka/wire"
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
	metricsCommand       = "org.apache.kafka.tools.ClientMetricsCommand"
	versionsCommand      = "org.apache.kafka.tools.BrokerApiVersionsCommand"
)

// adminMasks hide what no two brokers have in common, and the differences that docs/protocol.md lists.
var adminMasks = []mask{
	{what: regexp.MustCompile(`"logDir":"[^"]*"`), by: `"logDir":"DIR"`},
	{what: regexp.MustCompile(`"log_dirs":\["[^"]*"\]`), by: `"log_dirs":["DIR"]`},
	{what: regexp.MustCompile(`"totalBytes":\d+,"usableBytes":\d+`), by: `"totalBytes":N,"usableBytes":N`},
	{what: regexp.MustCompile(`(?m)^(LeaderEpoch|HighWatermark): +\d+$`), by: "$1: N"},
	{what: regexp.MustCompile(`(?m)^(\d+)\s+ID\s+\d+\s+(\d+)\s+\d+\s+\d+\s+Leader`), by: "$1 ID N $2 TIME TIME Leader"},
	// Kafka's controller has a listener of its own.
	{what: regexp.MustCompile(`"endpoints": \["[A-Z]+://[^"]*"\]`), by: `"endpoints": ["ENDPOINT"]`,
		listed: "DescribeQuorum: the endpoints of the voter"},
	// Features of things that Spate does not serve, and metadata versions that it has never written; the epoch counts
	// records.
	{what: regexp.MustCompile(`(?m)^Feature: (eligible|kraft|share|streams)\..*\n`),
		listed: "ApiVersions: finalised features"},
	{what: regexp.MustCompile(`(Feature: metadata\.version +SupportedMinVersion: )\S+`), by: "${1}MIN",
		listed: "FeatureCommand, SupportedMinVersion of metadata.version"},
	{what: regexp.MustCompile(`(?m)^\t[A-Za-z]+\(\d+\): .*\n`), change: servedAlone, listed: "share and streams groups"},
	{what: regexp.MustCompile(`(?m)Epoch: \d+$`), by: "Epoch: N"},
	// Kafka sets this one for the whole cluster when it formats a data directory.
	{what: regexp.MustCompile(`(?m)^  min\.insync\.replicas=1 .*\n`), listed: insyncRow},
	{what: regexp.MustCompile(`min\.insync\.replicas=1,?`), listed: insyncRow},
	{what: regexp.MustCompile(`(?m)Configs: \S+,\S+$`), change: sortedConfigs},
	{what: regexp.MustCompile(`(?m)(^  [a-z.]+=.* synonyms=.*\n)+`), change: sortedLines},
	// The tool prints these as the map of its answers has them.
	{what: regexp.MustCompile(`(?m)(^partition: .*\n)+`), change: sortedLines},
}

// insyncRow begins the row of docs/protocol.md about what Kafka sets when it formats a directory.
const insyncRow = "TopicCommand, ConfigCommand: min.insync.replicas=1"

// servedAlone leaves the line of an API away that the broker under test does not serve.
func servedAlone(line string) string {
	_, rest, _ := strings.Cut(line, "(")
	number, _, _ := strings.Cut(rest, ")")
	if key, err := strconv.ParseInt(number, 10, 16); err == nil && wire.Lookup(int16(key)) == nil {
		return ""
	}
	return line
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
	for key, value := range map[string]string{ // as in Kafka's stock file
		"log.segment.bytes": "1073741824", "log.retention.hours": "168", "num.io.threads": "8",
	} {
		settings[key] = value
	}
	kafka, tested := startKafka(t, settings), startTarget(t, settings)
	shown := map[string]bool{}
	run := func(name string, play func(*script)) {
		t.Run(name, func(t *testing.T) {
			for _, listed := range bothSay(t, kafka, tested, play) {
				shown[listed] = true
			}
		})
	}
	run("topics and their records", topicsScript)
	run("configs of topics", topicConfigsScript)
	run("configs of brokers, groups and client metrics", configsScript)
	run("reassignments", reassignScript)
	run("quotas", quotasScript)
	run("the node", nodeScript)
	if t.Failed() {
		return
	}
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range adminMasks {
		if m.listed == "" {
			continue
		}
		if !strings.Contains(string(page), "\n| "+m.listed) {
			t.Errorf("docs/protocol.md does not list %q", m.listed)
		}
		if !shown[m.listed] {
			t.Errorf("%q is listed in docs/protocol.md and does not show any more", m.listed)
		}
	}
}

// configsScript is about the configs of brokers, of groups and of subscriptions of client metrics.
func configsScript(s *script) {
	s.masks = adminMasks
	const broker, brokers = "--entity-type brokers --entity-name 1", "--entity-type brokers --entity-default"
	for _, line := range []string{
		broker + " --describe", brokers + " --describe", "--entity-type brokers --describe",
		broker + " --alter --add-config log.retention.ms=7000000,num.io.threads=10",
		brokers + " --alter --add-config log.retention.ms=8000000,message.max.bytes=2000000",
		broker + " --describe", brokers + " --describe",
		broker + " --alter --add-config num.partitions=3", broker + " --alter --add-config log.retention.ms=x",
		broker + " --alter --add-config num.io.threads=100", broker + " --alter --delete-config nonsense",
		broker + " --alter --add-config log.cleanup.policy=[compact,delete]", broker + " --describe",
		"--entity-type brokers --entity-name 7 --describe",
		"--entity-type brokers --entity-name 7 --alter --add-config log.retention.ms=1",
		"--entity-type brokers --entity-name one --alter --add-config log.retention.ms=1",
		broker + " --alter --delete-config log.retention.ms,num.io.threads,log.cleanup.policy",
		brokers + " --alter --delete-config log.retention.ms,message.max.bytes",
		broker + " --describe", brokers + " --describe",
		"--entity-type groups --entity-name readers --alter --add-config consumer.session.timeout.ms=50000",
		"--entity-type groups --entity-name readers --describe", "--entity-type groups --describe",
		"--entity-type groups --entity-name readers --alter --add-config consumer.session.timeout.ms=1",
		"--entity-type groups --entity-name readers --alter --delete-config consumer.session.timeout.ms",
		"--entity-type groups --entity-name readers --describe",
		"--entity-type client-metrics --entity-name some --alter --add-config interval.ms=1000,metrics=[a,b]",
		"--entity-type client-metrics --entity-name some --describe", "--entity-type client-metrics --describe",
		"--entity-type client-metrics --entity-name some --alter --add-config interval.ms=1",
		"--entity-type client-metrics --entity-name some --alter --add-config nonsense=1",
		"--entity-type client-metrics --entity-name some --alter --delete-config interval.ms,metrics",
		"--entity-type client-metrics --entity-name some --describe",
	} {
		s.line(configCommand, line)
	}
	for _, line := range []string{
		"--list", "--describe", "--alter --name one --metrics org.apache.kafka.producer. --interval 60000",
		"--alter --name two --metrics * --match client_id=a.*", "--list", "--describe", "--describe --name one",
		"--alter --name three --interval 1", "--alter --name three --match nonsense", "--describe --name three",
		"--delete --name one", "--delete --name two", "--delete --name two", "--list",
	} {
		s.line(metricsCommand, line)
	}
}

// reassignScript moves what there is nowhere to move to, with and without a throttle.
func reassignScript(s *script) {
	s.masks = adminMasks
	s.line(topicCommand, "--create --topic moved --partitions 2")
	s.file("topics.json", `{"version": 1, "topics": [{"topic": "moved"}]}`)
	s.file("same.json", `{"version": 1, "partitions": [{"topic": "moved", "partition": 0, "replicas": [1]}]}`)
	for _, line := range []string{
		"--list", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 1",
		"--generate --topics-to-move-json-file DIR/topics.json --broker-list 7",
		"--execute --reassignment-json-file DIR/same.json", "--verify --reassignment-json-file DIR/same.json",
		"--execute --reassignment-json-file DIR/same.json --throttle 1000000",
		"--verify --preserve-throttles --reassignment-json-file DIR/same.json",
		"--verify --reassignment-json-file DIR/same.json", "--cancel --reassignment-json-file DIR/same.json", "--list",
	} {
		s.line(reassignCommand, line)
	}
	s.line(configCommand, "--entity-type brokers --entity-name 1 --describe")
	s.line(topicCommand, "--delete --topic moved")
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
	s.line(topicCommand, "--list")
	s.line(topicCommand, "--delete --topic records")
	s.line(topicCommand, "--delete --topic with.*")
	s.line(topicCommand, "--list")
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
	s.line(versionsCommand, "")
	for _, line := range []string{
		"describe", "version-mapping", "feature-dependencies --feature group.version=1",
		"upgrade --feature group.version=1", "upgrade --feature group.version=9", "upgrade --feature nonsense=1",
		"downgrade --feature group.version=0 --dry-run", "downgrade --feature group.version=0", "describe",
		"upgrade --feature group.version=1 --dry-run", "upgrade --feature group.version=1",
		"disable --feature group.version", "disable --feature group.version --unsafe", "describe",
		"upgrade --feature group.version=1",
	} {
		s.line(featureCommand, line)
	}
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
