package subscription

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func text(s string) *string { return &s }

// golden calls f for each value in testdata, which are the bytes of unmodified clients: two members of one library
// that consume the topics orders (4 partitions) and payments.eu (3), as DescribeGroups of Apache Kafka 4.3.1 gives
// them back. Java is 4.3.1, franz-go 1.22.2, kafkajs 2.2.4, aiokafka 0.14.0,
// confluent (librdkafka) 2.16.1, and librdkafka is 2.0.2.
func golden(tb testing.TB, f func(name, kind string, b []byte)) {
	paths, err := filepath.Glob("testdata/*.hex")
	if err != nil || len(paths) == 0 {
		tb.Fatal(paths, err)
	}
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(file))
		for i := 1; lines.Scan(); i++ {
			kind, digits, _ := strings.Cut(lines.Text(), " ")
			b, err := hex.DecodeString(digits)
			if err != nil {
				tb.Fatal(path, err)
			}
			f(fmt.Sprintf("%s line %d", filepath.Base(path), i), kind, b)
		}
	}
}

// Goal: what clients write is understood to the last byte. Method: encoding what was read gives the bytes again, and
// the members of each group together own each partition once.
func TestGolden(t *testing.T) {
	owned := map[string]int{}
	golden(t, func(name, kind string, b []byte) {
		group, _, _ := strings.Cut(name, " ")
		switch kind {
		case "subscription":
			s, err := Parse(b)
			if err != nil || !bytes.Equal(s.Append(nil), b) {
				t.Errorf("%s: %x\nis read as %+v, %v\nwritten as %x", name, b, s, err, s.Append(nil))
			}
			topics, err := ParseTopics(b)
			slices.Sort(topics)
			if err != nil || !slices.Equal(topics, []string{"orders", "payments.eu"}) {
				t.Errorf("%s: topics %v, %v", name, topics, err)
			}
		case "assignment":
			a, err := ParseAssignment(b)
			if err != nil || !bytes.Equal(a.Append(nil), b) {
				t.Errorf("%s: %x\nis read as %+v, %v\nwritten as %x", name, b, a, err, a.Append(nil))
			}
			for _, tp := range a.Partitions {
				for _, p := range tp.Partitions {
					owned[fmt.Sprintf("%s %s-%d", group, tp.Topic, p)]++
				}
			}
		}
	})
	groups := map[string]int{}
	for partition, owners := range owned {
		group, _, _ := strings.Cut(partition, " ")
		groups[group]++
		if owners != 1 {
			t.Errorf("%s has %d owners", partition, owners)
		}
	}
	for group, partitions := range groups {
		if partitions != 7 {
			t.Errorf("%s has %d partitions", group, partitions)
		}
	}
}

// Goal: each version has its fields and no others. Method: the bytes of a value that has all fields.
func TestVersions(t *testing.T) {
	s := Subscription{
		Topics:     []string{"a"},
		UserData:   []byte{7},
		Owned:      []TopicPartitions{{"a", []int32{1, 2}}},
		Generation: 5,
		Rack:       text("r"),
	}
	v0 := "00000001" + "000161" + "00000001" + "07"
	v1 := v0 + "00000001" + "000161" + "00000002" + "00000001" + "00000002"
	v2 := v1 + "00000005"
	v3 := v2 + "000172"
	for version, rest := range []string{v0, v1, v2, v3, v3} {
		s.Version = int16(version)
		want := fmt.Sprintf("%04x", min(version, 3)) + rest
		if got := hex.EncodeToString(s.Append(nil)); got != want {
			t.Errorf("version %d is written as\n%s, not\n%s", version, got, want)
		}
		b, err := hex.DecodeString(fmt.Sprintf("%04x", version) + rest + "ffff") // what a later version adds is ignored
		if err != nil {
			t.Fatal(err)
		}
		read := s
		if version < 1 {
			read.Owned = nil
		}
		if version < 2 {
			read.Generation = NoGeneration
		}
		if version < 3 {
			read.Rack = nil
		}
		if got, err := Parse(b); err != nil || !reflect.DeepEqual(got, read) {
			t.Errorf("version %d is read as %+v, %v", version, got, err)
		}
		if got, err := ParseVersion(b); err != nil || int(got) != version {
			t.Errorf("version %d is read as version %d, %v", version, got, err)
		}
	}
	nothing := Subscription{Version: 3, Generation: NoGeneration}
	if got, err := Parse(nothing.Append(nil)); err != nil || !reflect.DeepEqual(got, nothing) {
		t.Errorf("nothing is read as %+v, %v", got, err)
	}
}

// Goal: bytes that are no value are refused, with the place and the reason, and without panic or much memory.
func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		name, digits, reason string
		prefix               bool // whether the topics can be read nevertheless
	}{
		{"nothing", "", "at byte 0: the bytes end too early", false},
		{"half a version", "00", "at byte 0: the bytes end too early", false},
		{"a negative version", "ffff", "at byte 2: the version is negative", false},
		{"a negative version of nothing", "ffff00000000ffffffff", "at byte 2: the version is negative", true},
		{"no topics", "0000", "at byte 2: the bytes end too early", false},
		{"null topics", "0000ffffffff", "at byte 6: an array has a negative length", false},
		{"more topics than bytes", "00007fffffff0000",
			"at byte 6: an array is longer than the bytes that are left", false},
		{"a null topic", "000000000001ffff", "at byte 8: a string has a negative length", false},
		{"a topic that is cut", "000000000001000561", "at byte 8: the bytes end too early", false},
		{"user data that is cut", "000000000000000000056161", "at byte 10: the bytes end too early", false},
		{"no owned partitions", "000100000000ffffffff", "at byte 10: the bytes end too early", true},
		{"more owned than bytes", "000100000000ffffffff00000002000000000000",
			"at byte 14: an array is longer than the bytes that are left", true},
		{"more partitions than bytes", "000100000000ffffffff00000001000000000002ffffffff",
			"at byte 20: an array is longer than the bytes that are left", true},
		{"no generation", "000200000000ffffffff00000000", "at byte 14: the bytes end too early", true},
		{"a rack that is cut", "000300000000ffffffff00000000000000010005", "at byte 20: the bytes end too early", true},
	} {
		b, err := hex.DecodeString(c.digits)
		if err != nil {
			t.Fatal(c.name, err)
		}
		_, err = Parse(b)
		var malformed *MalformedError
		if !errors.As(err, &malformed) || err.Error() != "malformed consumer protocol "+c.reason {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := ParseTopics(b); (err == nil) != c.prefix {
			t.Errorf("%s: topics: %v", c.name, err)
		}
	}
	if _, err := ParseAssignment([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 9}); err == nil {
		t.Error("an assignment that is cut is taken")
	}
	if _, err := ParseVersion([]byte{1}); err == nil {
		t.Error("half a version is taken")
	}
}

// FuzzParse compares with kmsg's codec of the same protocol: what is read here is read there alike, and what is written
// is read again.
func FuzzParse(f *testing.F) {
	golden(f, func(_, kind string, b []byte) {
		if kind == "subscription" {
			f.Add(b)
		}
	})
	f.Add([]byte{0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics, prefixErr := ParseTopics(b)
		s, err := Parse(b)
		if err != nil {
			return
		}
		if prefixErr != nil || strings.Join(topics, "\x00") != strings.Join(s.Topics, "\x00") {
			t.Fatalf("topics %q and %q, %v", topics, s.Topics, prefixErr)
		}
		if again, err := Parse(s.Append(nil)); err != nil || again.Version != min(s.Version, VersionMax) {
			t.Fatalf("%+v is read as %+v, %v", s, again, err)
		} else if again.Version = s.Version; !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v is read as %+v", s, again)
		}
		var theirs kmsg.ConsumerMemberMetadata
		if err := theirs.ReadFrom(b); err != nil {
			t.Fatalf("kmsg does not read %+v: %v", s, err)
		}
		if len(theirs.Topics) != len(s.Topics) || len(theirs.OwnedPartitions) != len(s.Owned) ||
			!bytes.Equal(theirs.UserData, s.UserData) || s.Version >= 2 && theirs.Generation != s.Generation {
			t.Fatalf("kmsg reads %+v, not %+v", theirs, s)
		}
	})
}

// FuzzParseAssignment is the same for assignments.
func FuzzParseAssignment(f *testing.F) {
	golden(f, func(_, kind string, b []byte) {
		if kind == "assignment" {
			f.Add(b)
		}
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAssignment(b)
		if err != nil {
			return
		}
		if again, err := ParseAssignment(a.Append(nil)); err != nil {
			t.Fatalf("%+v is not read again: %v", a, err)
		} else if again.Version = a.Version; !reflect.DeepEqual(again, a) {
			t.Fatalf("%+v is read as %+v", a, again)
		}
		var theirs kmsg.ConsumerMemberAssignment
		if err := theirs.ReadFrom(b); err != nil || len(theirs.Topics) != len(a.Partitions) {
			t.Fatalf("kmsg reads %+v, %v, not %+v", theirs, err, a)
		}
	})
}
