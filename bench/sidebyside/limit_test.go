package main

import (
	"os"
	"path/filepath"
	"testing"

	"spate/internal/proc"
)

// Goal: the part "limit" gives each row of its table, and a goal stands beside it. Method: a few requests of each kind
// to the real broker and to the program in C; every answer is checked as it is in a long run.
func TestLimit(t *testing.T) {
	if os.Getenv("SPATE_BIN") == "" {
		binary := filepath.Join(t.TempDir(), "spate")
		if err := proc.Build(binary); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SPATE_BIN", binary)
	}
	beside := besideLimit()
	if err := measureLimit(beside, 1, 0.001, t.Logf); err != nil {
		t.Fatal(err)
	}
	for n, b := range beside.brokers {
		for _, l := range limitRows {
			want := 1
			if l.fetch && b.name == nameLimitNoSums {
				want = 0
			}
			if got := beside.all[n][l.row]; len(got) != want {
				t.Errorf("%s: %s: %v", b.name, l.row, got)
			}
			if goals[l.row].limit == 0 {
				t.Errorf("%s has no goal", l.row)
			}
		}
	}
}
