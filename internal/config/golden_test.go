package config

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// kafkaKey is one row of testdata/kafka-4.3.1-keys.tsv, which Kafka's own classes printed.
type kafkaKey struct {
	typ, value string
	dynamic    bool
	synonyms   string
}

// readKafkaKeys reads the golden table, by scope and name.
func readKafkaKeys(t *testing.T) map[string]kafkaKey {
	t.Helper()
	keys := make(map[string]kafkaKey)
	for _, line := range readLines(t, "testdata/kafka-4.3.1-keys.tsv") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := append(strings.Split(line, "\t"), "")
		value := strings.Trim(f[3], `"`)
		keys[f[0]+" "+f[1]] = kafkaKey{typ: f[2], value: value, dynamic: f[4] == "dynamic", synonyms: f[5]}
	}
	return keys
}

// readLines is the lines of a file.
func readLines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return lines
}

// deviations are the defaults that differ from Kafka's on purpose; each key's sentence gives the reason.
var deviations = map[string]string{
	"node.id":                               "Kafka demands it",
	"process.roles":                         "Kafka demands it",
	"controller.listener.names":             "Kafka demands it",
	"listeners":                             "loopback, not every interface",
	"log.dir":                               "not in /tmp",
	"group.coordinator.rebalance.protocols": "streams groups are not served yet",
}

// fixed are the keys that change at run time in Kafka and not here; docs/protocol.md lists them.
var fixed = []string{"listener.security.protocol.map", "listeners", "num.network.threads"}

// TestEveryKeyAgreesWithKafka compares each row that is Kafka's with what Kafka 4.3.1 says of the same key.
func TestEveryKeyAgreesWithKafka(t *testing.T) {
	golden := readKafkaKeys(t)
	for _, k := range Keys {
		if strings.HasPrefix(k.Name, "spate.") || k.AtRunTime { // Kafka describes the latter only where they are set
			continue
		}
		want, ok := golden[k.Scope.String()+" "+k.Name]
		if !ok {
			t.Errorf("%s %s is not a key of Kafka's; ours begin with spate.", k.Scope, k.Name)
			continue
		}
		value := k.Default
		if k.Unset {
			value = "null"
		}
		got := kafkaKey{k.Type.String(), value, k.Dynamic, strings.Join(k.Synonyms, ",")}
		if _, deviates := deviations[k.Name]; deviates {
			got.value = want.value
		}
		if slices.Contains(fixed, k.Name) && !got.dynamic {
			got.dynamic = want.dynamic
		}
		if got != want {
			t.Errorf("%s %s: got %+v, Kafka has %+v", k.Scope, k.Name, got, want)
		}
	}
}

// TestEveryKafkaKeyIsKnown finds each key of Kafka's in the table or among those that are not served yet, not in both.
func TestEveryKafkaKeyIsKnown(t *testing.T) {
	for id := range readKafkaKeys(t) {
		scopeName, name, _ := strings.Cut(id, " ")
		scope, later := BrokerScope, laterKeys
		switch scopeName {
		case "topic":
			scope, later = TopicScope, laterTopicKeys
		case "group":
			scope, later = GroupScope, laterGroupKeys
		}
		if strings.HasPrefix(name, "internal.segment.") {
			continue // Kafka's own tests use it
		}
		_, waits := slices.BinarySearch(later, name)
		if served := Lookup(scope, name) != nil; served == waits {
			t.Errorf("%s: served %v, listed as not served %v", id, served, waits)
		}
	}
	for _, list := range [][]string{laterKeys, laterTopicKeys, laterGroupKeys} {
		if !slices.IsSorted(list) {
			t.Error("a list of keys that are not served is not sorted")
		}
	}
}

// describe is an entry in the form that Kafka's ConfigCommand prints.
func describe(e Entry) string {
	value := "null"
	if e.Value != nil {
		value = *e.Value
	}
	var synonyms []string
	for _, s := range e.Synonyms {
		source := map[Source]string{DynamicTopic: "DYNAMIC_TOPIC_CONFIG", StaticBroker: "STATIC_BROKER_CONFIG",
			DynamicGroup: "DYNAMIC_GROUP_CONFIG", Default: "DEFAULT_CONFIG"}[s.Source]
		synonyms = append(synonyms, fmt.Sprintf("%s:%s=%s", source, s.Name, *s.Value))
	}
	return fmt.Sprintf("%s=%s sensitive=%v synonyms={%s}", e.Name, value, e.Sensitive, strings.Join(synonyms, ", "))
}

// TestDescribeAgreesWithKafka loads the server.properties with which a Kafka 4.3.1 ran, and compares the entries with
// what kafka-configs --describe --all printed there, for the broker and for a topic with segment.bytes=2097152.
func TestDescribeAgreesWithKafka(t *testing.T) {
	content, err := os.ReadFile("testdata/server.properties")
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := Load(Sources{File: "server.properties", Properties: content})
	if err != nil {
		t.Fatal(err)
	}
	exceptions := []string{
		"group.coordinator.rebalance.protocols",    // differs by default
		"min.insync.replicas",                      // Kafka's ELR feature sets a dynamic default
		"log.dir",                                  // differs by default
		"group.consumer.regex.refresh.interval.ms", // Kafka hides it
	}
	compare := func(file string, entries []Entry) {
		golden := make(map[string]string)
		for _, line := range readLines(t, file) {
			name, _, _ := strings.Cut(line, "=")
			golden[name] = line
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name, "spate.") || slices.Contains(exceptions, e.Name) {
				continue
			}
			got := describe(e)
			want := strings.ReplaceAll(golden[e.Name], ", DEFAULT_CONFIG:listeners=PLAINTEXT://:9092",
				", DEFAULT_CONFIG:listeners=PLAINTEXT://127.0.0.1:9092")
			switch e.Name { // Kafka demands these, so they have no default there
			case "node.id", "process.roles", "controller.listener.names":
				got = got[:strings.Index(got, ", DEFAULT_CONFIG")] + "}"
			}
			if got != want {
				t.Errorf("got  %s\nKafka %s", got, want)
			}
		}
	}
	compare("testdata/kafka-4.3.1-describe-broker.txt", c.Entries())
	compare("testdata/kafka-4.3.1-describe-topic.txt", c.TopicEntries(map[string]string{"segment.bytes": "2097152"}))
}
