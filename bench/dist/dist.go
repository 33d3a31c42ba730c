// Package dist draws the sizes and keys of records, and the bytes of their values, from distributions that are written
// as a short text. All is a function of a seed, so that two runs of a workload load a broker with the same records. It
// is pure; a Source and what draws from it belong to one goroutine.
//
//tidy:pure
package dist

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Source is a source of random numbers: splitmix64, which is fast, and good enough to load a broker.
type Source struct{ state uint64 }

// NewSource makes a source; those of one seed and different streams have nothing in common.
func NewSource(seed, stream uint64) *Source {
	s := &Source{seed}
	s.state = s.Next() ^ stream*gap
	s.state = s.Next()
	return s
}

// Next is the next number, of all equally likely ones.
func (s *Source) Next() uint64 {
	s.state += gap
	return mixed(s.state)
}

// Nth is number n of one sequence, without those before it.
func Nth(n uint64) uint64 { return mixed(n * gap) }

// gap is by how much the state of a source grows from number to number: 2^64 by the golden ratio, and odd.
const gap = 0x9e3779b97f4a7c15

func mixed(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Float is the next number, from 0 to less than 1.
func (s *Source) Float() float64 { return float64(s.Next()>>11) / (1 << 53) }

// Below is the next number, from 0 to less than n.
func (s *Source) Below(n int) int { return int(s.Next() % uint64(n)) }

// Fill writes random bytes, which no codec makes shorter.
func (s *Source) Fill(b []byte) {
	for len(b) >= 8 {
		x := s.Next()
		b[0], b[1], b[2], b[3] = byte(x), byte(x>>8), byte(x>>16), byte(x>>24)
		b[4], b[5], b[6], b[7] = byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56)
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(s.Next())
	}
}

// FillLike writes bytes of which about a share, from 0 to 1, is a text that repeats itself: what a codec takes away.
func (s *Source) FillLike(b []byte, share float64) {
	const block, text = 64, `{"id":12345678,"state":"shipped","country":"NO","amount":99.50}]`
	fixed := int(math.Round(share * block))
	for len(b) > 0 {
		n := min(block, len(b))
		copy(b[:n], text[:fixed])
		s.Fill(b[min(fixed, n):n])
		b = b[n:]
	}
}

// Sizes is a distribution of sizes in bytes.
type Sizes struct {
	min, max int // of a uniform one
	choices  []choice
	// normal: mean and deviation, of the size or of its logarithm
	mean, deviation float64
	kind            string // uniform, choices, normal, lognormal
}

type choice struct {
	below float64 // of a number from 0 to 1, if it is not below that of a former choice
	size  int
}

// SizeMax bounds the size of a record.
const SizeMax = 64 << 20

// ParseSizes reads a distribution: 1KiB, uniform:100-2000, normal:1000,200, lognormal:1000,0.5 (median, and deviation
// of the logarithm) or 90%:100,10%:64KiB.
func ParseSizes(text string) (Sizes, error) {
	kind, rest, named := strings.Cut(text, ":")
	switch {
	case !named:
		size, err := ParseBytes(text)
		return Sizes{kind: "uniform", min: size, max: size}, err
	case strings.Contains(kind, "%"):
		return parseChoices(text)
	case kind == "uniform":
		low, high, ok := strings.Cut(rest, "-")
		if !ok {
			return Sizes{}, errors.New("want uniform:MIN-MAX, such as uniform:100-2000")
		}
		a, err := ParseBytes(low)
		if err != nil {
			return Sizes{}, err
		}
		b, err := ParseBytes(high)
		if err == nil && a > b {
			err = fmt.Errorf("the least, %d, is more than the most, %d", a, b)
		}
		return Sizes{kind: kind, min: a, max: b}, err
	case kind == "normal", kind == "lognormal":
		return parseNormal(kind, rest)
	}
	return Sizes{}, fmt.Errorf("%q is no distribution; there are uniform:MIN-MAX, normal:MEAN,DEVIATION, "+
		"lognormal:MEDIAN,DEVIATION and 90%%:100,10%%:64KiB", kind)
}

func parseNormal(kind, rest string) (Sizes, error) {
	first, second, ok := strings.Cut(rest, ",")
	if !ok {
		return Sizes{}, fmt.Errorf("want two numbers: %s:1000,%s", kind, map[string]string{"normal": "200",
			"lognormal": "0.5"}[kind])
	}
	mean, err := ParseBytes(first)
	if err != nil {
		return Sizes{}, err
	}
	s := Sizes{kind: kind, mean: float64(mean), max: SizeMax}
	if s.deviation, err = strconv.ParseFloat(second, 64); err != nil || !(s.deviation >= 0) || s.deviation > SizeMax {
		return Sizes{}, fmt.Errorf("the deviation, %q, must be a number of at least 0", second)
	}
	if kind == "lognormal" {
		s.mean = math.Log(max(s.mean, 1))
	}
	return s, nil
}

func parseChoices(text string) (Sizes, error) {
	s := Sizes{kind: "choices"}
	total := 0.0
	for part := range strings.SplitSeq(text, ",") {
		share, size, ok := strings.Cut(part, "%:")
		if !ok {
			return Sizes{}, fmt.Errorf("%q: want SHARE%%:SIZE, such as 90%%:100", part)
		}
		percent, err := strconv.ParseFloat(share, 64)
		if err != nil || !(percent > 0) || percent > 100 {
			return Sizes{}, fmt.Errorf("%q%% must be more than 0%% and at most 100%%", share)
		}
		bytes, err := ParseBytes(size)
		if err != nil {
			return Sizes{}, err
		}
		total += percent
		s.choices = append(s.choices, choice{total / 100, bytes})
	}
	if math.Abs(total-100) > 0.001 {
		return Sizes{}, fmt.Errorf("the shares add up to %g%%, not to 100%%", total)
	}
	return s, nil
}

// Max is the most that is drawn.
func (s Sizes) Max() int {
	if s.kind == "choices" {
		return slices.MaxFunc(s.choices, bySize).size
	}
	return s.max
}

func bySize(a, b choice) int { return cmp.Compare(a.size, b.size) }

// Draw is the next size.
func (s Sizes) Draw(from *Source) int {
	switch s.kind {
	case "choices":
		x := from.Float()
		for _, c := range s.choices {
			if x < c.below {
				return c.size
			}
		}
		return s.choices[len(s.choices)-1].size
	case "normal":
		return s.bounded(s.mean + s.deviation*gauss(from))
	case "lognormal":
		return s.bounded(math.Exp(s.mean + s.deviation*gauss(from)))
	}
	if s.min == s.max {
		return s.min
	}
	return s.min + from.Below(s.max-s.min+1)
}

func (s Sizes) bounded(size float64) int { return int(math.Round(min(max(size, 0), SizeMax))) }

// gauss draws from the normal distribution of mean 0 and deviation 1 (Box and Muller).
func gauss(from *Source) float64 {
	return math.Sqrt(-2*math.Log(1-from.Float())) * math.Cos(2*math.Pi*from.Float())
}

// ParseBytes reads a number of bytes: 100, 16KiB, 1MB, 1.5GiB.
func ParseBytes(text string) (int, error) {
	number := strings.TrimRight(text, "kKMGiB")
	factor, ok := map[string]float64{"": 1, "B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "k": 1 << 10,
		"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[text[len(number):]]
	n, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(n >= 0) || n*factor > math.MaxInt32 {
		return 0, fmt.Errorf("%q is no number of bytes up to 2 GiB, such as 100, 16KiB or 1MB", text)
	}
	return int(math.Round(n * factor)), nil
}
