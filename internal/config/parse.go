package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Error is a value that a key does not allow.
type Error struct {
	Key    string
	Value  string
	Reason string // what is allowed
}

// Error is one line in the words of Kafka's ConfigException.
func (e *Error) Error() string {
	switch {
	case e.Reason == emptyItem:
		return fmt.Sprintf("Configuration '%s' values must not be empty.", e.Key)
	case strings.HasPrefix(e.Reason, conflict):
		return e.Reason
	}
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", printable(e.Value), e.Key, e.Reason)
}

// emptyItem is the Reason of a list with an item of no characters, for which Kafka has words of its own.
const emptyItem = "Values must not be empty"

// conflict begins the Reason of a value that another one forbids: Kafka says no more than that.
const conflict = "conflict "

// printable is a value as it can stand in a line, whatever it holds.
func printable(value string) string {
	if strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(value)
	}
	return value
}

// parse reads text as a value of the key: a bool, int64, float64, string or []string.
func (k *Key) parse(text string) (any, error) {
	value, reason := parseType(k.Type, strings.TrimSpace(text))
	if reason == "" && k.Valid != nil {
		reason = k.Valid.Refuse(value)
		switch valid := k.Valid.(type) { // where Kafka does not tell the value as it came
		case throttledReplicas:
			text = fmt.Sprintf("[%s]", strings.Join(value.([]string), ", "))
		case oneOf:
			if refused, is := valid.refused(value); is {
				text = refused
			}
		}
	}
	if reason != "" {
		return nil, &Error{Key: k.Name, Value: text, Reason: reason}
	}
	return value, nil
}

// parseType reads trimmed text as a value of a type, by the rules and in the words of Kafka's ConfigDef. The reason is
// empty where that works.
func parseType(t Type, text string) (value any, reason string) {
	var err error
	switch t {
	case Boolean:
		switch strings.ToLower(text) {
		case "true":
			return true, ""
		case "false":
			return false, ""
		}
		return nil, "Expected value to be either true or false"
	case Int:
		value, err = strconv.ParseInt(text, 10, 32)
	case Short:
		value, err = strconv.ParseInt(text, 10, 16)
	case Long:
		value, err = strconv.ParseInt(text, 10, 64)
	case Double:
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
			return nil, "Not a number of type DOUBLE"
		}
		return number, ""
	case List:
		list := splitList(text)
		if slices.Contains(list, "") {
			return nil, emptyItem
		}
		return list, ""
	default:
		return text, ""
	}
	if err != nil {
		return nil, "Not a number of type " + strings.ToUpper(t.String())
	}
	return value, ""
}

// splitList splits at commas, trims, and leaves out what was there before, as Kafka does; empty text is the empty list.
func splitList(text string) []string {
	elements := []string{}
	if strings.TrimSpace(text) == "" {
		return elements
	}
	for element := range strings.SplitSeq(text, ",") {
		if element = strings.TrimSpace(element); !slices.Contains(elements, element) {
			elements = append(elements, element)
		}
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
		return formatDouble(v)
	case []string:
		return strings.Join(v, ",")
	case string:
		return v
	}
	return ""
}

// formatDouble is the text of a number as Java prints it: plain from a thousandth to ten million, with an exponent
// elsewhere, and always with a digit behind the point.
func formatDouble(v float64) string {
	if size := math.Abs(v); v == 0 || size >= 1e-3 && size < 1e7 {
		text := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	sign := ""
	if exponent[0] == '-' {
		sign = "-"
	}
	return mantissa + "E" + sign + strings.TrimLeft(exponent[1:], "0")
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

// convert turns the value of a broker key into that of its topic key: hours and minutes become milliseconds, and every
// negative time, which means no limit, becomes -1.
func convert(name string, value any) any {
	n, ok := value.(int64)
	switch {
	case !ok:
		return value
	case n < 0 && strings.HasPrefix(name, "log.retention.") && name != "log.retention.bytes":
		return int64(-1)
	case strings.HasSuffix(name, ".hours"):
		return n * time.Hour.Milliseconds()
	case strings.HasSuffix(name, ".minutes"):
		return n * time.Minute.Milliseconds()
	}
	return value
}
