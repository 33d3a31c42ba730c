// Package spelling guesses which of the known words was meant by one that is not known. It is pure.
//
//tidy:pure
package spelling

// wordBytesMax bounds the work on words from outside; the longest of Kafka's keys has 62 bytes.
const wordBytesMax = 128

// Nearest is the known word that is the fewest edits away from another, the first of several, or empty when it takes
// more than editsMax to any of them. An edit changes, adds or leaves out a byte.
func Nearest(word string, known []string, editsMax int) string {
	if len(word) > wordBytesMax {
		return ""
	}
	best, bestEdits := "", editsMax+1
	for _, k := range known {
		if edits := distance(word, k); edits < bestEdits {
			best, bestEdits = k, edits
		}
	}
	return best
}

// distance is the Levenshtein distance of two words.
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
