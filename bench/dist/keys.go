package dist

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
)

// Keys is a distribution of keys: numbers from 0 to less than Count.
type Keys struct {
	count   int
	below   []float64 // of zipf: by key, the share of it and those before it
	hot     int       // of hot: this many keys take hotness of all records
	hotness float64
}

// keysMax bounds the number of keys.
const keysMax = 10_000_000

// zipfKeysMax bounds the keys of a Zipf distribution, of which each takes 8 bytes of memory.
const zipfKeysMax = 1_000_000

// ParseKeys reads a distribution: none, 1000 (all alike), zipf:1000,1.1 (key n is drawn in proportion to
// 1/(n+1)^1.1) or hot:1000,1%,90% (1 % of the keys take 90 % of the records).
func ParseKeys(text string) (Keys, error) {
	if text == "none" || text == "" {
		return Keys{}, nil
	}
	kind, rest, named := strings.Cut(text, ":")
	if !named {
		kind, rest = "", text
	}
	args := strings.Split(rest, ",")
	count, err := strconv.Atoi(args[0])
	if err != nil || count < 1 || count > keysMax {
		return Keys{}, fmt.Errorf("%q is no number of keys from 1 to %d, and not none", args[0], keysMax)
	}
	k := Keys{count: count}
	switch {
	case kind == "" && len(args) == 1:
		return k, nil
	case kind == "zipf" && len(args) == 2:
		exponent, err := strconv.ParseFloat(args[1], 64)
		if err != nil || !(exponent > 0) || exponent > 10 || count > zipfKeysMax {
			return Keys{}, fmt.Errorf("want at most %d keys and an exponent of more than 0 and up to 10: zipf:1000,1.1",
				zipfKeysMax)
		}
		k.below = zipf(count, exponent)
		return k, nil
	case kind == "hot" && len(args) == 3:
		hot, err1 := parsePercent(args[1])
		hotness, err2 := parsePercent(args[2])
		if err := errors.Join(err1, err2); err != nil {
			return Keys{}, err
		}
		k.hot, k.hotness = max(1, int(math.Round(hot*float64(count)))), hotness
		return k, nil
	}
	return Keys{}, errors.New("want none, 1000, zipf:1000,1.1 or hot:1000,1%,90%")
}

func parsePercent(text string) (float64, error) {
	number, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent > 0) || percent > 100 {
		return 0, fmt.Errorf("%q must be a share of more than 0%% and up to 100%%", text)
	}
	return percent / 100, nil
}

func zipf(count int, exponent float64) []float64 {
	below := make([]float64, count)
	total := 0.0
	for n := range below {
		total += math.Pow(float64(n+1), -exponent)
		below[n] = total
	}
	for n := range below {
		below[n] /= total
	}
	return below
}

// None reports whether records have no keys.
func (k Keys) None() bool { return k.count == 0 }

// Draw is the next key.
func (k Keys) Draw(from *Source) int {
	switch {
	case k.below != nil:
		x := from.Float()
		return min(sort.SearchFloat64s(k.below, x), k.count-1)
	case k.hot > 0 && k.hot < k.count:
		if from.Float() < k.hotness {
			return from.Below(k.hot)
		}
		return k.hot + from.Below(k.count-k.hot)
	}
	return from.Below(k.count)
}
