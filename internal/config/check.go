package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"spate/internal/invariant"
)

// checkTogether checks what one key alone cannot tell.
func (c *Config) checkTogether() error {
	if c.IsSet("node.id") && c.IsSet("broker.id") && c.Int64("node.id") != c.Int64("broker.id") {
		reason := fmt.Sprintf("must equal node.id (%d)", c.Int64("node.id"))
		return &Error{"broker.id", c.settings["broker.id"].text, reason}
	}
	if c.NodeID() < 0 {
		return &Error{"broker.id", c.settings["broker.id"].text, "must be at least 0"}
	}
	if roles := c.List("process.roles"); !slices.Contains(roles, "broker") || !slices.Contains(roles, "controller") {
		return &Error{"process.roles", strings.Join(roles, ","),
			"must be broker,controller: a node of one role needs other nodes, which is not served yet"}
	}
	if err := c.checkLogDirs(); err != nil {
		return err
	}
	if _, err := parsePerIP(c.String("max.connections.per.ip.overrides")); err != nil {
		return err
	}
	return c.checkQuorum()
}

// checkLogDirs refuses an empty or doubled data directory.
func (c *Config) checkLogDirs() error {
	dirs := c.LogDirs()
	if len(dirs) == 0 || slices.Contains(dirs, "") {
		return &Error{"log.dirs", strings.Join(dirs, ","), "must name at least one directory, and none may be empty"}
	}
	for i, dir := range dirs {
		if slices.Contains(dirs[:i], dir) {
			return &Error{"log.dirs", strings.Join(dirs, ","), "each directory must be named once"}
		}
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
			return nil, &Error{"max.connections.per.ip.overrides", pair, "must be address:count"}
		}
		address, errAddress := netip.ParseAddr(strings.Trim(pair[:colon], "[] "))
		count, errCount := strconv.ParseInt(strings.TrimSpace(pair[colon+1:]), 10, 32)
		if errAddress != nil || errCount != nil || count < 0 {
			return nil, &Error{"max.connections.per.ip.overrides", pair, "must be address:count, with an IP address"}
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
			"must be one voter, this node: several controllers are not served yet"}
	}
	for _, voter := range voters {
		id, address, ok := strings.Cut(voter, "@")
		if n, err := strconv.ParseInt(id, 10, 32); !ok || err != nil || checkAddress(address) != nil {
			return &Error{"controller.quorum.voters", voter, "must be id@host:port"}
		} else if int32(n) != c.NodeID() {
			return &Error{"controller.quorum.voters", voter, fmt.Sprintf("must name this node, %d", c.NodeID())}
		}
	}
	servers := c.List("controller.quorum.bootstrap.servers")
	if len(servers) > 1 {
		return &Error{"controller.quorum.bootstrap.servers", strings.Join(servers, ","),
			"must be one address, of this node: several controllers are not served yet"}
	}
	for _, server := range servers {
		if checkAddress(server) != nil {
			return &Error{"controller.quorum.bootstrap.servers", server, "must be host:port"}
		}
	}
	return nil
}

// checkAddress checks the form host:port.
func checkAddress(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return err
}
