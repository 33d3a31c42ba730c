package dist

import (
	"bytes"
	"compress/flate"
	"math"
	"strings"
	"testing"
)

// TestSizes draws from each distribution: the mean is the one that it says, and nothing is out of bounds.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		text     string
		min, max int
		mean     float64
	}{
		{"1KiB", 1024, 1024, 1024},
		{"100", 100, 100, 100},
		{"uniform:100-2000", 100, 2000, 1050},
		{"normal:1000,200", 0, SizeMax, 1000},
		{"lognormal:1000,0.5", 0, SizeMax, 1000 * math.Exp(0.125)},
		{"90%:100,10%:64KiB", 100, 64 << 10, 90 + 6553.6},
	} {
		s, err := ParseSizes(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if s.Max() != c.max {
			t.Errorf("%s: at most %d, want %d", c.text, s.Max(), c.max)
		}
		from := NewSource(1, 2)
		sum := 0.0
		for range 100_000 {
			size := s.Draw(from)
			if size < c.min || size > c.max {
				t.Fatalf("%s: drew %d, not from %d to %d", c.text, size, c.min, c.max)
			}
			sum += float64(size)
		}
		if got := sum / 100_000; math.Abs(got-c.mean) > c.mean/20 {
			t.Errorf("%s: the mean is %v, want %v", c.text, got, c.mean)
		}
	}
}

// TestSizesErrors: what is wrong is said.
func TestSizesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"": "is no number of bytes", "many": "is no number of bytes", "-1": "is no number of bytes",
		"1e30": "is no number of bytes", "NaN": "is no number of bytes",
		"uniform:9": "want uniform:MIN-MAX", "uniform:9-3": "the least, 9, is more than the most, 3",
		"pareto:1,2": `"pareto" is no distribution`, "normal:5": "want two numbers: normal:1000,200",
		"normal:5,-1": "the deviation", "90%:100": "add up to 90%", "0%:1,100%:2": "must be more than 0%",
		"50%:1,x": "want SHARE%:SIZE",
	} {
		if _, err := ParseSizes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestKeys draws keys: all of them are in range, and the skewed ones are skewed as they say.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		text  string
		share func(key int) bool
		want  float64
	}{
		{"1000", func(k int) bool { return k < 100 }, 0.1},
		{"hot:1000,1%,90%", func(k int) bool { return k < 10 }, 0.9},
		{"zipf:1000,1", func(k int) bool { return k == 0 }, 1 / 7.485}, // the 1000th harmonic number
	} {
		k, err := ParseKeys(c.text)
		if err != nil || k.None() {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		from := NewSource(3, 4)
		hits := 0
		for range 100_000 {
			key := k.Draw(from)
			if key < 0 || key >= 1000 {
				t.Fatalf("%s: drew %d", c.text, key)
			}
			if c.share(key) {
				hits++
			}
		}
		if got := float64(hits) / 100_000; math.Abs(got-c.want) > 0.01 {
			t.Errorf("%s: %v, want %v", c.text, got, c.want)
		}
	}
	if k, err := ParseKeys("none"); err != nil || !k.None() {
		t.Errorf("none: %v", err)
	}
	for _, text := range []string{"0", "-3", "x", "zipf:10", "zipf:10,0", "zipf:5000000,1", "hot:10,1,90%",
		"hot:10,1%", "pareto:5"} {
		if _, err := ParseKeys(text); err == nil {
			t.Errorf("%q is no error", text)
		}
	}
}

// TestSource: a seed gives the same numbers again, another stream others.
func TestSource(t *testing.T) {
	a, b, c := NewSource(1, 0), NewSource(1, 0), NewSource(1, 1)
	same := 0
	for range 1000 {
		x := a.Next()
		if x != b.Next() {
			t.Fatal("two sources of one seed differ")
		}
		if x == c.Next() {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d numbers of two streams are the same", same)
	}
}

// TestFillLike: what is to compress does, and the rest does not.
func TestFillLike(t *testing.T) {
	for share, want := range map[float64]float64{0: 1, 0.5: 0.55, 1: 0.05} {
		b := make([]byte, 64<<10)
		NewSource(1, 1).FillLike(b, share)
		var out bytes.Buffer
		w, _ := flate.NewWriter(&out, 9) // the level is one that there is
		_, _ = w.Write(b)                // a buffer takes all
		_ = w.Close()
		if got := float64(out.Len()) / float64(len(b)); math.Abs(got-want) > 0.1 {
			t.Errorf("of a share of %v, %v is left, want %v", share, got, want)
		}
	}
}
