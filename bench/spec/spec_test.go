package spec

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDefaults: every kind of workload is valid as it is, and its settings can be given back.
func TestDefaults(t *testing.T) {
	for _, kind := range Kinds() {
		w, err := Parse(kind, nil)
		if err != nil || Short(kind) == "" || w.Name != kind {
			t.Errorf("%s: %v, %q", kind, err, w.Name)
		}
		again := map[string]string{}
		for _, key := range w.Settings() {
			if key.Help == "" {
				t.Errorf("%s: %s has no help", kind, key.Name)
			}
			again[key.Name] = key.Default
		}
		if _, err := Parse(kind, again); err != nil {
			t.Errorf("%s, with its own settings: %v", kind, err)
		}
	}
}

// TestParse reads every form of a value.
func TestParse(t *testing.T) {
	w, err := Parse("e2e", map[string]string{"rate": "20k", "duration": "90s",
		"topic-config": "cleanup.policy=compact,delete,segment.bytes=1024", "compressible": "50%", "verify": "false"})
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"cleanup.policy", "compact,delete"}, {"segment.bytes", "1024"}}
	if diff := cmp.Diff(want, w.Configs); diff != "" {
		t.Error(diff)
	}
	if w.Rate != 20_000 || w.Length != 90*time.Second || w.Compress != 0.5 || w.Verify || !w.Reads() {
		t.Errorf("%+v", w)
	}
	if text, given := w.Value("rate"); text != "20k" || !given {
		t.Errorf("%q, %v", text, given)
	}
	if text, given := w.Value("acks"); text != "all" || given {
		t.Errorf("%q, %v", text, given)
	}
	s, err := Parse("produce", map[string]string{"steps": "1000, 2k"})
	if err != nil || !slices.Equal(s.Steps, []float64{1000, 2000}) || s.Reads() {
		t.Errorf("%+v (%v)", s, err)
	}
	f, err := Parse("produce", map[string]string{"find": "p99.9 < 5 ms", "rate": "100"})
	if err != nil || f.Find.String() != "ack p99.9<5ms" {
		t.Errorf("%v (%v)", f.Find, err)
	}
}

// TestErrors: each names the key that is wrong, and what to do.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		kind  string
		given map[string]string
		want  string
	}{
		{"bogus", nil, `workload "bogus": there are produce, consume, e2e`},
		{"e2e", map[string]string{"rat": "5"}, "rat: there is no such key; did you mean rate?"},
		{"e2e", map[string]string{"colour": "5"}, "colour: there is no such key"},
		{"e2e", map[string]string{"txn-records": "5"},
			"txn-records: the workload e2e has no such key; it is one of transactions"},
		{"e2e", map[string]string{"rate": "-5"}, `rate: "-5" is no rate`},
		{"e2e", map[string]string{"rate": "NaN"}, `rate: "NaN" is no rate`},
		{"e2e", map[string]string{"duration": "5"}, `duration: "5" is no duration`},
		{"e2e", map[string]string{"acks": "2"}, `acks: "2" must be all, 1 or 0`},
		{"e2e", map[string]string{"acks": "1"}, "acks: 1 cannot be idempotent"},
		{"e2e", map[string]string{"record-size": "uniform:x"}, "record-size: want uniform"},
		{"e2e", map[string]string{"record-size": "10"}, "record-size: must be at least 32"},
		{"e2e", map[string]string{"record-size": "99%:100,1%:1GiB"}, "record-size: must be at most 64 MiB"},
		{"e2e", map[string]string{"keys": "zipf"}, "keys: "},
		{"e2e", map[string]string{"partitions": "0"}, `partitions: "0" must be a number from 1`},
		{"e2e", map[string]string{"topic": "a b"}, `topic: "a b" is no name`},
		{"e2e", map[string]string{"verify": "maybe"}, `verify: "maybe" must be true or false`},
		{"e2e", map[string]string{"find": "p99"}, `find: "p99" is no objective`},
		{"e2e", map[string]string{"find": "p99<5"}, `find: "p99<5" is no objective`},
		{"e2e", map[string]string{"find": "p99<1.2.3s"}, "is no duration"},
		{"produce", map[string]string{"find": "p99<5ms"}, "rate: a search needs the rate at which it begins"},
		{"produce", map[string]string{"find": "e2e p99<5ms", "rate": "5"},
			"find: the workload produce has nobody who reads"},
		{"e2e", map[string]string{"find": "p99<5ms", "steps": "1,2"}, "a run does one of them"},
		{"e2e", map[string]string{"steps": "1,0"}, "steps: "},
		{"e2e", map[string]string{"steps": "1,2", "rate": "5"}, "rate: steps are the rates"},
		{"e2e", map[string]string{"steps": "1,2", "duration": "9s"}, "duration, records: steps and searches go by"},
		{"e2e", map[string]string{"find": "p99<5ms", "duration": "9s"}, "duration, records: steps and searches go by"},
		{"e2e", map[string]string{"find": "p99<5ms", "records": "9"}, "duration, records: steps and searches go by"},
		{"produce", map[string]string{"ramp-from": "5"}, "rate: a ramp needs the rate at which it ends"},
		{"produce", map[string]string{"duration": "0s"}, "duration, records: one of them must be more than 0"},
		{"e2e", map[string]string{"step-length": "9s"}, "step-length: is of steps and of a search (find)"},
		{"e2e", map[string]string{"rate-max": "9k"}, "rate-max: is of a search (find), and there is none"},
		{"e2e", map[string]string{"precision": "1%"}, "precision: is of a search (find), and there is none"},
		{"e2e", map[string]string{"steps": "1,2", "precision": "1%"}, "precision: is of a search (find)"},
		{"e2e", map[string]string{"steps": "1,2", "rate-max": "9k"}, "rate-max: is of a search (find)"},
		{"consume", map[string]string{"warm-up": "1s"}, "warm-up: consume reads each record once"},
		{"e2e", map[string]string{"consumers": "7"}, "consumers: there are 6 partitions in all"},
		{"e2e", map[string]string{"reuse-topic": "true"}, "reuse-topic: topic says which one"},
		{"consume", map[string]string{"records": "0"}, "records: there must be something to read"},
		{"e2e", map[string]string{"topic-config": "compact"}, `topic-config: "compact": want name=value`},
		{"e2e", map[string]string{"rate": "x", "acks": "y"},
			"rate: \"x\" is no rate, such as 5000 or 20k records a second\nacks: "},
	} {
		if _, err := Parse(c.kind, c.given); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %q", c.kind, c.given, err, c.want)
		}
	}
}

// TestIdleKeys: a key that does nothing beside the others is right as long as it has its default, or has something to
// do.
func TestIdleKeys(t *testing.T) {
	for _, c := range []struct {
		kind  string
		given map[string]string
	}{
		{"e2e", map[string]string{"step-length": "5s", "rate-max": "0", "precision": " 5%", "reuse-topic": "false"}},
		{"e2e", map[string]string{"step-length": "9s", "steps": "1,2"}},
		{"e2e", map[string]string{"step-length": "9s", "rate-max": "9k", "precision": "1%", "find": "p99<5ms"}},
		{"consume", map[string]string{"warm-up": "0s"}},
		{"mixed", map[string]string{"partitions": "1"}}, // of whose two clients one has nothing to do
		{"mixed", map[string]string{"partitions": "1", "consumers": "2"}},
		{"e2e", map[string]string{"consumers": "12", "topics": "2"}},
		{"e2e", map[string]string{"reuse-topic": "true", "topic": "orders"}},
	} {
		if _, err := Parse(c.kind, c.given); err != nil {
			t.Errorf("%s %v: %v", c.kind, c.given, err)
		}
	}
}

// TestFromYAML reads lists and maps as flags have them, and says in which line something is wrong.
func TestFromYAML(t *testing.T) {
	kind, given, err := FromYAML([]byte(`# nightly
workload: e2e
rate: 10000
steps: [1000, 2000]
topic_config:
  segment.bytes: 104857600
  cleanup.policy: compact
verify: true
`))
	want := map[string]string{"rate": "10000", "steps": "1000,2000", "verify": "true",
		"topic-config": "segment.bytes=104857600,cleanup.policy=compact"}
	if diff := cmp.Diff(want, given); diff != "" || kind != "e2e" || err != nil {
		t.Errorf("%s (%v)\n%s", kind, err, diff)
	}
	for text, want := range map[string]string{
		"":                                   "want keys and values",
		"- a":                                "want keys and values",
		"rate: 5":                            "workload: it is not there; it says which of produce",
		"workload: e2e\nrate: 5\nrate: 6":    "line 3: rate is there twice",
		"workload: e2e\nsteps: [[1]]":        "line 2: steps: a list holds plain values here",
		"workload: e2e\ntopic-config: {a: [": "line",
	} {
		if _, _, err := FromYAML([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// FuzzFromYAML: whatever a file holds, there is a workload or an error.
func FuzzFromYAML(f *testing.F) {
	f.Add([]byte("workload: e2e\nrate: 10000\ntopic-config: {a: b}\nsteps: [1, 2]"))
	f.Add([]byte("workload: produce\nrecord-size: 90%:100,10%:64KiB\nkeys: hot:10,1%,90%\nfind: p99<5ms\nrate: 5"))
	f.Fuzz(func(t *testing.T, text []byte) {
		kind, given, err := FromYAML(text)
		if err == nil && !strings.Contains(given["keys"], ":") { // tables of keys take memory
			_, _ = Parse(kind, given)
		}
	})
}
