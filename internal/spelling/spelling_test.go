package spelling

import (
	"strings"
	"testing"
)

// TestNearest: the fewest edits, the first of those that are as near, and none that is too far.
func TestNearest(t *testing.T) {
	known := []string{"rate", "rates", "duration", "date"}
	for _, c := range []struct {
		word     string
		editsMax int
		want     string
	}{
		{"rat", 2, "rate"},
		{"rate", 0, "rate"},
		{"ratess", 2, "rates"},
		{"kate", 1, "rate"},
		{"durtaion", 1, ""},
		{"durtaion", 2, "duration"},
		{"", 3, ""},
		{"", 4, "rate"},
		{"rate" + strings.Repeat("x", 128), 128, ""},
	} {
		if got := Nearest(c.word, known, c.editsMax); got != c.want {
			t.Errorf("%s, at most %d edits: %q, want %q", c.word, c.editsMax, got, c.want)
		}
	}
}

// TestDistance checks the edit distance.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%s, %s: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
