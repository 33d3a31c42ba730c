package kafka

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Goal: the table is Kafka's. Method: the enumeration of Apache Kafka 4.3.1, as its own classes print it, line by line.
func TestErrorTableIsThatOfKafka(t *testing.T) {
	text, err := os.ReadFile("testdata/errors.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[int16]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var want Error
		if _, err := fmt.Sscan(line, &want.Code, &want.Name, &want.Retriable); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		message := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)[3]
		listed[want.Code] = true
		if want.Code == NoError {
			continue
		}
		var got *Error
		if !errors.As(ErrorOf(want.Code), &got) || *got != want {
			t.Errorf("code %d is %v, want %v", want.Code, ErrorOf(want.Code), want)
		} else if got.Message() != message {
			t.Errorf("%v says %q, want %q", got, got.Message(), message)
		}
	}
	const firstOf44 = 134
	for _, e := range errorTable {
		if !listed[e.Code] && e.Code < firstOf44 {
			t.Errorf("Kafka has no %v", e)
		}
	}
}

func TestErrorTableHasNoDuplicates(t *testing.T) {
	codes, names := map[int16]bool{}, map[string]bool{}
	for _, e := range errorTable {
		if codes[e.Code] || names[e.Name] {
			t.Errorf("%d %s is there twice", e.Code, e.Name)
		}
		codes[e.Code], names[e.Name] = true, true
	}
}

func TestCodeOf(t *testing.T) {
	cases := []struct {
		name string
		err  error
		want int16
	}{
		{"success", nil, NoError},
		{"a row of the table", OffsetOutOfRange, 1},
		{"a wrapped row", fmt.Errorf("read t-0: %w", fmt.Errorf("segment 7: %w", CorruptMessage)), 2},
		{"the first of two rows", errors.Join(NotLeaderOrFollower, CorruptMessage), 6},
		{"an error of another kind", errors.New("disk on fire"), -1},
	}
	for _, c := range cases {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestErrorOf(t *testing.T) {
	if err := ErrorOf(NoError); err != nil {
		t.Error(err)
	}
	for _, e := range errorTable {
		if got := ErrorOf(e.Code); !errors.Is(got, e) || CodeOf(got) != e.Code || got.Error() != e.Name {
			t.Errorf("%d gives %v", e.Code, got)
		}
	}
	if err := ErrorOf(9999); err == nil || err.Error() != "unknown error code 9999" || CodeOf(err) != -1 {
		t.Error(err)
	}
}

func TestCodeOfDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _ = CodeOf(NotLeaderOrFollower) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
