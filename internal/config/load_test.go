package config

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// load is Load of a properties file's content, with a host name.
func load(t *testing.T, properties string, set ...string) *Config {
	t.Helper()
	c, _, err := Load(Sources{File: "x.properties", Properties: []byte(properties), Set: set, Hostname: "box"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTheTableIsInOrder checks what every row promises: sorted, unique, with a default that its own rule allows, and
// a sentence.
func TestTheTableIsInOrder(t *testing.T) {
	sorted := slices.IsSortedFunc(Keys, func(a, b Key) int {
		if a.Scope != b.Scope {
			return int(a.Scope) - int(b.Scope)
		}
		return strings.Compare(a.Name, b.Name)
	})
	if !sorted {
		t.Error("the table is not sorted by scope and name")
	}
	for i, k := range Keys {
		if i > 0 && Keys[i-1].Name == k.Name && Keys[i-1].Scope == k.Scope {
			t.Errorf("%s is there twice", k.Name)
		}
		if !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: %q is not a sentence", k.Name, k.Doc)
		}
		if k.Unset == (k.Default != "") && k.Default != "" {
			t.Errorf("%s has a default and is unset", k.Name)
		}
		if k.Unset {
			continue
		}
		value, err := k.parse(k.Default)
		if err != nil {
			t.Errorf("default: %v", err)
		} else if text := format(value); text != k.Default {
			t.Errorf("%s: the default %q reads back as %q", k.Name, k.Default, text)
		}
		for _, synonym := range k.Synonyms {
			if Lookup(BrokerScope, synonym) == nil {
				t.Errorf("%s: the synonym %s is not a broker key", k.Name, synonym)
			}
		}
	}
}

// TestDefaults loads nothing at all: the broker of "spate broker" without arguments.
func TestDefaults(t *testing.T) {
	c, warnings, err := Load(Sources{Hostname: "box"})
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	want := []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Host: "127.0.0.1", Port: 9092,
		AdvertisedHost: "127.0.0.1", AdvertisedPort: 9092, InterBroker: true}}
	if got := c.Listeners(); !reflect.DeepEqual(got, want) {
		t.Errorf("listeners: got %+v", got)
	}
	if got := c.LogDirs(); !slices.Equal(got, []string{"./data"}) {
		t.Errorf("log dirs: got %v", got)
	}
	if got := c.NodeID(); got != 1 {
		t.Errorf("node id: got %d", got)
	}
	if got := c.MetadataLogDir(); got != "./data" {
		t.Errorf("metadata log dir: got %s", got)
	}
	if got := c.Duration("connections.max.idle.ms"); got != 10*time.Minute {
		t.Errorf("connections.max.idle.ms: got %v", got)
	}
	if !c.Bool("auto.create.topics.enable") || c.Int("num.partitions") != 1 || c.String("broker.rack") != "" ||
		c.Int64("queued.max.request.bytes") != -1 || c.List("controller.quorum.voters") == nil {
		t.Error("a default did not come through its accessor")
	}
}

// TestLaterSourcesWin sets the same key in each source.
func TestLaterSourcesWin(t *testing.T) {
	sources := Sources{
		File:       "server.properties",
		Properties: []byte("listeners=PLAINTEXT://:1\nnum.partitions=2\nnum.io.threads=2\nlog.dirs=/a\n"),
		Environ:    []string{"KAFKA_NUM_PARTITIONS=3", "KAFKA_NUM_IO_THREADS=3", "HOME=/", "KAFKA_HEAP_OPTS=-Xmx1G"},
		Set:        []string{"num.partitions=4", "num.partitions=5"},
	}
	c, warnings, err := Load(sources)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	if got := [3]any{c.Int("num.partitions"), c.Int("num.io.threads"), c.LogDirs()[0]}; got != [3]any{5, 3, "/a"} {
		t.Errorf("got %v", got)
	}
}

// TestAWrongValueThatIsOverriddenDoesNotMatter is Kafka's behaviour: only the last value of a key is read.
func TestAWrongValueThatIsOverriddenDoesNotMatter(t *testing.T) {
	if got := load(t, "num.partitions=many", "num.partitions=4").Int("num.partitions"); got != 4 {
		t.Errorf("got %d", got)
	}
}

// TestEnvironmentNames checks the mangling of Kafka's container image.
func TestEnvironmentNames(t *testing.T) {
	for variable, want := range map[string]string{
		"KAFKA_LOG_DIRS":             "log.dirs",
		"KAFKA_SPATE_ACK_DURABILITY": "spate.ack.durability",
		"KAFKA_A__B":                 "a_b",
		"KAFKA_A___B":                "a-b",
		"KAFKA_A_B__C___D":           "a.b_c-d",
	} {
		got := parseEnviron([]string{variable + "=x=y"})
		if !reflect.DeepEqual(got, []assignment{{want, "x=y"}}) {
			t.Errorf("%s: got %v, want %s", variable, got, want)
		}
	}
	for _, variable := range []string{"KAFKA_=1", "KAFKA=1", "KAFKA_OPTS=-D", "PATH=/bin", "", "KAFKA_JMX_OPTS"} {
		if got := parseEnviron([]string{variable}); len(got) > 0 {
			t.Errorf("%s: got %v, want nothing", variable, got)
		}
	}
}

// TestPropertiesFormat checks the parts of Java's format that configuration files use.
func TestPropertiesFormat(t *testing.T) {
	if got := load(t, "log.dirs=/a, /b,/a").LogDirs(); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("a directory twice: got %q", got)
	}
	c := load(t, "# comment\n! comment\n log.dirs : /a\\\n   ,/b \nbroker.rack=r\\u00e4ck ${x}\nnum.partitions 7\r\n\n")
	if got := c.LogDirs(); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("log.dirs: got %q", got)
	}
	if got := c.String("broker.rack"); got != "räck ${x}" {
		t.Errorf("broker.rack: got %q", got)
	}
	if got := c.Int("num.partitions"); got != 7 {
		t.Errorf("num.partitions: got %d", got)
	}
	if got := load(t, "broker.rack=r\xe4ck").String("broker.rack"); got != "räck" {
		t.Errorf("ISO-8859-1: got %q", got)
	}
	if got := load(t, "broker.rack=räck").String("broker.rack"); got != "räck" {
		t.Errorf("UTF-8: got %q", got)
	}
}

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestRefusals reads testdata/refusals.txt and checks that each wrong configuration there ends in its line. Where Kafka
// 4.3.1 has the rule, the line is Kafka's own.
func TestRefusals(t *testing.T) {
	lines := readLines(t, "testdata/refusals.txt")
	cases := 0
	for i := 0; i+3 < len(lines); i++ {
		if lines[i] != "" {
			continue
		}
		name, set, want := lines[i+1], lines[i+2], lines[i+3]
		_, _, err := Load(Sources{Set: []string{set}})
		if *rewrite {
			lines[i+3] = fmt.Sprint(err)
		} else if err == nil || err.Error() != want {
			t.Errorf("%s:\n got  %v\n want %s", name, err, want)
		}
		cases++
	}
	if cases < 30 {
		t.Errorf("%d cases", cases)
	}
	if *rewrite {
		content := strings.Join(lines, "\n") + "\n"
		if err := os.WriteFile("testdata/refusals.txt", []byte(content), 0o644); err != nil {
			t.Error(err)
		}
	}
	if _, _, err := Load(Sources{Set: []string{"node.id=1", "broker.id=2"}}); err == nil {
		t.Error("two ids: no error")
	}
}

// TestIDs checks that broker.id stands in for node.id.
func TestIDs(t *testing.T) {
	cases := map[string]int32{"": 1, "node.id=7": 7, "broker.id=8": 8, "node.id=9\nbroker.id=9": 9}
	for properties, want := range cases {
		if got := load(t, properties).NodeID(); got != want {
			t.Errorf("%q: got %d, want %d", properties, got, want)
		}
	}
	if _, _, err := Load(Sources{Set: []string{"broker.id=-1"}}); err == nil {
		t.Error("broker.id=-1: no error")
	}
	for _, set := range []string{"node.id=5", "broker.id=5"} { // DescribeConfigs shows both, as Kafka's does
		for _, e := range load(t, "", set).Entries() {
			if (e.Name == "node.id" || e.Name == "broker.id") && (*e.Value != "5" || e.Source != StaticBroker) {
				t.Errorf("%s: %s is %s from %d", set, e.Name, *e.Value, e.Source)
			}
		}
	}
}

// TestListeners checks what is opened and what is advertised.
func TestListeners(t *testing.T) {
	for _, c := range []struct {
		name, properties string
		want             []Listener
	}{
		{"every interface advertises the host name", "listeners=PLAINTEXT://:9092", []Listener{
			{"PLAINTEXT", "PLAINTEXT", "", 9092, "box", 9092, true}}},
		{"so does the address of all", "listeners=PLAINTEXT://0.0.0.0:0", []Listener{
			{"PLAINTEXT", "PLAINTEXT", "0.0.0.0", 0, "box", 0, true}}},
		{"IPv6 stands in brackets", "listeners=PLAINTEXT://[::1]:9092", []Listener{
			{"PLAINTEXT", "PLAINTEXT", "::1", 9092, "::1", 9092, true}}},
		{"names are upper case and mapped", "listeners=in://a:1,out://b:2\n" +
			"listener.security.protocol.map=IN:plaintext,Out:PLAINTEXT\n" +
			"inter.broker.listener.name=out\nadvertised.listeners=out://x:3,IN://y:4", []Listener{
			{"IN", "PLAINTEXT", "a", 1, "y", 4, false}, {"OUT", "PLAINTEXT", "b", 2, "x", 3, true}}},
		{"controllers' listeners stay closed", "listeners=PLAINTEXT://a:1,CONTROLLER://a:2\n" +
			"controller.listener.names=CONTROLLER\n" +
			"controller.quorum.voters=1@a:2", []Listener{{"PLAINTEXT", "PLAINTEXT", "a", 1, "a", 1, true}}},
		{"one port for both families", "listeners=A://127.0.0.1:1,B://[::1]:1\n" +
			"listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT", []Listener{
			{"A", "PLAINTEXT", "127.0.0.1", 1, "127.0.0.1", 1, true}, {"B", "PLAINTEXT", "::1", 1, "::1", 1, false}}},
	} {
		if got := load(t, c.properties).Listeners(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got  %+v\n want %+v", c.name, got, c.want)
		}
	}
	if got := (Listener{Host: "::1", Port: 9}).Address(); got != "[::1]:9" {
		t.Errorf("address: got %s", got)
	}
}

// TestPerIPOverrides reads both families.
func TestPerIPOverrides(t *testing.T) {
	got := load(t, "max.connections.per.ip.overrides=127.0.0.1:5, [::1]:6,::2:7").PerIPOverrides()
	want := map[netip.Addr]int{netip.MustParseAddr("127.0.0.1"): 5, netip.MustParseAddr("::1"): 6,
		netip.MustParseAddr("::2"): 7}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestWarnings checks what is said of keys that are not served, and that they do not keep the broker from starting.
func TestWarnings(t *testing.T) {
	const later = ": known to Kafka, not served yet; ignored"
	for _, c := range []struct{ key, want string }{
		{"transaction.two.phase.commit.enable", "transaction.two.phase.commit.enable" + later},
		{"listener.name.inside.ssl.client.auth", "listener.name.inside.ssl.client.auth" + later},
		{"num.partition", "num.partition: unknown; ignored. Did you mean num.partitions?"},
		{"log.retension.ms", "log.retension.ms: unknown; ignored. Did you mean log.retention.ms?"},
		{"retention.ms", "retention.ms: unknown; ignored. Did you mean log.retention.ms?"},
		{"service.host", "service.host: unknown; ignored"},
		{strings.Repeat("x", 1000), strings.Repeat("x", 1000) + ": unknown; ignored"},
	} {
		_, warnings, err := Load(Sources{Set: []string{c.key + "=1"}})
		if err != nil || len(warnings) != 1 || warnings[0].String() != c.want {
			t.Errorf("%s: got %v, %v; want %s", c.key, warnings, err, c.want)
		}
	}
}

// TestAStockFileLoads loads what a stock server.properties of Kafka holds: only the keys to come are mentioned.
func TestAStockFileLoads(t *testing.T) {
	content := strings.Join(readLines(t, "testdata/server.properties"), "\n")
	_, warnings, err := Load(Sources{File: "server.properties", Properties: []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, w := range warnings {
		keys = append(keys, w.Key)
	}
	want := []string{"share.coordinator.state.topic.replication.factor", "share.coordinator.state.topic.min.isr",
		"controller.listener.names"}
	if !slices.Equal(keys, want) {
		t.Errorf("got %q", keys)
	}
}

// TestAFileWithoutListenersIsMentioned, because Kafka would be reachable from outside with it.
func TestAFileWithoutListenersIsMentioned(t *testing.T) {
	_, warnings, err := Load(Sources{File: "x", Properties: []byte("node.id=2")})
	if err != nil || len(warnings) != 1 || warnings[0].Key != "listeners" {
		t.Errorf("got %v, %v", warnings, err)
	}
}
