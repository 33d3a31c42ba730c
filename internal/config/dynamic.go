package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dynamic is what was set at run time and lives in the metadata log, by key: for all brokers, and for one broker, which
// wins.
type Dynamic struct {
	Cluster map[string]string
	Broker  map[string]string
}

// With is the configuration as it was started, with what was set at run time over it. As in Kafka a value that is not
// allowed, because another build or another file wrote it, is left out and told as a warning; so is a key that nobody
// knows or that does not change at run time.
func (c *Config) With(d Dynamic) (*Config, []Warning) {
	next, warnings := c.over(d)
	if err := next.checkLive(); err != nil { // together they are not allowed: as if nothing had been set
		next.settings = next.base.settings
		warnings = append(warnings, Warning{"broker", "what is set at run time is ignored: " + err.Error()})
	}
	return next, warnings
}

// over is With before anything is looked at together.
func (c *Config) over(d Dynamic) (*Config, []Warning) {
	base := c.static()
	next := &Config{settings: maps.Clone(base.settings), listeners: base.listeners, base: base, dynamic: d}
	var warnings []Warning
	for _, layer := range []map[string]string{d.Cluster, d.Broker} {
		for _, name := range slices.Sorted(maps.Keys(layer)) {
			if err := next.override(name, layer[name]); err != nil {
				warnings = append(warnings, Warning{name, "set at run time and ignored: " + err.Error()})
			}
		}
	}
	return next, warnings
}

// static is the configuration as it was started.
func (c *Config) static() *Config {
	if c.base != nil {
		return c.base
	}
	return c
}

// override puts a value that was set at run time in force. The relatives of the key go back to their defaults, as in
// Kafka: what is set at run time wins over a stronger relative in the file.
func (c *Config) override(name, text string) error {
	k := Lookup(BrokerScope, name)
	if k == nil {
		return nil // a key of a plugin, for all that anybody knows
	}
	if !k.Dynamic {
		return fmt.Errorf("it does not change at run time")
	}
	value, err := k.parseLive(text)
	if err != nil {
		return err
	}
	for _, relative := range relatives(name) {
		if relative != name {
			c.settings[relative] = Lookup(BrokerScope, relative).initial()
		}
	}
	c.settings[name] = setting{text: strings.TrimSpace(text), value: value, set: true}
	return nil
}

// parseLive is parse in the words in which Kafka refuses a value at run time.
func (k *Key) parseLive(text string) (any, error) {
	value, err := k.parse(text)
	if err != nil {
		if typed, reason := parseType(k.Type, strings.TrimSpace(text)); reason == "" {
			switch k.Name {
			case "max.connections":
				return nil, invalidChange(fmt.Sprintf("Invalid max.connections %d", typed))
			case "log.retention.ms":
				return nil, fmt.Errorf(
					"requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
			}
		}
		return nil, err
	}
	if k.Name == "max.connections.per.ip.overrides" {
		_, err = parsePerIP(text)
	}
	return value, err
}

// invalidChange is how Kafka tells why the change of a value is refused, rather than the value.
func invalidChange(reason string) error {
	return said("Invalid value org.apache.kafka.common.config.ConfigException: " + reason +
		" for configuration Invalid dynamic configuration")
}

// ValidateDynamic checks what is to be set at run time: on one broker, or for all of them. The rest of d is as it is
// now, and c is what is in force now: what is so already is not looked at again, so that a value which has come to be
// forbidden does not stand in the way of others. The error is in Kafka's words.
func (c *Config) ValidateDynamic(d Dynamic, onBroker bool) error {
	set, before := d.Cluster, c.dynamic.Cluster
	if onBroker {
		set, before = d.Broker, c.dynamic.Broker
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(set)), func(name string) bool {
		text, isSet := before[name]
		return isSet && text == set[name]
	})
	var fixed []string
	for _, name := range names {
		if k := Lookup(BrokerScope, name); k != nil && !k.Dynamic || k == nil && kafkaKnows(name) {
			fixed = append(fixed, name)
		}
	}
	if len(fixed) > 0 {
		return said("Cannot update these configs dynamically: [" + strings.Join(fixed, ", ") + "]")
	}
	for _, name := range names {
		if k := Lookup(BrokerScope, name); k != nil {
			if _, err := k.parseLive(set[name]); err != nil {
				return err
			}
		}
	}
	next, _ := c.over(d)
	if err := next.checkLive(); err != nil {
		return err
	}
	return c.checkThreads(next)
}

// checkLive checks what one key alone cannot tell, of those that change at run time.
func (c *Config) checkLive() error {
	if c.Int64("log.cleaner.dedupe.buffer.size")/c.Int64("log.cleaner.threads") <= cleanerBytesMin {
		return said("requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.")
	}
	return c.checkGroups()
}

// threadKeys are the pools that may shrink or grow by a factor of two at a time, as in Kafka.
var threadKeys = []string{"num.io.threads", "num.recovery.threads.per.data.dir"}

// checkThreads checks the step from the sizes of the pools in force to those of next.
func (c *Config) checkThreads(next *Config) error {
	switch old, n := c.Int("log.cleaner.threads"), next.Int("log.cleaner.threads"); {
	case n < old/2:
		return invalidChange(fmt.Sprintf(
			"Log cleaner threads cannot be reduced to less than half the current value %d", old))
	case n > old*2:
		return invalidChange(fmt.Sprintf(
			"Log cleaner threads cannot be increased to more than double the current value %d", old))
	}
	for _, name := range threadKeys {
		old, n := c.Int(name), next.Int(name)
		reason := ""
		switch {
		case n < old/2:
			reason = "value should be at least half the current value"
		case n > old*2:
			reason = "value should not be greater than double the current value"
		default:
			continue
		}
		return invalidChange(fmt.Sprintf(
			"Dynamic thread count update validation failed for %s=%d, %s %d", name, n, reason, old))
	}
	return nil
}
