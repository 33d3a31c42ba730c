package config

import (
	"fmt"
	"math"
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

// The scopes. A key that exists on both has two rows in the table: the topic's row names the broker's as a synonym.
const (
	BrokerScope Scope = iota // set for the whole broker: file, environment, --set
	TopicScope               // set for one topic, when it is created
)

// String is the scope as the documentation prints it.
func (s Scope) String() string {
	if s == TopicScope {
		return "topic"
	}
	return "broker"
}

// Key is one row of the table.
type Key struct {
	Name     string
	Type     Type
	Default  string   // in text; meaningless when Unset
	Unset    bool     // the default is null: "not set"
	Valid    Valid    // what values are allowed beyond the type; nil: every value of the type
	Scope    Scope    // on which kind of resource it is set
	Synonyms []string // topic keys: the broker keys that give the default, the strongest first
	Dynamic  bool     // Kafka lets it change at run time: DescribeConfigs does not call it read-only
	Doc      string   // one sentence
}

// Valid is a rule on one value. Check is given the parsed value (bool, int64, float64, string or []string) and says
// what is allowed when the value is not; String is the rule for the documentation.
type Valid interface {
	Check(value any) error
	String() string
}

// atLeast allows numbers from a minimum.
type atLeast int64

// Check implements Valid.
func (m atLeast) Check(value any) error {
	if number(value) < float64(m) {
		return fmt.Errorf("must be at least %d", int64(m))
	}
	return nil
}

// String implements Valid.
func (m atLeast) String() string { return "≥ " + strconv.FormatInt(int64(m), 10) }

// between allows numbers of a closed range.
type between struct{ min, max int64 }

// Check implements Valid.
func (r between) Check(value any) error {
	if n := number(value); n < float64(r.min) || n > float64(r.max) {
		return fmt.Errorf("must be from %d to %d", r.min, r.max)
	}
	return nil
}

// String implements Valid.
func (r between) String() string { return fmt.Sprintf("%d to %d", r.min, r.max) }

// orElse allows one number outside another rule.
type orElse struct {
	only int64
	rule Valid
}

// Check implements Valid.
func (o orElse) Check(value any) error {
	if number(value) == float64(o.only) {
		return nil
	}
	if err := o.rule.Check(value); err != nil {
		return fmt.Errorf("%w, or be %d", err, o.only)
	}
	return nil
}

// String implements Valid.
func (o orElse) String() string { return fmt.Sprintf("%d, or %s", o.only, o.rule) }

// oneOf allows the listed strings; of a list value each element must be among them.
type oneOf []string

// Check implements Valid.
func (o oneOf) Check(value any) error {
	elements, isList := value.([]string)
	if !isList {
		elements = []string{value.(string)}
	}
	for _, element := range elements {
		if !o.has(element) {
			return fmt.Errorf("must be one of: %s", strings.Join(o, ", "))
		}
	}
	return nil
}

// has reports whether text is listed.
func (o oneOf) has(text string) bool {
	for _, s := range o {
		if s == text {
			return true
		}
	}
	return false
}

// String implements Valid.
func (o oneOf) String() string { return strings.Join(o, ", ") }

// refused allows only the empty value: the key is known, and running as if it were not set would be unsafe.
type refused string

// Check implements Valid.
func (r refused) Check(value any) error {
	if value.(string) != "" {
		return fmt.Errorf("%s; leave it unset", string(r))
	}
	return nil
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
