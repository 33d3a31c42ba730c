package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Goal: the tables say what was measured, "no" where a goal was missed, and nothing of what was not measured.
func TestReport(t *testing.T) {
	brokers := []broker{{name: "ours", durability: "d1"}, {name: "theirs", durability: "d2"}}
	all := []results{{}, {}}
	for _, v := range []float64{3, 1, 2} {
		all[0].add(rowProduceLarge, v)
		all[1].add(rowProduceLarge, 10*v)
		all[0].add(rowFetch, v)
		all[1].add(rowFetch, v)
		all[0].add(rowStartup, 100*v)
		all[1].add(rowStartup, 10_000*v)
		all[0].add(rowIdle, v)
		all[1].add(rowIdle, 10*v)
		all[0].add(rowDurableRate, 100*v)
		all[1].add(rowDurableRate, 10*v)
	}
	path := filepath.Join(t.TempDir(), "page.md")
	err := writeReport(options{rounds: 3, long: 1, scale: 1, recoverGB: 5, out: path}, []table{
		{"one", order, brokers, all}, {"two", durableOrder, brokers, all},
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| " + rowProduceLarge + " | 2.00 (1.00–3.00) | 20.0 (10.0–30.0) | 0.10 | ratio ≤ 0.38 | yes |",
		"| " + rowFetch + " | 2.00 (1.00–3.00) | 2.00 (1.00–3.00) | 1.00 | ratio ≤ 0.55 | no |",
		"| " + rowStartup + " | 200 (100–300) | 20000 (10000–30000) | 0.010 | ratio ≤ 0.015 | yes |",
		"| " + rowIdle + " | 2.00 (1.00–3.00) | 20.0 (10.0–30.0) | 0.10 | value ≤ 0.5 | no |",
		"| " + rowDurableRate + " | 200 (100–300) | 20.0 (10.0–30.0) | 10.00 | ratio ≥ 10 | yes |",
		"| " + rowFirst + " | – | – | – | ratio ≤ 0.1 |  |",
		"## two\n\nDurability: ours: d1; theirs: d2.",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

// TestLoads looks at what would end a run after half an hour: keys that a workload does not have, and rows that no
// table shows.
func TestLoads(t *testing.T) {
	rows := slices.Concat(order, durableOrder, limitOrder())
	for _, scale := range []float64{0.001, 1} {
		for _, l := range slices.Concat([]load{endToEnd(scale)}, furtherLoads(scale), durableLoads(scale)) {
			if _, err := l.workload(); err != nil {
				t.Errorf("%s at scale %g: %v", l.name, scale, err)
			}
			for row := range l.figures {
				if !slices.Contains(rows, row) {
					t.Errorf("%s: no table has %q", l.name, row)
				}
			}
		}
	}
	for row := range goals {
		if !slices.Contains(rows, row) {
			t.Errorf("a goal of %q, which no table has", row)
		}
	}
}
