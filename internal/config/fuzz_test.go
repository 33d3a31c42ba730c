package config

import (
	"strings"
	"testing"
)

// FuzzLoad feeds any bytes as a file, an environment and --set pairs: a Config comes out whose derived values work, or
// an error of one line.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("log.dirs=/a\\\n,/b"), "KAFKA_NODE_ID=3", "num.partitions=3")
	f.Add([]byte("listeners=PLAINTEXT://[::1]:0\nadvertised.listeners=PLAINTEXT://h:1"), "KAFKA_A___B", "x")
	f.Add([]byte("a=\\u00"), "KAFKA_MAX_CONNECTIONS_PER_IP_OVERRIDES=[::1]:4", "controller.quorum.voters=1@a:2")
	f.Add([]byte("\xff\xfe=\x00"), "=", "=")
	f.Fuzz(func(t *testing.T, properties []byte, variable, set string) {
		c, _, err := Load(Sources{File: "f", Properties: properties, Environ: []string{variable}, Set: []string{set}})
		if err != nil {
			if !strings.Contains(set, "\n") && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			return
		}
		if len(c.Listeners()) == 0 || len(c.LogDirs()) == 0 || c.NodeID() < 0 || c.MetadataLogDir() == "" {
			t.Errorf("a config passed that cannot run: %+v", c)
		}
		c.PerIPOverrides()
		if _, err := c.Topic(nil); err != nil {
			t.Error(err)
		}
		if err := c.ValidateGroup(nil); err != nil {
			t.Errorf("the broker's own settings are no group's: %v", err)
		}
		if g := c.Groups(); len(g.Assignors) == 0 || g.OffsetsTopicPartitions < 1 || g.OffsetsTopicReplication < 1 {
			t.Errorf("groups cannot be served: %+v", g)
		}
		atRunTime := 0
		for i := range Keys {
			if Keys[i].AtRunTime {
				atRunTime++
			}
		}
		if len(c.Entries())+len(c.TopicEntries(nil))+len(c.GroupEntries(nil))+atRunTime != len(Keys) {
			t.Error("an entry is missing")
		}
	})
}

// FuzzTopic feeds any override: it is refused by one line, or resolves.
func FuzzTopic(f *testing.F) {
	f.Add("retention.ms", "-1")
	f.Add("cleanup.policy", "delete,compact")
	f.Add("compression.zstd.level", "99999999999999999999")
	c, _, err := Load(Sources{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		overrides := map[string]string{key: value}
		if _, err := c.Topic(overrides); err != nil {
			return
		}
		for _, e := range c.TopicEntries(overrides) {
			if e.Name == key && e.Source != DynamicTopic {
				t.Errorf("%s: source %d", key, e.Source)
			}
		}
	})
}
