package config

import "fmt"

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
	best, bestEdits := "", len(name)/3+1
	if len(name) > nameBytesMax {
		return ""
	}
	for i := range Keys {
		k := &Keys[i]
		if k.Scope != BrokerScope {
			continue
		}
		if edits := distance(name, k.Name); edits < bestEdits {
			best, bestEdits = k.Name, edits
		}
	}
	return best
}

// nameBytesMax bounds the work on names from outside; the longest of Kafka's keys has 62 bytes.
const nameBytesMax = 128

// distance is the Levenshtein distance of two strings, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
