package config

import (
	"fmt"

	"spate/internal/spelling"
)

// unknownKey says what the operator should know about a broker key that is not in the table.
func unknownKey(name string) string {
	if kafkaKnows(name) {
		return "known to Kafka, not served yet; ignored"
	}
	if near := nearest(name); near != "" {
		return fmt.Sprintf("unknown; ignored. Did you mean %s?", near)
	}
	return "unknown; ignored"
}

// nearest is the broker key that is the fewest edits away from name, or empty when none is close: at most one edit for
// every three letters.
func nearest(name string) string {
	var names []string
	for i := range Keys {
		if Keys[i].Scope == BrokerScope {
			names = append(names, Keys[i].Name)
		}
	}
	return spelling.Nearest(name, names, len(name)/3)
}
