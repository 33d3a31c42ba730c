package config

import (
	"time"

	"spate/internal/invariant"
)

// Source says where a value comes from, numbered as DescribeConfigs numbers it.
type Source int8

// The sources that exist here.
const (
	DynamicTopic   Source = 1 // set on the topic
	DynamicBroker  Source = 2 // set on this broker at run time
	DynamicCluster Source = 3 // set for all brokers at run time
	StaticBroker   Source = 4 // set in the file, the environment or by --set
	Default        Source = 5 // not set
	ClientMetrics  Source = 7 // set on the subscription of client metrics
	DynamicGroup   Source = 8 // set on the group
)

// Config is one resolved and checked configuration. It never changes.
type Config struct {
	settings  map[string]setting // by name: every broker key of the table
	listeners []Listener
	base      *Config // as it was started; nil where this is it
	dynamic   Dynamic // what With has put over base
}

// setting is the state of one key.
type setting struct {
	text  string // as it was written, trimmed
	value any    // parsed; nil for null
	set   bool   // by a source or at run time, not by default
}

// Bool is the value of a boolean key.
func (c *Config) Bool(name string) bool { return valueOf[bool](c, name) }

// Int is the value of an int or short key.
func (c *Config) Int(name string) int { return int(valueOf[int64](c, name)) }

// Int64 is the value of an int, short or long key.
func (c *Config) Int64(name string) int64 { return valueOf[int64](c, name) }

// Float is the value of a key of type Double.
func (c *Config) Float(name string) float64 { return valueOf[float64](c, name) }

// String is the value of a string or class key, empty for null.
func (c *Config) String(name string) string { return valueOf[string](c, name) }

// List is the value of a list key, nil for null.
func (c *Config) List(name string) []string { return valueOf[[]string](c, name) }

// Duration is the value of a key that counts milliseconds; what a Duration cannot hold becomes Forever.
func (c *Config) Duration(name string) time.Duration { return milliseconds(valueOf[int64](c, name)) }

// IsSet reports whether a source set the key, rather than its default.
func (c *Config) IsSet(name string) bool {
	s, ok := c.settings[name]
	invariant.Check(ok, "config key %s is not in the table", name)
	return s.set
}

// valueOf is the parsed value of a broker key, or the zero T for null.
func valueOf[T any](c *Config, name string) T {
	var zero T
	s, ok := c.settings[name]
	invariant.Check(ok, "config key %s is not in the table", name)
	if s.value == nil {
		return zero
	}
	value, ok := s.value.(T)
	invariant.Check(ok, "config key %s is not of type %T", name, zero)
	return value
}

// NodeID is the number of this node.
func (c *Config) NodeID() int32 { return int32(c.Int64("node.id")) }

// LogDirs is the data directories, in the order given.
func (c *Config) LogDirs() []string {
	if c.IsSet("log.dirs") {
		return c.List("log.dirs")
	}
	return c.List("log.dir")
}

// MetadataLogDir is the directory that holds the metadata log.
func (c *Config) MetadataLogDir() string {
	if dir := c.String("metadata.log.dir"); dir != "" {
		return dir
	}
	return c.LogDirs()[0]
}

// Listeners is what the broker opens for clients, in the order given: the listeners without those of controllers.
func (c *Config) Listeners() []Listener { return c.listeners }
