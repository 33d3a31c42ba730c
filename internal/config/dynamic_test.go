package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// started is a configuration as a broker starts with it.
func started(t testing.TB, set ...string) *Config {
	t.Helper()
	c, _, err := Load(Sources{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Goal: what is set at run time wins over the file, of one broker over that of all, and takes the place of stronger
// relatives.
func TestWhatIsSetAtRunTimeWins(t *testing.T) {
	c := started(t, "message.max.bytes=1000", "log.retention.hours=1", "log.flush.scheduler.interval.ms=5")
	for _, x := range []struct {
		about           string
		cluster, broker map[string]string
		key, want       string
	}{
		{"nothing set", nil, nil, "message.max.bytes", "1000"},
		{"for all", map[string]string{"message.max.bytes": "2000"}, nil, "message.max.bytes", "2000"},
		{"on the broker", nil, map[string]string{"message.max.bytes": "3000"}, "message.max.bytes", "3000"},
		{"both", map[string]string{"message.max.bytes": "2000"}, map[string]string{"message.max.bytes": "3000"},
			"message.max.bytes", "3000"},
		{"trimmed", map[string]string{"message.max.bytes": " 2000 "}, nil, "message.max.bytes", "2000"},
		{"a relative", map[string]string{"log.retention.ms": "7"}, nil, "log.retention.hours", "168"},
		{"no relative of a stranger", map[string]string{"log.roll.ms": "7"}, nil, "log.retention.hours", "1"},
		{"the scheduler gives way", map[string]string{"log.flush.interval.ms": "7"}, nil,
			"log.flush.scheduler.interval.ms", "9223372036854775807"},
	} {
		next, warnings := c.With(Dynamic{Cluster: x.cluster, Broker: x.broker})
		if got := format(next.settings[x.key].value); got != x.want || len(warnings) > 0 {
			t.Errorf("%s: %s=%s, want %s; %v", x.about, x.key, got, x.want, warnings)
		}
		if back, _ := next.With(Dynamic{}); back.Int("message.max.bytes") != 1000 {
			t.Errorf("%s: taken away, it leaves %d", x.about, back.Int("message.max.bytes"))
		}
	}
	if c.Int("message.max.bytes") != 1000 {
		t.Error("the configuration itself has changed")
	}
}

// Goal: what the log holds and is not allowed, is not in force, and the operator is told.
func TestWhatIsNotAllowedIsLeftOut(t *testing.T) {
	c := started(t)
	next, warnings := c.With(Dynamic{
		Cluster: map[string]string{"message.max.bytes": "x", "num.partitions": "7", "no.such.key": "1"},
		Broker:  map[string]string{"log.segment.bytes": "5", "max.connections.per.ip.overrides": "nobody"},
	})
	var keys []string
	for _, w := range warnings {
		keys = append(keys, w.Key)
	}
	want := []string{"message.max.bytes", "num.partitions", "log.segment.bytes", "max.connections.per.ip.overrides"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
	if next.TopicDefaults() != c.TopicDefaults() || next.Int("num.partitions") != 1 || len(next.PerIPOverrides()) > 0 {
		t.Error("something of it is in force")
	}
	together, warnings := c.With(Dynamic{Cluster: map[string]string{
		"group.consumer.assignment.interval.ms": "99999", "message.max.bytes": "5"}})
	if len(warnings) != 1 || together.Int("message.max.bytes") != 1048588 {
		t.Errorf("%v, %d", warnings, together.Int("message.max.bytes"))
	}
}

// Goal: a change is refused for Kafka's reasons and in its words; stories in broker/api have more of them.
func TestChangesAreValidated(t *testing.T) {
	c, _ := started(t).With(Dynamic{Cluster: map[string]string{"num.io.threads": "10", "log.segment.bytes": "5"}})
	for _, x := range []struct {
		set  map[string]string
		want string // begins the reason
	}{
		{map[string]string{"log.retention.ms": "-1", "no.such.key": "", "num.io.threads": "20"}, ""},
		{map[string]string{"log.segment.bytes": "5"}, ""}, // is so already
		{map[string]string{"log.segment.bytes": "6"}, "Invalid value 6 for configuration log.segment.bytes: Val"},
		{map[string]string{"num.io.threads": "21"}, "Invalid value org.apache.kafka.common.config.ConfigException: " +
			"Dynamic thread count update validation failed for num.io.threads=21, value should not be greater than"},
		{map[string]string{"num.io.threads": "4"}, "Invalid value org.apache.kafka.common.config.ConfigException: " +
			"Dynamic thread count update validation failed for num.io.threads=4, value should be at least half"},
		{map[string]string{"log.cleaner.threads": "2", "log.cleaner.backoff.ms": "0"}, ""},
		{map[string]string{"log.cleaner.threads": "3"}, "Invalid value org.apache.kafka.common.config.ConfigException" +
			": Log cleaner threads cannot be increased to more than double the current value 1 for configuration "},
		{map[string]string{"listeners": "A://:1", "background.threads": "3", "x": "y"},
			"Cannot update these configs dynamically: [background.threads, listeners]"},
		{map[string]string{"listener.name.a.b": "3"}, "Cannot update these configs dynamically: [listener.name.a.b]"},
		{map[string]string{"log.retention.ms": "0"}, "requirement failed: log.retention.ms must be unlimited (-1)"},
		{map[string]string{"log.retention.ms": "1.5"}, "Invalid value 1.5 for configuration log.retention.ms: Not"},
		{map[string]string{"max.connections": "0"}, "Invalid value org.apache.kafka.common.config.ConfigException: " +
			"Invalid max.connections 0 for configuration Invalid dynamic configuration"},
		{map[string]string{"max.connections.per.ip.overrides": "a:1"}, "Invalid value a:1 for configuration max.conn"},
		{map[string]string{"group.consumer.assignment.interval.ms": "99999"},
			"group.consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment"},
	} {
		got := ""
		if err := c.ValidateDynamic(Dynamic{Cluster: x.set}, false); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, x.want) || (got == "") != (x.want == "") {
			t.Errorf("%v: %q, want %q", x.set, got, x.want)
		}
	}
}

// Goal: whatever is accepted is in force, whatever the order. Method: any changes of any keys, and the configuration
// after them beside one that was started with them in the file.
func TestWhatIsAcceptedIsInForce(t *testing.T) {
	base := started(t)
	keys := rapid.SampledFrom([]string{"log.retention.ms", "log.roll.ms", "message.max.bytes", "log.cleanup.policy",
		"compression.type", "min.insync.replicas", "num.partitions", "no.such.key", "log.segment.bytes"})
	values := rapid.SampledFrom([]string{"", "0", "1", "7", "-1", "2000000", "delete", "gzip", "x", "compact"})
	rapid.Check(t, func(t *rapid.T) {
		set := rapid.MapOf(keys, values).Draw(t, "set")
		onBroker := rapid.Bool().Draw(t, "on the broker")
		d := Dynamic{Cluster: set}
		if onBroker {
			d = Dynamic{Broker: set}
		}
		if base.ValidateDynamic(d, onBroker) != nil {
			return
		}
		next, warnings := base.With(d)
		if len(warnings) > 0 {
			t.Fatalf("accepted, and %v", warnings)
		}
		var file []string
		for key, value := range set {
			file = append(file, key+"="+value)
		}
		static, _, err := Load(Sources{Set: file})
		if err != nil {
			t.Fatalf("accepted, and in a file: %v", err)
		}
		if static.TopicDefaults() != next.TopicDefaults() {
			t.Fatalf("%+v\n%+v", static.TopicDefaults(), next.TopicDefaults())
		}
		for _, e := range next.Entries() {
			if _, isSet := set[e.Name]; isSet != (e.Source == DynamicBroker || e.Source == DynamicCluster) {
				t.Fatalf("%s comes from %d", e.Name, e.Source)
			}
		}
	})
}

// Goal: those who follow see every change once, in order, and a change is there when they are told.
func TestFollowersSeeEveryChange(t *testing.T) {
	c := started(t)
	live := NewLive(c)
	var seen []int
	if live.Follow(func(old, next *Config) {
		if live.Get() != next {
			t.Error("told before it is in force")
		}
		seen = append(seen, old.Int("message.max.bytes"), next.Int("message.max.bytes"))
	}) != c {
		t.Error("it begins elsewhere")
	}
	for _, text := range []string{"5", "6"} {
		next, _ := c.With(Dynamic{Cluster: map[string]string{"message.max.bytes": text}})
		live.Replace(next)
	}
	if diff := cmp.Diff([]int{1048588, 5, 5, 6}, seen); diff != "" {
		t.Error(diff)
	}
}

// Goal: patterns of client metrics are those of Java, where Go's syntax can tell.
func TestPatternsOfClientMetrics(t *testing.T) {
	for pattern, want := range map[string]bool{
		"a.*": true, "a{2}": true, `a\{2`: true, `\p{L}+`: true, "(?!a)b": true, "b++": true, `(a)\1`: true,
		"a{2": false, "{a}": false, "a{x}": false, "(": false, "[a": false, "a**": false, "*a": false, "a)": false,
	} {
		err := ValidateClientMetrics("s", map[string]string{"match": "client_id=" + pattern})
		if (err == nil) != want {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}

// FuzzDynamic sets any key to any text: it is refused by one line, or in force without a warning.
func FuzzDynamic(f *testing.F) {
	f.Add("message.max.bytes", "5")
	f.Add("max.connections.per.ip.overrides", "127.0.0.1:5")
	f.Add("match", "client_id=a.*{")
	c := started(f)
	f.Fuzz(func(t *testing.T, key, value string) {
		d := Dynamic{Broker: map[string]string{key: value}}
		if err := c.ValidateDynamic(d, true); err == nil {
			next, warnings := c.With(d)
			if len(warnings) > 0 {
				t.Errorf("%v", warnings)
			}
			next.PerIPOverrides()
			next.Entries()
		}
		if ValidateClientMetrics("s", d.Broker) == nil {
			ClientMetricsEntries(d.Broker)
		}
	})
}
