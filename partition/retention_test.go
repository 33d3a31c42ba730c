package partition

import (
	"testing"
	"time"

	"spate/kafka"
)

// TestRetentionExpired: how many of the oldest segments go. Segments are given as end offset, bytes and newest record.
func TestRetentionExpired(t *testing.T) {
	const now = kafka.Timestamp(1_000_000)
	log := []segmentView{
		{base: 0, end: 10, bytes: 100, maxTimestamp: now - 4000},
		{base: 10, end: 20, bytes: 100, maxTimestamp: now - 3000},
		{base: 20, end: 30, bytes: 100, maxTimestamp: now - 2000},
		{base: 30, end: 40, bytes: 50, maxTimestamp: now - 1000},
	}
	rule := retentionRule{now: now, age: Forever, bytes: -1, highWatermark: 40}
	with := func(change func(*retentionRule)) retentionRule {
		r := rule
		change(&r)
		return r
	}
	cases := []struct {
		name string
		rule retentionRule
		log  []segmentView
		want int
	}{
		{"without limits all stays", rule, log, 0},
		{"older than the age", with(func(r *retentionRule) { r.age = 2500 * time.Millisecond }), log, 2},
		{"exactly the age stays", with(func(r *retentionRule) { r.age = 3 * time.Second }), log, 1},
		{"all of it, the active segment too", with(func(r *retentionRule) { r.age = 0 }), log, 4},
		{"an old segment behind a young one stays", with(func(r *retentionRule) { r.age = 2500 * time.Millisecond }),
			[]segmentView{log[3], log[0]}, 0},
		{"what the log holds without it is still enough", with(func(r *retentionRule) { r.bytes = 250 }), log, 1},
		{"no byte more than asked for may go", with(func(r *retentionRule) { r.bytes = 251 }), log, 0},
		{"retention of nothing takes all", with(func(r *retentionRule) { r.bytes = 0 }), log, 4},
		{"below the log start offset", with(func(r *retentionRule) { r.logStart = 20 }), log, 2},
		{"partly below the log start offset", with(func(r *retentionRule) { r.logStart = 19 }), log, 1},
		{"the active segment stays, whatever the log start", with(func(r *retentionRule) { r.logStart = 40 }), log, 3},
		{"never past the high watermark", with(func(r *retentionRule) { r.age, r.highWatermark = 0, 29 }), log, 2},
		{"an empty active segment stays", with(func(r *retentionRule) { r.age = 0 }),
			[]segmentView{log[0], {base: 10, end: 10, maxTimestamp: 0}}, 1},
		{"an empty log stays", with(func(r *retentionRule) { r.age, r.bytes = 0, 0 }), []segmentView{{}}, 0},
		{"records from the future stay", with(func(r *retentionRule) { r.age = 0 }),
			[]segmentView{{end: 10, bytes: 100, maxTimestamp: now + 1}}, 0},
		{"one for its age, the next for the size",
			with(func(r *retentionRule) { r.age, r.bytes = 3500*time.Millisecond, 150 }), log, 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.rule.expired(c.log); got != c.want {
				t.Errorf("%d segments go, want %d", got, c.want)
			}
		})
	}
}
