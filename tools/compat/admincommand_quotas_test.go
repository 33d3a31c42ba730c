package compat

import (
	"regexp"
	"slices"
	"strings"
)

// quotaMasks put what the tool prints in the order of hash maps into one that is always the same.
var quotaMasks = append([]mask{
	{what: regexp.MustCompile(`(?m) are .*=.*$`), change: sortedQuotas},
	{what: regexp.MustCompile(`(?m)(^Quota configs for .*\n)+`), change: sortedLines},
}, adminMasks...)

func sortedQuotas(text string) string {
	list := strings.Split(strings.TrimPrefix(text, " are "), ", ")
	slices.Sort(list)
	return " are " + strings.Join(list, ", ")
}

// quotasScript is about the quotas of users, client ids and addresses. To describe a user by name is left out: the tool
// then asks for SCRAM credentials too, which are not served (docs/protocol.md).
func quotasScript(s *script) {
	s.masks = quotaMasks
	for _, line := range []string{
		"--entity-type users --entity-name ann --alter --add-config producer_byte_rate=1024,consumer_byte_rate=2048",
		"--entity-type clients --entity-name app --alter --add-config request_percentage=150.5",
		"--entity-type users --entity-name ann --entity-type clients --entity-name app --alter " +
			"--add-config controller_mutation_rate=3",
		"--entity-type users --entity-default --alter --add-config producer_byte_rate=100000000",
		"--entity-type clients --entity-default --alter --add-config consumer_byte_rate=100000000",
		"--entity-type users --entity-default --entity-type clients --entity-default --alter " +
			"--add-config consumer_byte_rate=200000000",
		"--entity-type users --entity-name ann --entity-type clients --entity-default --alter " +
			"--add-config consumer_byte_rate=300000000",
		"--entity-type ips --entity-name 10.0.0.1 --alter --add-config connection_creation_rate=7",
		"--entity-type ips --entity-default --alter --add-config connection_creation_rate=700",
	} {
		s.line(configCommand, line)
	}
	for _, line := range []string{
		"--entity-type users --entity-default",
		"--entity-type clients", "--entity-type clients --entity-name app", "--entity-type clients --entity-default",
		"--entity-type clients --entity-name nobody",
		"--entity-type users --entity-type clients",
		"--entity-type users --entity-name ann --entity-type clients",
		"--entity-type users --entity-name ann --entity-type clients --entity-name app",
		"--entity-type users --entity-default --entity-type clients --entity-default",
		"--entity-type ips", "--entity-type ips --entity-name 10.0.0.1", "--entity-type ips --entity-default",
	} {
		s.line(configCommand, line+" --describe")
	}
	for _, line := range []string{
		"--entity-type users --entity-name ann --alter --add-config producer_byte_rate=0",
		"--entity-type users --entity-name ann --alter --add-config nonsense=1",
		"--entity-type users --entity-name ann --alter --delete-config nonsense",
		"--entity-type users --entity-name ann --alter --delete-config producer_byte_rate",
		"--entity-type clients --entity-name app --alter --add-config connection_creation_rate=1",
		"--entity-type ips --entity-name 10.0.0.1 --alter --delete-config connection_creation_rate",
		"--entity-type ips --entity-default --alter --delete-config connection_creation_rate",
		"--entity-type ips --describe",
		"--entity-type users --entity-default --alter --delete-config producer_byte_rate",
		"--entity-type clients --entity-default --alter --delete-config consumer_byte_rate",
		"--entity-type clients --entity-name app --alter --delete-config request_percentage",
	} {
		s.line(configCommand, line)
	}
}
