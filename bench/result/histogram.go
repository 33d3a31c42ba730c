package result

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Percentiles are the figures of a histogram that are shown, in microseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	Min   int64   `json:"minUs"`
	Mean  float64 `json:"meanUs"`
	P50   int64   `json:"p50Us"`
	P90   int64   `json:"p90Us"`
	P99   int64   `json:"p99Us"`
	P999  int64   `json:"p999Us"`
	P9999 int64   `json:"p9999Us"`
	Max   int64   `json:"maxUs"`
}

// Point is a point of a percentile curve.
type Point struct {
	Quantile float64 // from 0 to 1
	Micros   int64   // no more than this were so many
	Count    int64   // so many were no more than this
}

// Histogram counts latencies in microseconds with three digits of precision. One goroutine uses it at a time.
// In JSON it is its Percentiles, and in "hdr" all of it in the format that other HdrHistogram libraries read (V2,
// compressed, base64).
type Histogram struct{ hdr *hdrhistogram.Histogram }

// latencyMax is the longest latency that can be told from a longer one. A record is given up before.
const latencyMax = time.Hour

// NewHistogram makes an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, latencyMax.Microseconds(), 3)}
}

// Record counts a latency; one out of range counts as the end of the range, so that the count is right.
func (h *Histogram) Record(latency time.Duration) {
	_ = h.hdr.RecordValue(min(max(latency.Microseconds(), 1), latencyMax.Microseconds())) // within the range
}

// Merge adds all that the other has counted.
func (h *Histogram) Merge(other *Histogram) { h.hdr.Merge(other.hdr) }

// Reset forgets everything.
func (h *Histogram) Reset() { h.hdr.Reset() }

// Count is how many latencies were recorded.
func (h *Histogram) Count() int64 { return h.hdr.TotalCount() }

// At is the latency that so many percent did not exceed.
func (h *Histogram) At(percent float64) time.Duration {
	return time.Duration(h.hdr.ValueAtPercentile(percent)) * time.Microsecond
}

// Percentiles are the figures that are shown.
func (h *Histogram) Percentiles() Percentiles {
	if h.Count() == 0 {
		return Percentiles{}
	}
	at := h.hdr.ValueAtPercentile
	return Percentiles{Count: h.Count(), Min: h.hdr.Min(), Mean: h.hdr.Mean(), P50: at(50), P90: at(90), P99: at(99),
		P999: at(99.9), P9999: at(99.99), Max: h.hdr.Max()}
}

// Curve is the percentile curve, with more points the closer it comes to the maximum: what a plot shows.
func (h *Histogram) Curve() []Point {
	if h.Count() == 0 {
		return nil
	}
	var curve []Point
	for _, b := range h.hdr.CumulativeDistributionWithTicks(5) {
		curve = append(curve, Point{b.Quantile / 100, b.ValueAt, b.Count})
	}
	return curve
}

// histogramJSON is what is written; curves and figures can be had from the histogram.
type histogramJSON struct {
	Percentiles
	HDR string `json:"hdr"`
}

// MarshalJSON implements json.Marshaler.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	encoded, err := h.hdr.EncodeV2()
	if err != nil {
		return nil, err
	}
	return json.Marshal(histogramJSON{h.Percentiles(), string(encoded)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var v histogramJSON
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	hdr, err := hdrhistogram.Decode([]byte(v.HDR))
	if err != nil {
		return fmt.Errorf("hdr: %w", err)
	}
	h.hdr = hdr
	return nil
}

// WriteHGRM writes the percentile distribution in milliseconds, as HdrHistogram's plotters read it.
func (h *Histogram) WriteHGRM(w io.Writer) error {
	_, err := h.hdr.PercentilesPrint(w, 5, 1000)
	return err
}
