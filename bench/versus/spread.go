package versus

import (
	"math"
	"slices"
)

// Spread is what several measurements of one figure say.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Count  int     `json:"count"`
}

// Of sums up measurements; of none everything is zero.
func Of(values []float64) Spread {
	n := len(values)
	if n == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1], Count: n}
}

// Order says which sides go in a round, the first of which is 0: forth in one, back in the next. So a machine that
// becomes slower or faster favours none: A B, B A, A B.
func Order(sides, round int) []int {
	order := make([]int, sides)
	for i := range order {
		order[i] = i
		if round%2 == 1 {
			order[i] = sides - 1 - i
		}
	}
	return order
}

// Ratio is how a figure of one side relates to that of the other.
type Ratio struct {
	Ratio float64 `json:"ratio"` // of the medians
	Min   float64 `json:"min"`   // of the smallest of the one to the largest of the other
	Max   float64 `json:"max"`   // of the largest of the one to the smallest of the other
	// Alike: the figures do not tell the sides apart. What was measured overlaps, or differs by less than differs.
	Alike bool `json:"alike"`
}

// differs is how much medians have to differ at least to be worth a word.
const differs = 0.02

// RatioOf relates what was measured on both sides. It is nothing where a side was not measured, or was zero.
func RatioOf(a, b Spread) (Ratio, bool) {
	if a.Count == 0 || b.Count == 0 || a.Min <= 0 || b.Min <= 0 {
		return Ratio{}, false
	}
	r := Ratio{Ratio: a.Median / b.Median, Min: a.Min / b.Max, Max: a.Max / b.Min}
	r.Alike = r.Min <= 1 && r.Max >= 1 || math.Abs(r.Ratio-1) < differs
	return r, true
}
