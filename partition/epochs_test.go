package partition

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

var cmpEpochs = cmp.AllowUnexported(epochEntry{})

// TestEpochAssign: the cache stays monotone whatever is assigned; an entry that contradicts a new one goes.
func TestEpochAssign(t *testing.T) {
	cases := []struct {
		name    string
		before  epochCache
		epoch   kafka.LeaderEpoch
		start   kafka.Offset
		after   epochCache
		changed bool
	}{
		{"the first epoch is taken", nil, 3, 10, epochCache{{3, 10}}, true},
		{"a newer epoch goes behind", epochCache{{3, 10}}, 4, 20, epochCache{{3, 10}, {4, 20}}, true},
		{"the epoch goes on", epochCache{{3, 10}}, 3, 15, epochCache{{3, 10}}, false},
		{"an epoch without records gives way to the next",
			epochCache{{3, 10}, {4, 20}}, 5, 20, epochCache{{3, 10}, {5, 20}}, true},
		{"an epoch that began earlier than known",
			epochCache{{3, 10}, {4, 20}}, 4, 18, epochCache{{3, 10}, {4, 18}}, true},
		{"an older epoch wipes out newer ones",
			epochCache{{3, 10}, {4, 20}, {6, 30}}, 5, 25, epochCache{{3, 10}, {4, 20}, {5, 25}}, true},
		{"an older epoch at an older offset", epochCache{{3, 10}, {4, 20}}, 3, 5, epochCache{{3, 5}}, true},
		{"no epoch", epochCache{{3, 10}}, kafka.NoLeaderEpoch, 20, epochCache{{3, 10}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			before := append(epochCache(nil), c.before...)
			after, changed := c.before.assign(c.epoch, c.start)
			if diff := cmp.Diff(c.after, after, cmpEpochs); diff != "" || changed != c.changed {
				t.Errorf("changed %v, difference:\n%s", changed, diff)
			}
			if diff := cmp.Diff(before, c.before, cmpEpochs); diff != "" {
				t.Errorf("the cache before was written to:\n%s", diff)
			}
		})
	}
}

// TestEpochEndOffset is the table of KIP-101.
func TestEpochEndOffset(t *testing.T) {
	cache := epochCache{{2, 10}, {3, 20}, {6, 30}}
	const logEnd = 40
	cases := []struct {
		name  string
		cache epochCache
		asked kafka.LeaderEpoch
		epoch kafka.LeaderEpoch
		end   kafka.Offset
	}{
		{"the current epoch ends where the log does", cache, 6, 6, logEnd},
		{"an epoch ends where the next begins", cache, 3, 3, 30},
		{"an epoch that never was answers for the one before it", cache, 5, 3, 30},
		{"an epoch older than all ended before the first", cache, 1, 1, 10},
		{"an epoch newer than all is not known", cache, 7, -1, -1},
		{"no epoch is not known", cache, -1, -1, -1},
		{"nothing is known of an empty cache", nil, 0, -1, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			epoch, end := c.cache.endOffset(c.asked, logEnd)
			if epoch != c.epoch || end != c.end {
				t.Errorf("got epoch %d end %d, want epoch %d end %d", epoch, end, c.epoch, c.end)
			}
		})
	}
}

func TestEpochTruncate(t *testing.T) {
	cache := epochCache{{2, 10}, {3, 20}, {6, 30}}
	cases := []struct {
		name       string
		start, end kafka.Offset
		want       epochCache
	}{
		{"nothing is cut", 0, 100, cache},
		{"an epoch that begins at the end goes", 0, 30, epochCache{{2, 10}, {3, 20}}},
		{"an epoch that begins before the end stays", 0, 31, cache},
		{"everything is cut from the end", 0, 5, epochCache{}},
		{"the first epoch begins later now", 15, 100, epochCache{{2, 15}, {3, 20}, {6, 30}}},
		{"an epoch before the start goes", 20, 100, epochCache{{3, 20}, {6, 30}}},
		{"the last epoch stays for ever", 500, 1000, epochCache{{6, 500}}},
		{"from both ends", 25, 30, epochCache{{3, 25}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := cache.truncateEnd(c.end).truncateStart(c.start)
			if diff := cmp.Diff(c.want, got, cmpEpochs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEpochAt(t *testing.T) {
	cache := epochCache{{2, 10}, {3, 20}}
	for offset, want := range map[kafka.Offset]kafka.LeaderEpoch{9: -1, 10: 2, 19: 2, 20: 3, 99: 3} {
		if got := cache.at(offset); got != want {
			t.Errorf("epoch of offset %d is %d, want %d", offset, got, want)
		}
	}
}

// TestEpochFileGolden reads a file that Kafka wrote and writes the same bytes.
func TestEpochFileGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/kafka-4.3.1/probe-0/leader-epoch-checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseEpochs(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(epochCache{{0, 0}}, c, cmpEpochs); diff != "" {
		t.Error(diff)
	}
	if got := c.appendTo(nil); string(got) != string(text) {
		t.Errorf("wrote %q, Kafka wrote %q", got, text)
	}
}

func TestEpochFileRefused(t *testing.T) {
	for name, text := range map[string]string{
		"another version":      "1\n0\n",
		"no count":             "0\n",
		"a negative count":     "0\n-1\n",
		"fewer than announced": "0\n2\n0 0\n",
		"more than announced":  "0\n1\n0 0\n1 5\n",
		"one number":           "0\n1\n7\n",
		"a sign":               "0\n1\n+7 1\n",
		"a negative offset":    "0\n1\n7 -1\n",
		"falling epochs":       "0\n2\n7 1\n6 2\n",
		"falling offsets":      "0\n2\n7 5\n8 4\n",
		"an epoch too large":   "0\n1\n2147483648 4\n",
		"words":                "0\n1\none two\n",
	} {
		if c, err := parseEpochs([]byte(text)); err == nil {
			t.Errorf("%s: read as %v", name, c)
		}
	}
}

// FuzzEpochFile: what is accepted is written back to something that reads the same, and the cache is monotone.
func FuzzEpochFile(f *testing.F) {
	f.Add([]byte("0\n2\n0 0\n5 17\n"))
	f.Add([]byte("0\r\n1\r\n0 0\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseEpochs(text)
		if err != nil {
			return
		}
		for i := 1; i < len(c); i++ {
			if c[i].epoch <= c[i-1].epoch || c[i].startOffset < c[i-1].startOffset {
				t.Fatalf("not monotone: %v", c)
			}
		}
		again, err := parseEpochs(c.appendTo(nil))
		if err != nil || !cmp.Equal(c, again, cmpEpochs) {
			t.Fatalf("%v came back as %v, %v", c, again, err)
		}
	})
}
