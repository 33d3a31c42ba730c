package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/magiconair/properties"
)

// Sources is where a configuration comes from. Later fields win over earlier ones.
type Sources struct {
	File       string   // the name of the properties file, for messages; empty: there is none
	Properties []byte   // its content, in the format of java.util.Properties
	Environ    []string // KEY=value; KAFKA_LOG_DIRS=x sets log.dirs, as in Kafka's container image
	Set        []string // key=value, from --set
	Hostname   string   // the name of this machine, for listeners on every interface
}

// Warning is something that the operator should know and that does not keep the broker from starting.
type Warning struct {
	Key     string
	Message string
}

// String is the warning as one line.
func (w Warning) String() string { return w.Key + ": " + w.Message }

// assignment is one key=value pair of a source.
type assignment struct{ key, value string }

// Load merges the sources over the defaults and checks the result. The error is one line that names the key, the
// value and what is allowed.
func Load(sources Sources) (*Config, []Warning, error) {
	assignments, err := sources.assignments()
	if err != nil {
		return nil, nil, err
	}
	c := &Config{settings: make(map[string]setting)}
	for i := range Keys {
		if k := &Keys[i]; k.Scope == BrokerScope {
			c.settings[k.Name] = k.initial()
		}
	}
	warnings, err := c.assign(assignments)
	if err != nil {
		return nil, nil, err
	}
	if err := c.checkTogether(); err != nil {
		return nil, nil, err
	}
	more, err := c.resolveListeners(sources.Hostname)
	if err != nil {
		return nil, nil, err
	}
	warnings = append(warnings, more...)
	if sources.File != "" && !c.IsSet("listeners") {
		warnings = append(warnings, Warning{"listeners",
			"not set, so only this machine can connect; Kafka would listen on every interface"})
	}
	return c, warnings, nil
}

// initial is the setting of a key that no source mentions.
func (k *Key) initial() setting {
	if k.Unset {
		return setting{}
	}
	value, err := k.parse(k.Default)
	if err != nil {
		panic(err) // a default that its own rule forbids; a test parses them all
	}
	return setting{text: k.Default, value: value}
}

// assignments lists the pairs of all sources, the weakest source first.
func (s Sources) assignments() ([]assignment, error) {
	pairs, err := parseProperties(s.File, s.Properties)
	if err != nil {
		return nil, err
	}
	pairs = append(pairs, parseEnviron(s.Environ)...)
	for _, text := range s.Set {
		key, value, ok := strings.Cut(text, "=")
		if key = strings.TrimSpace(key); !ok || key == "" {
			return nil, fmt.Errorf("--set %q: must be key=value", text)
		}
		pairs = append(pairs, assignment{key, value})
	}
	return pairs, nil
}

// parseProperties reads Java's format. Java reads ISO-8859-1; here UTF-8 is taken as such where the bytes allow it.
// ${...} is not expanded, as Kafka does not either without config providers.
func parseProperties(file string, content []byte) ([]assignment, error) {
	encoding := properties.UTF8
	if !utf8.Valid(content) {
		encoding = properties.ISO_8859_1
	}
	loader := properties.Loader{Encoding: encoding, DisableExpansion: true}
	p, err := loader.LoadBytes(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	pairs := make([]assignment, 0, p.Len())
	for _, key := range p.Keys() {
		value, _ := p.Get(key)
		pairs = append(pairs, assignment{key, value})
	}
	return pairs, nil
}

// notKeys are the variables of Kafka's container image and scripts that begin with KAFKA_ and are not config keys.
var notKeys = []string{"KAFKA_VERSION", "KAFKA_HEAP_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_OPTS", "KAFKA_JMX_OPTS",
	"KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_GC_LOG_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_LOG4J_LOGGERS",
	"KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_JMX_HOSTNAME"}

// parseEnviron picks the KAFKA_ variables, sorted by key, and names them as Kafka's container image does: lower case,
// "___" is "-", "__" is "_", "_" is ".".
func parseEnviron(environ []string) []assignment {
	dots := strings.NewReplacer("_", ".")
	var pairs []assignment
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		rest, ok := strings.CutPrefix(name, "KAFKA_")
		if !ok || rest == "" || slices.Contains(notKeys, name) {
			continue
		}
		key := dots.Replace(strings.ToLower(rest))
		key = strings.ReplaceAll(strings.ReplaceAll(key, "...", "-"), "..", "_")
		pairs = append(pairs, assignment{key, value})
	}
	slices.SortStableFunc(pairs, func(a, b assignment) int { return strings.Compare(a.key, b.key) })
	return pairs
}

// assign parses the last pair of each key into the settings; keys that are not served become warnings.
func (c *Config) assign(pairs []assignment) ([]Warning, error) {
	last := make(map[string]int, len(pairs))
	for i, pair := range pairs {
		last[pair.key] = i
	}
	var warnings []Warning
	for i, pair := range pairs {
		if last[pair.key] != i {
			continue
		}
		k := Lookup(BrokerScope, pair.key)
		if k != nil && k.AtRunTime {
			warnings = append(warnings, Warning{pair.key, "set at run time alone, as in Kafka; ignored"})
			continue
		}
		if k == nil {
			warnings = append(warnings, Warning{pair.key, unknownKey(pair.key)})
			continue
		}
		value, err := k.parse(pair.value)
		if err != nil {
			return nil, err
		}
		c.settings[k.Name] = setting{text: strings.TrimSpace(pair.value), value: value, set: true}
	}
	return warnings, nil
}

// keyName is what tells the rows of the table apart.
type keyName struct {
	scope Scope
	name  string
}

// byName finds a row without a search.
var byName = func() map[keyName]*Key {
	rows := make(map[keyName]*Key, len(Keys))
	for i := range Keys {
		rows[keyName{Keys[i].Scope, Keys[i].Name}] = &Keys[i]
	}
	return rows
}()

// Lookup is the row of a key, or nil.
func Lookup(scope Scope, name string) *Key { return byName[keyName{scope, name}] }
