package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// clientMetricsKeys are the keys of a subscription of client metrics (KIP-714), in Kafka's order. They have no defaults
// on the broker, and no rows in the table: the broker stores them for whoever asks, and has no receiver of metrics.
var clientMetricsKeys = []Key{
	{Name: "metrics", Type: List, Default: "", Dynamic: true,
		Doc: "The prefixes of the names of the metrics that clients are asked for; * for all of them."},
	{Name: "interval.ms", Type: Int, Default: "300000", Dynamic: true,
		Doc: "How often clients are asked to push metrics."},
	{Name: "match", Type: List, Default: "", Dynamic: true,
		Doc: "Which clients are asked, as name=pattern; none: all of them."},
}

// matchNames is what a pattern of the key match can be about.
var matchNames = []string{"client_instance_id", "client_id", "client_software_name", "client_software_version",
	"client_source_address", "client_source_port"}

// RequestError is what Kafka refuses as an invalid request rather than an invalid config.
type RequestError struct{ Message string }

// Error is the message, in Kafka's words.
func (e *RequestError) Error() string { return e.Message }

// said is an error in the words of Kafka.
type said string

// Error is what Kafka says.
func (e said) Error() string { return string(e) }

// ValidateClientMetrics checks the configs that a subscription is to have, in the order and the words of Kafka.
func ValidateClientMetrics(subscription string, configs map[string]string) error {
	if subscription == "" {
		return &RequestError{"Subscription name can't be empty"}
	}
	known := func(name string) bool {
		return slices.ContainsFunc(clientMetricsKeys, func(k Key) bool { return k.Name == name })
	}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if !known(name) {
			return &RequestError{"Unknown client metrics configuration: " + name}
		}
	}
	values := make(map[string]any, len(configs))
	for i := range clientMetricsKeys {
		k := &clientMetricsKeys[i]
		text, isSet := configs[k.Name]
		if !isSet {
			continue
		}
		value, err := k.parse(text)
		if err != nil && k.Type == List {
			return said("Configuration '" + k.Name + "' values must not be empty.")
		}
		if err != nil {
			return err
		}
		values[k.Name] = value
	}
	if ms, isSet := values["interval.ms"].(int64); isSet && (ms < 100 || ms > 3_600_000) {
		return &RequestError{fmt.Sprintf(
			"Invalid value %d for interval.ms, interval must be between 100 and 3600000 (1 hour)", ms)}
	}
	patterns, _ := values["match"].([]string)
	for _, pattern := range patterns {
		if !isMatchPattern(pattern) {
			return said("Illegal client matching pattern: " + pattern)
		}
	}
	return nil
}

// isMatchPattern tells whether text is name=pattern.
func isMatchPattern(text string) bool {
	name, pattern, _ := strings.Cut(strings.TrimRight(text, "="), "=")
	if pattern == "" || strings.Contains(pattern, "=") || !slices.Contains(matchNames, strings.TrimSpace(name)) {
		return false
	}
	return isJavaPattern(strings.TrimSpace(pattern))
}

// openBrace is a brace that Java takes for the begin of a repetition, and Go for itself.
var openBrace = regexp.MustCompile(`(^|[^\\pPxN])\{([^0-9]|[0-9]+(,[0-9]*)?([^0-9,}]|$)|$)`)

// isJavaPattern tells whether java.util.regex takes a pattern, as far as Go's syntax tells. What is Java's alone, such
// as looking around, passes unread: nobody here runs these patterns.
func isJavaPattern(pattern string) bool {
	var err *syntax.Error
	_, parsing := syntax.Parse(pattern, syntax.Perl)
	switch {
	case parsing == nil:
		return !openBrace.MatchString(pattern)
	case !errors.As(parsing, &err):
		return false
	case err.Code == syntax.ErrInvalidPerlOp, err.Code == syntax.ErrInvalidEscape:
		return true
	}
	return err.Code == syntax.ErrInvalidRepeatOp && strings.HasSuffix(err.Expr, "+") // possessive
}

// ClientMetricsEntries is every key of a subscription that has these validated configs.
func ClientMetricsEntries(configs map[string]string) []Entry {
	var entries []Entry
	for i := range clientMetricsKeys {
		k := &clientMetricsKeys[i]
		value, err := k.parse(configs[k.Name])
		if _, isSet := configs[k.Name]; !isSet || err != nil {
			entries = append(entries, k.entry(k.initial().value, nil))
			continue
		}
		text := format(value)
		entries = append(entries, k.entry(value, []Synonym{{k.Name, &text, ClientMetrics}}))
	}
	return entries
}
