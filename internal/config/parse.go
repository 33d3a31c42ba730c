package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Error is a value that a key does not allow.
type Error struct {
	Key    string
	Value  string
	Reason string // what is allowed
}

// Error is one line in the form of Kafka's ConfigException.
func (e *Error) Error() string {
	return fmt.Sprintf("invalid value %q for configuration %s: %s", e.Value, e.Key, e.Reason)
}

// parse reads text as a value of the key: a bool, int64, float64, string or []string.
func (k *Key) parse(text string) (any, error) {
	value, err := parseType(k.Type, strings.TrimSpace(text))
	if err == nil && k.Valid != nil {
		err = k.Valid.Check(value)
	}
	if err != nil {
		return nil, &Error{Key: k.Name, Value: text, Reason: err.Error()}
	}
	return value, nil
}

// parseType reads trimmed text as a value of a type, by the rules of Kafka's ConfigDef.
func parseType(t Type, text string) (any, error) {
	switch t {
	case Boolean:
		switch strings.ToLower(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
		return nil, errors.New("must be true or false")
	case Int:
		return parseInteger(text, 32)
	case Short:
		return parseInteger(text, 16)
	case Long:
		return parseInteger(text, 64)
	case Double:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) {
			return nil, errors.New("must be a number")
		}
		return f, nil
	case List:
		return splitList(text), nil
	}
	return text, nil
}

// parseInteger reads a decimal number that fits in bits.
func parseInteger(text string, bits int) (any, error) {
	n, err := strconv.ParseInt(text, 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		limit := int64(math.MaxInt64) >> (64 - bits)
		return nil, fmt.Errorf("must be from %d to %d", -limit-1, limit)
	}
	if err != nil {
		return nil, errors.New("must be a whole number")
	}
	return n, nil
}

// splitList splits at commas and trims; empty text is the empty list.
func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return []string{}
	}
	elements := strings.Split(text, ",")
	for i := range elements {
		elements[i] = strings.TrimSpace(elements[i])
	}
	return elements
}

// format is the text of a parsed value, as DescribeConfigs shows it.
func format(value any) string {
	switch v := value.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []string:
		return strings.Join(v, ",")
	case string:
		return v
	}
	return ""
}

// Forever is what times of "no limit" become: the longest Duration, 292 years.
const Forever = time.Duration(math.MaxInt64)

// milliseconds is ms as a Duration; what does not fit becomes Forever.
func milliseconds(ms int64) time.Duration {
	if ms > int64(Forever/time.Millisecond) {
		return Forever
	}
	return time.Duration(ms) * time.Millisecond
}

// cleanupPolicies allows delete and the empty list. Compaction is not served: keeping everything under that name would
// break the consumers that count on it.
type cleanupPolicies struct{}

// Check implements Valid.
func (cleanupPolicies) Check(value any) error {
	for _, policy := range value.([]string) {
		switch policy {
		case "delete":
		case "compact":
			return errors.New("compaction is not served yet; use delete, or leave it empty to keep everything")
		default:
			return errors.New("must be delete, or empty to keep everything")
		}
	}
	return nil
}

// String implements Valid.
func (cleanupPolicies) String() string { return "delete, or empty" }

// hostPort allows host:port, or nothing.
type hostPort struct{}

// Check implements Valid.
func (hostPort) Check(value any) error {
	text := value.(string)
	if text == "" {
		return nil
	}
	if checkAddress(text) != nil {
		return errors.New("must be host:port")
	}
	return nil
}

// String implements Valid.
func (hostPort) String() string { return "host:port, or empty" }

// convert turns the value of a broker key into the unit of its topic key: hours and minutes become milliseconds, and a
// negative number, which means no limit, stays.
func convert(name string, value any) any {
	n, ok := value.(int64)
	if !ok || n < 0 {
		return value
	}
	switch {
	case strings.HasSuffix(name, ".hours"):
		return n * time.Hour.Milliseconds()
	case strings.HasSuffix(name, ".minutes"):
		return n * time.Minute.Milliseconds()
	}
	return value
}
