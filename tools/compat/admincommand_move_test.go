package compat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestMoveTools has Kafka's own tools move replicas between log directories of Apache Kafka and of the broker under
// test: the texts must be equal, but for the paths.
func TestMoveTools(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dirs := func(name string) map[string]string {
		settings := groupSettings()
		list := ""
		for _, d := range []string{"one", "two"} {
			path := filepath.Join(base, name, d)
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			list += "," + path
		}
		settings["log.dirs"] = list[1:]
		return settings
	}
	kafka, tested := startKafka(t, dirs("kafka")), startTarget(t, dirs("tested"))
	bothSay(t, kafka, tested, func(s *script) {
		name := "tested"
		if s.target == kafka {
			name = "kafka"
		}
		moveScript(s, filepath.Join(base, name))
	})
}

// moveScript moves a topic to and fro between the log directories one and two in base.
func moveScript(s *script, base string) {
	path := func(name string) string { return filepath.Join(base, name) }
	s.masks = []mask{
		{what: regexp.MustCompile(`/[^\s"]*/(kafka|tested)/(one|two|nowhere)`), by: "DIRECTORY-$2"},
		// The tool prints these as the map of its answers has them.
		{what: regexp.MustCompile(`(,?` + describedDir.String() + `)+`), change: sortedDirs},
		{what: regexp.MustCompile(`(?m)Configs: \S+,\S+$`), change: sortedConfigs},
	}
	s.topic("moved", 2, 100)
	s.file("topics.json", `{"version": 1, "topics": [{"topic": "moved"}]}`)
	const row = `{"topic": "moved", "partition": %d, "replicas": [1], "log_dirs": [%q]}`
	for _, to := range []string{"one", "two"} {
		rows := fmt.Sprintf(row+","+row, 0, path(to), 1, path(to))
		s.file(to+".json", fmt.Sprintf(`{"version": 1, "partitions": [%s]}`, rows))
	}
	s.file("nowhere.json", fmt.Sprintf(`{"version": 1, "partitions": [`+row+`]}`, 0, path("nowhere")))
	s.file("wrong.json", `{"version": 1, "partitions": [{"topic": "moved", "partition": 0, "replicas": [1],
		"log_dirs": ["any", "any"]}]}`)
	s.file("any.json", fmt.Sprintf(`{"version": 1, "partitions": [`+row+`]}`, 0, "any"))
	for _, to := range []string{"one", "two", "one"} {
		s.line(reassignCommand, "--execute --reassignment-json-file DIR/"+to+".json")
		s.moved("moved", 2, path(to))
		s.line(reassignCommand, "--verify --reassignment-json-file DIR/"+to+".json")
		s.line(logDirsCommand, "--describe --topic-list moved --broker-list 1")
	}
	for _, line := range []string{
		"--verify --reassignment-json-file DIR/two.json",
		"--execute --reassignment-json-file DIR/any.json", "--verify --reassignment-json-file DIR/any.json",
		"--execute --reassignment-json-file DIR/wrong.json",
		"--execute --replica-alter-log-dirs-throttle 50000000 --reassignment-json-file DIR/two.json",
	} {
		s.line(reassignCommand, line)
	}
	s.moved("moved", 2, path("two"))
	s.line(configCommand, "--entity-type brokers --entity-name 1 --describe")
	s.line(reassignCommand, "--verify --reassignment-json-file DIR/two.json")
	s.line(configCommand, "--entity-type brokers --entity-name 1 --describe")
	// The tool asks again and again for a directory that is not there, and gives up.
	s.line(reassignCommand, "--execute --timeout 2000 --reassignment-json-file DIR/nowhere.json")
	s.line(topicCommand, "--delete --topic moved")
}

// describedDir is one log directory in the JSON of the tool.
var describedDir = regexp.MustCompile(`\{"partitions":\[[^]]*\],"error":null,"logDir":"[^"]*"\}`)

// sortedDirs puts the log directories of one broker in order.
func sortedDirs(text string) string {
	dirs := describedDir.FindAllString(text, -1)
	slices.Sort(dirs)
	return strings.Join(dirs, ",")
}

// moved waits until all partitions of a topic are in dir, and no copy is left.
func (s *script) moved(topic string, partitions int, dir string) {
	s.t.Helper()
	s.wait(fmt.Sprintf("%s to be in %s", topic, dir), func(ctx context.Context) bool {
		found, err := s.admin.DescribeAllLogDirs(ctx, nil)
		if err != nil {
			return false
		}
		there := 0
		found.Each(func(d kadm.DescribedLogDir) {
			d.Topics.Each(func(p kadm.DescribedLogDirPartition) {
				if p.Topic == topic && d.Dir == dir && !p.IsFuture {
					there++
				}
			})
		})
		return there == partitions
	})
}
