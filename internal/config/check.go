package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"spate/internal/invariant"
)

// checkTogether checks what one key alone cannot tell.
func (c *Config) checkTogether() error {
	if err := c.unifyIDs(); err != nil {
		return err
	}
	if roles := c.List("process.roles"); len(roles) != 2 {
		return &Error{"process.roles", strings.Join(roles, ","),
			"Value must be broker,controller: a node of one role needs other nodes, which is not served yet"}
	}
	if len(c.LogDirs()) == 0 {
		return &Error{"log.dirs", "", "Value must name at least one directory"}
	}
	if _, err := parsePerIP(c.String("max.connections.per.ip.overrides")); err != nil {
		return err
	}
	if memory := c.Int64("log.cleaner.dedupe.buffer.size"); memory/c.Int64("log.cleaner.threads") <= cleanerBytesMin {
		return &Error{"log.cleaner.dedupe.buffer.size", strconv.FormatInt(memory, 10),
			"log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread"}
	}
	if err := c.checkGroups(); err != nil {
		return err
	}
	return c.checkQuorum()
}

// cleanerBytesMin is the memory that a thread of the cleaner has to have more of, as in Kafka.
const cleanerBytesMin = 1 << 20

// unifyIDs makes node.id and broker.id the same, whichever is set.
func (c *Config) unifyIDs() error {
	node, older := c.settings["node.id"], c.settings["broker.id"]
	switch {
	case node.set && older.set && node.value != older.value:
		return &Error{"broker.id", older.text, "Value must equal node.id, " + node.text}
	case older.set && !node.set:
		if reason := Lookup(BrokerScope, "node.id").Valid.Refuse(older.value); reason != "" {
			return &Error{"broker.id", older.text, reason}
		}
		c.settings["node.id"] = older
	case node.set:
		c.settings["broker.id"] = node
	}
	return nil
}

// PerIPOverrides is max.connections.per.ip.overrides by address.
func (c *Config) PerIPOverrides() map[netip.Addr]int {
	overrides, err := parsePerIP(c.String("max.connections.per.ip.overrides"))
	invariant.Check(err == nil, "max.connections.per.ip.overrides was checked by Load: %v", err)
	return overrides
}

// parsePerIP reads address:count pairs; the count follows the last colon, so that IPv6 addresses work.
func parsePerIP(text string) (map[netip.Addr]int, error) {
	overrides := make(map[netip.Addr]int)
	for _, pair := range splitList(text) {
		colon := strings.LastIndexByte(pair, ':')
		if colon < 0 {
			return nil, &Error{"max.connections.per.ip.overrides", pair, "Value must be address:count"}
		}
		address, errAddress := netip.ParseAddr(strings.Trim(pair[:colon], "[] "))
		count, errCount := strconv.ParseInt(strings.TrimSpace(pair[colon+1:]), 10, 32)
		if errAddress != nil || errCount != nil || count < 0 {
			return nil, &Error{"max.connections.per.ip.overrides", pair,
				"Value must be address:count, with an IP address"}
		}
		overrides[address.Unmap()] = int(count)
	}
	return overrides, nil
}

// checkQuorum refuses a quorum that is not this node alone.
func (c *Config) checkQuorum() error {
	voters := c.List("controller.quorum.voters")
	if len(voters) > 1 {
		return &Error{"controller.quorum.voters", strings.Join(voters, ","),
			"Value must be one voter, this node: several controllers are not served yet"}
	}
	for _, voter := range voters {
		id, address, ok := strings.Cut(voter, "@")
		if n, err := strconv.ParseInt(id, 10, 32); !ok || err != nil || !isHostPort(address) {
			return &Error{"controller.quorum.voters", voter, "Value must be id@host:port"}
		} else if int32(n) != c.NodeID() {
			return &Error{"controller.quorum.voters", voter, fmt.Sprintf("Value must name this node, %d", c.NodeID())}
		}
	}
	servers := c.List("controller.quorum.bootstrap.servers")
	if len(servers) > 1 {
		return &Error{"controller.quorum.bootstrap.servers", strings.Join(servers, ","),
			"Value must be one address, of this node: several controllers are not served yet"}
	}
	for _, server := range servers {
		if !isHostPort(server) {
			return &Error{"controller.quorum.bootstrap.servers", server, "Value must be host:port"}
		}
	}
	return nil
}

// isHostPort reports whether text has the form host:port.
func isHostPort(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return err == nil
}
