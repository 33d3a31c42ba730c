package main

import "testing"

func TestChoose(t *testing.T) {
	all := []part{{name: "load"}, {name: "limit"}}
	for only, want := range map[string]int{"": 2, "load": 1, "limit": 1} {
		if got, err := choose(all, only); err != nil || len(got) != want || only != "" && got[0].name != only {
			t.Errorf("%q: %v, %v", only, got, err)
		}
	}
	_, err := choose(all, "lode")
	if want := "-only lode: there is no such part; there are load, limit"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
