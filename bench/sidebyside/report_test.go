package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: the table says what was measured, and "no" where a goal was missed.
func TestReport(t *testing.T) {
	brokers := []broker{{name: "ours", durability: "d1"}, {name: "theirs", durability: "d2"}}
	all := []results{{}, {}}
	for _, v := range []float64{3, 1, 2} {
		all[0].add(rowProduceLarge, v)
		all[1].add(rowProduceLarge, 10*v)
		all[0].add(rowFetch, v)
		all[1].add(rowFetch, v)
		all[0].add(rowStartup, 100*v)
		all[1].add(rowStartup, 1000*v)
	}
	path := filepath.Join(t.TempDir(), "page.md")
	if err := writeReport(path, 3, 1, 1, 5, brokers, all); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| " + rowProduceLarge + " | 2.00 (1.00–3.00) | 20.0 (10.0–30.0) | 0.10 | ratio ≤ 0.5 | yes |",
		"| " + rowFetch + " | 2.00 (1.00–3.00) | 2.00 (1.00–3.00) | 1.00 | ratio ≤ 0.7 | no |",
		"| " + rowStartup + " | 200 (100–300) | 2000 (1000–3000) | 0.10 | value ≤ 100 | no |",
		"ours: d1; theirs: d2.",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}
