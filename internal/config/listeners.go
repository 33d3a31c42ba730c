package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Listener is one socket that the broker opens, and what clients are told about it.
type Listener struct {
	Name           string // in upper case, as Kafka has it
	Protocol       string // PLAINTEXT
	Host           string // empty: every interface
	Port           uint16 // 0: a free one
	AdvertisedHost string
	AdvertisedPort uint16 // 0: the port that was bound
	InterBroker    bool   // brokers use it among themselves
}

// Address is where to listen, as host:port.
func (l Listener) Address() string { return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port))) }

// endpoint is NAME://host:port.
type endpoint struct {
	name string
	host string
	port uint16
}

// endpointPattern is Kafka's URI_PARSE_REGEXP.
var endpointPattern = regexp.MustCompile(`^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)$`)

// parseEndpoints reads the listeners of a key and checks that no two share a name.
func parseEndpoints(key string, elements []string) ([]endpoint, error) {
	endpoints := make([]endpoint, 0, len(elements))
	for _, element := range elements {
		parts := endpointPattern.FindStringSubmatch(element)
		if parts == nil || parts[1] == "" {
			return nil, &Error{key, element, "Value must be NAME://host:port"}
		}
		port, err := strconv.ParseUint(parts[3], 10, 16)
		if err != nil {
			return nil, &Error{key, element, "The port must be from 0 to 65535"}
		}
		e := endpoint{strings.ToUpper(parts[1]), parts[2], uint16(port)}
		if find(endpoints, e.name) != nil {
			return nil, &Error{key, strings.Join(elements, ","), "Each listener must have a different name"}
		}
		endpoints = append(endpoints, e)
	}
	return endpoints, nil
}

// find is the endpoint of a name, or nil.
func find(endpoints []endpoint, name string) *endpoint {
	for i := range endpoints {
		if endpoints[i].name == name {
			return &endpoints[i]
		}
	}
	return nil
}

// resolveListeners fills c.listeners from the keys about listeners. hostname is advertised where a listener is on
// every interface and advertised.listeners is not set.
func (c *Config) resolveListeners(hostname string) ([]Warning, error) {
	open, err := parseEndpoints("listeners", c.List("listeners"))
	if err != nil {
		return nil, err
	}
	if err := checkPorts(open); err != nil {
		return nil, err
	}
	advertised, err := parseEndpoints("advertised.listeners", c.List("advertised.listeners"))
	if err != nil {
		return nil, err
	}
	protocols, err := parseProtocols(c.String("listener.security.protocol.map"))
	if err != nil {
		return nil, err
	}
	var warnings []Warning
	controllers := upper(c.List("controller.listener.names"))
	for _, e := range open {
		if slices.Contains(controllers, e.name) {
			warnings = append(warnings, Warning{"controller.listener.names",
				"listener " + e.name + " is not opened: the quorum of one node runs inside the process"})
			continue
		}
		l, err := c.listener(e, advertised, protocols, hostname)
		if err != nil {
			return nil, err
		}
		c.listeners = append(c.listeners, l)
	}
	if len(c.listeners) == 0 {
		return nil, &Error{"listeners", strings.Join(c.List("listeners"), ","),
			"Value must hold a listener that is not among controller.listener.names"}
	}
	for _, a := range advertised {
		if find(open, a.name) == nil {
			return nil, &Error{"advertised.listeners", strings.Join(c.List("advertised.listeners"), ","),
				a.name + " is not among listeners"}
		}
	}
	return warnings, c.chooseInterBroker()
}

// listener joins what the keys say about one endpoint.
func (c *Config) listener(
	e endpoint, advertised []endpoint, protocols map[string]string, hostname string,
) (Listener, error) {
	l := Listener{Name: e.name, Protocol: protocols[e.name], Host: e.host, Port: e.port}
	switch l.Protocol {
	case "PLAINTEXT":
	case "":
		return l, &Error{"listeners", strings.Join(c.List("listeners"), ","),
			"No security protocol defined for listener " + e.name}
	default:
		return l, &Error{"listeners", strings.Join(c.List("listeners"), ","),
			fmt.Sprintf("%s has protocol %s, which is not served yet; only PLAINTEXT is", e.name, l.Protocol)}
	}
	if len(advertised) == 0 {
		l.AdvertisedHost, l.AdvertisedPort = e.host, e.port
		if isEveryInterface(e.host) {
			l.AdvertisedHost = hostname
		}
		return l, nil
	}
	a := find(advertised, e.name)
	if a == nil {
		return l, &Error{"advertised.listeners", strings.Join(c.List("advertised.listeners"), ","),
			"Value must name every listener; " + e.name + " is missing"}
	}
	l.AdvertisedHost, l.AdvertisedPort = a.host, a.port
	if isEveryInterface(a.host) {
		return l, &Error{"advertised.listeners", strings.Join(c.List("advertised.listeners"), ","),
			e.name + " must name a host that clients can reach"}
	}
	return l, nil
}

// isEveryInterface reports whether host stands for all of the machine's addresses.
func isEveryInterface(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "" || err == nil && address.IsUnspecified()
}

// checkPorts refuses two listeners on one port, unless one is IPv4 and the other IPv6.
func checkPorts(endpoints []endpoint) error {
	for i, a := range endpoints {
		for _, b := range endpoints[:i] {
			if a.port == b.port && a.port != 0 && !differentFamilies(a.host, b.host) {
				return &Error{"listeners", b.name + ", " + a.name, "Each listener must have a different port"}
			}
		}
	}
	return nil
}

// differentFamilies reports whether one host is an IPv4 and the other an IPv6 address.
func differentFamilies(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Is4() != y.Is4()
}

// parseProtocols reads NAME:PROTOCOL pairs.
func parseProtocols(text string) (map[string]string, error) {
	known := oneOf{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}
	protocols := make(map[string]string)
	for _, pair := range splitList(text) {
		name, protocol, ok := strings.Cut(pair, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || name == "" || !slices.Contains(known, protocol) {
			return nil, &Error{"listener.security.protocol.map", pair, "Value must be NAME:PROTOCOL, of " +
				known.String()}
		}
		protocols[name] = protocol
	}
	return protocols, nil
}

// chooseInterBroker marks the listener that brokers use among themselves: the named one, else the first.
func (c *Config) chooseInterBroker() error {
	name := strings.ToUpper(c.String("inter.broker.listener.name"))
	if name == "" {
		c.listeners[0].InterBroker = true
		return nil
	}
	for i := range c.listeners {
		if c.listeners[i].Name == name {
			c.listeners[i].InterBroker = true
			return nil
		}
	}
	return &Error{"inter.broker.listener.name", name, "Value must be one of listeners, and not one of controllers"}
}

// upper is the elements in upper case.
func upper(elements []string) []string {
	out := make([]string, len(elements))
	for i, e := range elements {
		out[i] = strings.ToUpper(e)
	}
	return out
}
