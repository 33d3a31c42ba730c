package config

import (
	"maps"
	"slices"
)

// Entry is one key as DescribeConfigs answers it.
type Entry struct {
	Name      string
	Value     *string // nil: null
	Source    Source
	ReadOnly  bool
	Sensitive bool
	Type      Type
	Synonyms  []Synonym // where the value could come from, the source in force first
	Doc       string
}

// Synonym is one source of a value.
type Synonym struct {
	Name   string
	Value  *string
	Source Source
}

// Entries is every broker key in the order of the table, and then what was set at run time under names that nobody
// knows: their values are not told, as they may be secrets of a plugin.
func (c *Config) Entries() []Entry {
	var entries []Entry
	for i := range Keys {
		k := &Keys[i]
		if k.Scope != BrokerScope || k.AtRunTime && !c.settings[k.Name].set {
			continue
		}
		e := k.entry(c.settings[k.Name].value, c.synonyms(k.Name))
		e.ReadOnly = !k.Dynamic
		entries = append(entries, e)
	}
	for _, name := range slices.Sorted(maps.Keys(c.dynamicNames())) {
		if Lookup(BrokerScope, name) == nil {
			entries = append(entries, secret(name, c.synonyms(name)))
		}
	}
	return entries
}

// secret is the row of a key that is not in the table.
func secret(name string, synonyms []Synonym) Entry {
	return Entry{Name: name, Source: synonyms[0].Source, ReadOnly: true, Sensitive: true, Synonyms: synonyms}
}

// dynamicNames is all that was set at run time.
func (c *Config) dynamicNames() map[string]bool {
	names := map[string]bool{}
	for _, layer := range []map[string]string{c.dynamic.Cluster, c.dynamic.Broker} {
		for name := range layer {
			names[name] = true
		}
	}
	return names
}

// ClusterEntries is what was set at run time for all brokers, by name.
func (c *Config) ClusterEntries() []Entry {
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(c.dynamic.Cluster)) {
		text := c.dynamic.Cluster[name]
		synonyms := []Synonym{{name, &text, DynamicCluster}}
		k := Lookup(BrokerScope, name)
		if k == nil {
			entries = append(entries, secret(name, synonyms))
			continue
		}
		entries = append(entries, Entry{Name: name, Value: &text, Source: DynamicCluster, ReadOnly: !k.Dynamic,
			Type: k.Type, Synonyms: synonyms, Doc: k.Doc})
	}
	return entries
}

// TopicEntries is every topic key in the order of the table, for a topic with these validated overrides.
func (c *Config) TopicEntries(overrides map[string]string) []Entry {
	return c.scopeEntries(TopicScope, DynamicTopic, overrides)
}

// GroupEntries is every group key in the order of the table, for a group with these validated overrides.
func (c *Config) GroupEntries(overrides map[string]string) []Entry {
	return c.scopeEntries(GroupScope, DynamicGroup, overrides)
}

// scopeEntries is the entries of one resource whose own settings are the overrides, from that source.
func (c *Config) scopeEntries(scope Scope, own Source, overrides map[string]string) []Entry {
	r := resolver{c, scope, overrides}
	var entries []Entry
	for i := range Keys {
		k := &Keys[i]
		if k.Scope != scope {
			continue
		}
		var synonyms []Synonym
		value := r.value(k.Name)
		if _, ok := overrides[k.Name]; ok {
			text := format(value)
			synonyms = append(synonyms, Synonym{k.Name, &text, own})
		}
		if len(k.Synonyms) > 0 {
			synonyms = append(synonyms, c.synonyms(k.Synonyms[0])...)
		}
		entries = append(entries, k.entry(value, synonyms))
	}
	return entries
}

// entry is the row for a value in force.
func (k *Key) entry(value any, synonyms []Synonym) Entry {
	e := Entry{Name: k.Name, Source: Default, Type: k.Type, Synonyms: synonyms, Doc: k.Doc}
	if value != nil {
		text := format(value)
		e.Value = &text
	}
	if len(synonyms) > 0 {
		e.Source = synonyms[0].Source
	}
	return e
}

// families are the broker keys that stand in for each other, the strongest first, as in Kafka's
// DynamicBrokerConfig.brokerConfigSynonyms.
var families = [][]string{
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
}

// relatives is the family of a key, or the key alone.
func relatives(name string) []string {
	for _, family := range families {
		if slices.Contains(family, name) && name != "log.flush.scheduler.interval.ms" { // which stands alone
			return family
		}
	}
	return []string{name}
}

// synonyms lists the sources of a broker key: source by source, and the key's relatives within each. As in Kafka, those
// of stronger relatives are left out, so that the list begins with the key itself; a key without a value of its own has
// none, even where a relative gives its value.
func (c *Config) synonyms(name string) []Synonym {
	var found []Synonym
	names := relatives(name)
	dynamic := func(layer map[string]string, source Source) {
		for _, n := range names {
			if text, ok := layer[n]; ok {
				found = append(found, Synonym{n, &text, source})
			}
		}
	}
	dynamic(c.dynamic.Broker, DynamicBroker)
	dynamic(c.dynamic.Cluster, DynamicCluster)
	static := c.static().settings
	for _, n := range names {
		if s := static[n]; s.set {
			text := format(s.value)
			found = append(found, Synonym{n, &text, StaticBroker})
		}
	}
	for _, n := range names {
		if k := Lookup(BrokerScope, n); k != nil && !k.Unset && !k.AtRunTime {
			text := k.Default
			found = append(found, Synonym{n, &text, Default})
		}
	}
	for len(found) > 0 && found[0].Name != name {
		found = found[1:]
	}
	return found
}
