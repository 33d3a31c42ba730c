package record

import (
	"testing"

	"spate/internal/invariant"
)

// TestUncompressedBatchesAllocateNothing pins the hot path: splitting, validating, stamping and walking a batch.
func TestUncompressedBatchesAllocateNothing(t *testing.T) {
	b := three(BuilderOptions{Producer: &Producer{ID: 1, Epoch: 2, Sequence: 3}})
	rules := clientRules()
	stamped := rules
	stamped.TimestampType = LogAppendTime
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"Single and Validate", func() error {
			one, err := Single(b)
			if err == nil {
				_, err = Validate(one, &rules)
			}
			one.SetBaseOffset(0)
			one.SetLeaderEpoch(5)
			return err
		}},
		{"Validate with append time", func() error {
			stamped.Now++
			_, err := Validate(b, &stamped)
			b.SetMaxTimestamp(CreateTime, caseTime+2)
			return err
		}},
		{"Records", func() error {
			it := b.Records()
			for r, ok := it.Next(); ok; r, ok = it.Next() {
				headers := r.Headers()
				for _, more := headers.Next(); more; _, more = headers.Next() {
				}
			}
			return it.Err()
		}},
		{"Skim", func() error {
			it := b.Skim()
			for _, ok := it.Next(); ok; _, ok = it.Next() {
			}
			return it.Err()
		}},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := c.run(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 && !invariant.Enabled {
			t.Errorf("%s allocates %v times", c.name, n)
		}
	}
}

// TestCompressedBatchesReuseDecoders: a walk costs no decoder of its own.
func TestCompressedBatchesReuseDecoders(t *testing.T) {
	if raceEnabled {
		t.Log("under the race detector pools drop what they hold at random")
		return
	}
	rules := clientRules()
	rules.WalkCompressed = true
	for c := Gzip; c < codecCount; c++ {
		b := three(BuilderOptions{Codec: c})
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Validate(b, &rules); err != nil {
				t.Fatal(err)
			}
		}); n > 4 {
			t.Errorf("%s: %v allocations a batch", c, n)
		}
	}
}
