package kafka

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestTopicPartitionIsADirectoryName(t *testing.T) {
	if got := (TopicPartition{"a-b.c", 12}).String(); got != "a-b.c-12" {
		t.Error(got)
	}
}

// The texts are those of org.apache.kafka.common.Uuid.
func TestUUIDText(t *testing.T) {
	cases := []struct {
		id   UUID
		text string
	}{
		{ZeroUUID, "AAAAAAAAAAAAAAAAAAAAAA"},
		{MetadataTopicUUID, "AAAAAAAAAAAAAAAAAAAAAQ"},
		{UUID{0xfb, 0xff, 15: 0xff}, "-_8AAAAAAAAAAAAAAAAA_w"},
	}
	for _, c := range cases {
		if got := c.id.String(); got != c.text {
			t.Errorf("%q, want %q", got, c.text)
		}
		if got, err := ParseUUID(c.text); err != nil || got != c.id {
			t.Errorf("%q gives %v, %v", c.text, got, err)
		}
	}
}

func TestParseUUIDRefuses(t *testing.T) {
	for _, text := range []string{
		"", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAA+AAAAAAAAAA",
	} {
		if id, err := ParseUUID(text); err == nil || !strings.Contains(err.Error(), "is not a uuid") {
			t.Errorf("%q gives %v, %v", text, id, err)
		}
	}
}

func TestNewUUIDIsVersion4(t *testing.T) {
	got, err := NewUUID(bytes.NewReader(bytes.Repeat([]byte{0x7f}, 16)))
	want := UUID{
		0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x4f, 0x7f, 0xbf, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f,
	}
	if err != nil || got != want {
		t.Errorf("%x, %v", got, err)
	}
}

// A name that begins with a dash looks like a flag on a command line: such a draw is thrown away, as Kafka does.
func TestNewUUIDNeverBeginsWithADash(t *testing.T) {
	draws := append(bytes.Repeat([]byte{0xfb}, 16), bytes.Repeat([]byte{1}, 16)...)
	got, err := NewUUID(bytes.NewReader(draws))
	if err != nil || got[0] != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestNewUUIDFailsWithItsSource(t *testing.T) {
	broken := errors.New("no entropy")
	if _, err := NewUUID(failing{broken}); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestNewUUIDDrawsFromTheSystem(t *testing.T) {
	a, errA := NewUUID(nil)
	b, errB := NewUUID(nil)
	if errA != nil || errB != nil || a == b || a == ZeroUUID {
		t.Error(a, b, errA, errB)
	}
}
