package chaos

import (
	"strings"
	"testing"
	"time"
)

// The checker of groups is itself checked: a clean history passes, and each kind of planted damage is found.
func TestGroupCheckFindsEachPlantedFault(t *testing.T) {
	began := time.Unix(1_700_000_000, 0)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	const value = "v"
	// clean: a owns partition 0, reads and commits 0 to 4, gives it up, and b goes on to 9.
	clean := func() *GroupHistory {
		h := NewGroupHistory()
		h.Assigned(at(0), "a", 1, []int32{0})
		for offset := range int64(5) {
			h.Record("a", 0, offset, value)
		}
		h.Committed(at(10), 0, 5)
		h.Fetched(at(11), at(12), 0, 5)
		h.Revoked(at(20), "a", []int32{0})
		h.Assigned(at(30), "b", 2, []int32{0})
		for offset := int64(5); offset < 10; offset++ {
			h.Record("b", 0, offset, value)
		}
		h.Committed(at(40), 0, 10)
		h.Fetched(at(41), at(42), 0, 10)
		h.Snapshot(map[string][]int32{"a": {1}, "b": {0, 2}})
		return h
	}
	cases := []struct {
		name   string
		plant  func(h *GroupHistory)
		report string // "" wants a clean answer
	}{
		{"a clean history", func(*GroupHistory) {}, ""},
		{"a record again after the partition moved", func(h *GroupHistory) {
			h.Assigned(at(5), "b", -1, []int32{0}) // said again
			h.Record("b", 0, 7, value)
		}, ""},
		{"a record that nobody read", func(h *GroupHistory) { delete(h.read, place{0, 9}) }, "was read by nobody"},
		{"another content", func(h *GroupHistory) { h.Record("b", 0, 3, "w") }, "was read as"},
		{"a hole in what one owner reads", func(h *GroupHistory) { h.Record("b", 0, 12, value) }, "after 9"},
		{"two owners in one generation", func(h *GroupHistory) {
			h.Assigned(at(50), "c", 2, []int32{0})
		}, "two owners in generation 2"},
		{"two owners at one time", func(h *GroupHistory) {
			h.Assigned(at(50), "c", -1, []int32{0})
		}, "belongs to b since"},
		{"two owners while sessions run out after a fault", func(h *GroupHistory) {
			h.Disturbed(at(45), at(60))
			h.Assigned(at(50), "c", -1, []int32{0})
		}, ""},
		{"two owners while many gather", func(h *GroupHistory) {
			h.Gathering(at(45), at(60))
			h.Assigned(at(50), "c", 2, []int32{0})
		}, ""},
		{"two owners when they have gathered", func(h *GroupHistory) {
			h.Gathering(at(45), at(50))
			h.Assigned(at(50), "c", 2, []int32{0})
		}, "belongs to b since"},
		{"two owners after nothing moved for a while", func(h *GroupHistory) {
			h.Beat(at(45), 30*time.Millisecond)
			h.Beat(at(56), 30*time.Millisecond)
			h.Assigned(at(60), "c", -1, []int32{0})
		}, ""},
		{"two owners while all went well", func(h *GroupHistory) {
			h.Beat(at(45), 30*time.Millisecond)
			h.Beat(at(55), 30*time.Millisecond)
			h.Assigned(at(60), "c", -1, []int32{0})
		}, "belongs to b since"},
		{"an owner after the death of another", func(h *GroupHistory) {
			h.Ended(at(49), "b")
			h.Assigned(at(50), "c", 3, []int32{0})
			h.Record("c", 0, 10, value)
		}, ""},
		{"an owner that begins before what was committed", func(h *GroupHistory) {
			h.Ended(at(49), "b")
			h.Assigned(at(50), "c", 3, []int32{0})
			h.Record("c", 0, 9, value)
		}, "began partition 0 at offset 9"},
		{"a library that starts over when the coordinator is loading", func(h *GroupHistory) {
			h.Forgetful("c")
			h.Ended(at(49), "b")
			h.Assigned(at(50), "c", 3, []int32{0})
			h.Disturbed(at(51), at(60))
			h.Record("c", 0, 0, value)
			h.Fetched(at(61), at(62), 0, 1)
		}, ""},
		{"one that starts over without a reason", func(h *GroupHistory) {
			h.Forgetful("c")
			h.Disturbed(at(43), at(48))
			h.Ended(at(49), "b")
			h.Assigned(at(50), "c", 3, []int32{0})
			h.Record("c", 0, 0, value)
		}, "began partition 0 at offset 0"},
		{"a lost commit", func(h *GroupHistory) {
			h.Fetched(at(60), at(61), 0, -1)
		}, "though 10 had been acknowledged"},
		{"a committed offset that moved back, acknowledged to nobody", func(h *GroupHistory) {
			h.Fetched(at(60), at(61), 0, 12)
			h.Fetched(at(62), at(63), 0, 11)
		}, "went from 12 back to 11"},
		{"a commit that is still under way", func(h *GroupHistory) {
			h.Committed(at(70), 0, 11)
			h.Fetched(at(69), at(71), 0, 10)
		}, ""},
		{"a description with two owners", func(h *GroupHistory) {
			h.Snapshot(map[string][]int32{"a": {0, 1}, "b": {2, 0}})
		}, "the broker says that partition 0"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := clean()
			c.plant(h)
			s := h.Check(map[int32]int64{0: 10}, func(int32, int64) string { return value })
			got := strings.Join(s.Violations, "\n")
			if c.report == "" && got != "" || !strings.Contains(got, c.report) {
				t.Errorf("violations: %q, want %q", got, c.report)
			}
		})
	}
}
