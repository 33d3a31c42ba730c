package chaos

import (
	"strings"
	"testing"
)

// The checker is itself checked: a clean history passes, and each kind of planted damage is found.
func TestCheckFindsEachPlantedFault(t *testing.T) {
	clean := func() (*History, []Entry) {
		h := NewHistory()
		var final []Entry
		for seq := range int64(10) {
			id := RecordID{Producer: 1, Seq: seq}
			h.Acked(0, seq, id)
			h.Read(0, seq, id.Value())
			final = append(final, Entry{Partition: 0, Offset: seq, Value: id.Value()})
		}
		return h, final
	}
	cases := []struct {
		name   string
		plant  func(h *History, final []Entry) []Entry
		report string // "" wants a clean answer
	}{
		{"a clean history", func(_ *History, final []Entry) []Entry { return final }, ""},
		{"an unacknowledged record that was kept is no fault", func(_ *History, final []Entry) []Entry {
			return append(final, Entry{Offset: 10, Value: RecordID{1, 10}.Value()})
		}, ""},
		{"the tail is lost", func(_ *History, final []Entry) []Entry { return final[:9] }, "is lost"},
		{
			"a hole in the middle",
			func(_ *History, final []Entry) []Entry { return append(final[:4:4], final[5:]...) },
			"is lost",
		},
		{"another content at an acknowledged offset", func(_ *History, final []Entry) []Entry {
			final[9].Value = RecordID{1, 77}.Value()
			return final
		}, "is now"},
		{"a record twice", func(_ *History, final []Entry) []Entry {
			return append(final, Entry{Offset: 10, Value: RecordID{1, 9}.Value()})
		}, "stands at"},
		{"a damaged byte", func(_ *History, final []Entry) []Entry {
			for i := range final {
				if n := len(final[i].Value); n > 20 {
					final[i].Value[n-1] ^= 1
					return final
				}
			}
			panic("no value is long enough")
		}, "damaged content"},
		{"two contents for one consumer", func(h *History, final []Entry) []Entry {
			h.Read(0, 3, RecordID{1, 99}.Value())
			return final
		}, "was read as"},
		{"one offset acknowledged twice", func(h *History, final []Entry) []Entry {
			h.Acked(0, 3, RecordID{2, 0})
			return final
		}, "was acknowledged to"},
		{"a read record that vanished though never acknowledged", func(h *History, final []Entry) []Entry {
			h.Read(0, 10, RecordID{1, 10}.Value())
			return final
		}, "read record"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, final := clean()
			s := h.Check(c.plant(h, final))
			got := strings.Join(s.Violations, "\n")
			if c.report == "" && got != "" || !strings.Contains(got, c.report) {
				t.Errorf("violations: %q, want %q", got, c.report)
			}
		})
	}
}
