package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Type is the type of a key's value, numbered as DescribeConfigs numbers it.
type Type int8

// The types of Kafka's ConfigDef that keys here use.
const (
	Boolean Type = 1
	String  Type = 2
	Int     Type = 3 // 32 bits
	Short   Type = 4 // 16 bits
	Long    Type = 5 // 64 bits
	Double  Type = 6
	List    Type = 7 // separated by commas
	Class   Type = 8 // the name of a Java class
)

// String gives Kafka's name of the type.
func (t Type) String() string {
	names := map[Type]string{Boolean: "boolean", String: "string", Int: "int", Short: "short", Long: "long",
		Double: "double", List: "list", Class: "class"}
	return names[t]
}

// Scope says on which kind of resource a key is set.
type Scope uint8

// The scopes. A key of a topic or a group that has a default for the whole broker has two rows in the table: its own
// names the broker's as a synonym.
const (
	BrokerScope Scope = iota // set for the whole broker: file, environment, --set
	TopicScope               // set for one topic, when it is created or later
	GroupScope               // set for one group, which need not exist
)

// String is the scope as the documentation and Kafka's messages print it.
func (s Scope) String() string {
	return [...]string{BrokerScope: "broker", TopicScope: "topic", GroupScope: "group"}[s]
}

// title is String at the beginning of a sentence.
func (s Scope) title() string {
	name := s.String()
	return strings.ToUpper(name[:1]) + name[1:]
}

// Key is one row of the table.
type Key struct {
	Name     string
	Type     Type
	Default  string   // in text; meaningless when Unset
	Unset    bool     // the default is null: "not set"
	Valid    Valid    // what values are allowed beyond the type; nil: every value of the type
	Scope    Scope    // on which kind of resource it is set
	Synonyms []string // topic and group keys: the broker keys that give the default, the strongest first
	Dynamic  bool     // it changes at run time: DescribeConfigs does not call it read-only
	// AtRunTime says that it is set at run time alone: it is no key of the file, and described only where it is set.
	AtRunTime bool
	Doc       string // one sentence
}

// Valid is a rule on one value. Refuse is given the parsed value (bool, int64, float64, string or []string) and says,
// in Kafka's words where Kafka has the rule, what is allowed when the value is not; it is empty for a value that is.
// String is the rule for the documentation.
type Valid interface {
	Refuse(value any) string
	String() string
}

// atLeast allows numbers from a minimum.
type atLeast int64

// Refuse implements Valid.
func (m atLeast) Refuse(value any) string {
	if number(value) < float64(m) {
		return fmt.Sprintf("Value must be at least %d", int64(m))
	}
	return ""
}

// String implements Valid.
func (m atLeast) String() string { return "≥ " + strconv.FormatInt(int64(m), 10) }

// between allows numbers of a closed range.
type between struct{ min, max int64 }

// Refuse implements Valid.
func (r between) Refuse(value any) string {
	if number(value) > float64(r.max) {
		return fmt.Sprintf("Value must be no more than %d", r.max)
	}
	return atLeast(r.min).Refuse(value)
}

// String implements Valid.
func (r between) String() string { return fmt.Sprintf("%d to %d", r.min, r.max) }

// betweenOr allows numbers of a closed range, and one more.
type betweenOr struct{ min, max, only int64 }

// Refuse implements Valid.
func (r betweenOr) Refuse(value any) string {
	n := number(value)
	if n == float64(r.only) || n >= float64(r.min) && n <= float64(r.max) {
		return ""
	}
	return fmt.Sprintf("Value must be between %d and %d or equal to %d", r.min, r.max, r.only)
}

// String implements Valid.
func (r betweenOr) String() string { return fmt.Sprintf("%d to %d, or %d", r.min, r.max, r.only) }

// retentionTime allows a time that is not zero, which would delete everything at once, and -1 for no limit. Kafka takes
// other negative numbers for -1.
type retentionTime struct{}

// Refuse implements Valid.
func (retentionTime) Refuse(value any) string {
	if number(value) == 0 {
		return "Value must be unlimited (-1) or at least 1"
	}
	return ""
}

// String implements Valid.
func (retentionTime) String() string { return "≥ 1, or -1" }

// oneOf allows the listed strings; of a list value each element must be among them.
type oneOf []string

// Refuse implements Valid.
func (o oneOf) Refuse(value any) string {
	if _, refused := o.refused(value); refused {
		return "String must be one of: " + strings.Join(o, ", ")
	}
	return ""
}

// refused is the first string that is not among the listed ones.
func (o oneOf) refused(value any) (string, bool) {
	elements, isList := value.([]string)
	if !isList {
		elements = []string{value.(string)}
	}
	i := slices.IndexFunc(elements, func(element string) bool { return !slices.Contains(o, element) })
	if i < 0 {
		return "", false
	}
	return elements[i], true
}

// String implements Valid.
func (o oneOf) String() string { return strings.Join(o, ", ") }

// oneOfFold is oneOf for words in upper or lower case.
type oneOfFold []string

// Refuse implements Valid.
func (o oneOfFold) Refuse(value any) string {
	fold := func(word string) bool { return strings.EqualFold(word, value.(string)) }
	if slices.ContainsFunc(o, fold) {
		return ""
	}
	return "String must be one of (case insensitive): " + strings.ToUpper(strings.Join(o, ", "))
}

// String implements Valid.
func (o oneOfFold) String() string { return strings.Join(o, ", ") }

// assignors allows the assignors that are built in, at least one. Kafka takes names of Java classes too.
type assignors struct{}

// Refuse implements Valid.
func (assignors) Refuse(value any) string {
	if len(value.([]string)) == 0 {
		return "Value must name at least one of uniform, range"
	}
	return oneOf{"uniform", "range"}.Refuse(value)
}

// String implements Valid.
func (assignors) String() string { return "uniform, range" }

// rebalanceProtocols allows what Kafka does of the protocols that are served, and streams, which changes nothing yet:
// it stands in Kafka's default.
type rebalanceProtocols struct{}

// Refuse implements Valid.
func (rebalanceProtocols) Refuse(value any) string {
	if reason := (oneOf{"classic", "consumer", "streams"}).Refuse(value); reason != "" {
		return reason
	}
	if !slices.Contains(value.([]string), "classic") {
		return "Value must contain classic"
	}
	return ""
}

// String implements Valid.
func (rebalanceProtocols) String() string { return "classic, consumer, streams; with classic" }

// codecs allows the ids of the compression codecs.
type codecs struct{}

// Refuse implements Valid.
func (codecs) Refuse(value any) string {
	if id := value.(int64); id < 0 || id >= int64(len(codecNames)) {
		return "Unknown compression type id: " + strconv.FormatInt(id, 10)
	}
	return ""
}

// String implements Valid.
func (codecs) String() string { return "0 to 4" }

// throttledReplicas allows * alone, or pairs of a partition and a broker, as the value of the key of that name.
type throttledReplicas string

// Refuse implements Valid.
func (name throttledReplicas) Refuse(value any) string {
	list := value.([]string)
	if len(list) == 1 && list[0] == "*" {
		return ""
	}
	for _, replica := range list {
		partition, broker, ok := strings.Cut(replica, ":")
		if !ok || !isDigits(partition) || !isDigits(broker) {
			return string(name) + " must be the literal '*' or a list of replicas in the following format: " +
				"[partitionId]:[brokerId],[partitionId]:[brokerId],..."
		}
	}
	return ""
}

// String implements Valid.
func (throttledReplicas) String() string { return "*, or partition:broker" }

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// hostPort allows host:port, or nothing.
type hostPort struct{}

// Refuse implements Valid.
func (hostPort) Refuse(value any) string {
	if text := value.(string); text != "" && !isHostPort(text) {
		return "Value must be host:port"
	}
	return ""
}

// String implements Valid.
func (hostPort) String() string { return "host:port, or empty" }

// refused allows only the empty value: the key is known, and running as if it were not set would be unsafe.
type refused string

// Refuse implements Valid.
func (r refused) Refuse(value any) string {
	if value.(string) != "" {
		return string(r) + "; leave it unset"
	}
	return ""
}

// String implements Valid.
func (r refused) String() string { return "must be unset" }

// number is a parsed numeric value for comparing with limits.
func number(value any) float64 {
	switch n := value.(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return math.NaN()
}
