package api

import (
	"net/netip"
	"testing"
)

// Goal: addresses read as Java writes them, which tools print and compare. Method: pairs of the two spellings.
func TestHostText(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1":            "/127.0.0.1",
		"::ffff:10.1.2.3":      "/10.1.2.3",
		"::1":                  "/0:0:0:0:0:0:0:1",
		"2001:db8::ff00:42:83": "/2001:db8:0:0:0:ff00:42:83",
		"fe80::1%eth0":         "/fe80:0:0:0:0:0:0:1%eth0",
	} {
		if got := hostText(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestDistinctKeepsTheFirst(t *testing.T) {
	words := []string{"b", "a", "b", "", "a", ""}
	if got := distinct(words); len(got) != 3 || got[0] != "b" || got[1] != "a" || got[2] != "" {
		t.Errorf("%q", got)
	}
	if words[2] != "b" || words[5] != "" {
		t.Errorf("the request was changed: %q", words)
	}
}
