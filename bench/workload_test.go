package bench

import (
	"context"
	"strings"
	"testing"
)

// TestSamples runs the workloads of the side-by-side runs, small: each sends what it says, and measures it.
func TestSamples(t *testing.T) {
	t.Parallel()
	target := testBroker(t)
	for topic, run := range map[string]func(context.Context, Target) (Sample, error){
		"produce": Produce{Topic: "produce", Records: 3000, RecordBytes: 100, BatchBytesMax: 16 << 10}.Run,
		"one":     OneRecordBatches{Topic: "one", Producers: 4, Each: 750, RecordBytes: 100}.Run,
	} {
		if _, err := run(t.Context(), target); err == nil || !strings.Contains(err.Error(), "UNKNOWN_TOPIC") {
			t.Errorf("%s, without a topic: %v", topic, err)
		}
		if err := CreateTopic(t.Context(), target, topic, 3); err != nil {
			t.Fatal(err)
		}
		s, err := run(t.Context(), target)
		if err != nil || s.Records != 3000 || s.Bytes != 300_000 || s.Elapsed <= 0 || s.P50 <= 0 || s.P99 < s.P50 {
			t.Errorf("%s: %+v (%v)", topic, s, err)
		}
	}
	read, err := Consume{Topic: "produce", Partitions: 3, Records: 3000}.Run(t.Context(), target)
	if err != nil || read.Records != 3000 || read.Bytes != 300_000 {
		t.Errorf("%+v (%v)", read, err)
	}
}
