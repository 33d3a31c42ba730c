package wire

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// Goal: ParseHeader reads what kmsg's formatter writes, for every API and version. Method: random client ids.
func TestParseHeaderAgreesWithKmsg(t *testing.T) {
	for i := range Served {
		row := &Served[i]
		for _, version := range versions(row.Key) {
			t.Run(fmt.Sprint(row.Name, " v", version), func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					correlationID := rapid.Int32().Draw(t, "correlation id")
					want := RequestHeader{Key: row.Key, Version: version, CorrelationID: correlationID}
					var options []kmsg.RequestFormatterOpt
					if rapid.Bool().Draw(t, "has client id") {
						id := rapid.String().Draw(t, "client id")
						want.ClientID = []byte(id)
						options = append(options, kmsg.FormatterClientID(id))
					}
					request := kmsg.RequestForKey(row.Key)
					request.SetVersion(version)
					frame := kmsg.NewRequestFormatter(options...).AppendRequest(nil, request, want.CorrelationID)[4:]
					got, body, err := ParseHeader(frame)
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatal(diff)
					}
					if diff := cmp.Diff(string(request.AppendTo(nil)), string(body)); diff != "" {
						t.Fatal(diff)
					}
				})
			})
		}
	}
}

func TestParseHeader(t *testing.T) {
	cases := []struct {
		name  string
		frame string
		want  RequestHeader
		body  string
		err   error
	}{
		{"version 1 of the header", "\x00\x03\x00\x01\x00\x00\x00\x07\x00\x02idbody",
			RequestHeader{3, 1, 7, []byte("id")}, "body", nil},
		{"a null client id", "\x00\x03\x00\x01\x00\x00\x00\x07\xff\xffbody", RequestHeader{3, 1, 7, nil}, "body", nil},
		{"version 2 of the header keeps a long client id length", "\x00\x03\x00\x09\x00\x00\x00\x07\x00\x02id\x00body",
			RequestHeader{3, 9, 7, []byte("id")}, "body", nil},
		{"unknown tagged fields", "\x00\x03\x00\x09\x00\x00\x00\x07\x00\x02id\x02\x05\x01!\x06\x00body",
			RequestHeader{3, 9, 7, []byte("id")}, "body", nil},
		{"nothing at all", "", RequestHeader{}, "", &DecodeError{Key: NoKey, Reason: cutShort}},
		{"a key and no version", "\x00\x03\x00", RequestHeader{Key: 3}, "",
			&DecodeError{Key: NoKey, Position: 2, Reason: cutShort}},
		{"no correlation id", "\x00\x03\x00\x01\x00\x00", RequestHeader{Key: 3, Version: 1}, "",
			&DecodeError{Key: 3, Version: 1, Position: 4, Reason: cutShort}},
		{"a client id longer than the frame", "\x00\x03\x00\x01\x00\x00\x00\x07\x00\x09id",
			RequestHeader{Key: 3, Version: 1, CorrelationID: 7}, "",
			&DecodeError{Key: 3, Version: 1, Position: 10, Reason: cutShort}},
		{"an unknown key", "\x03\xe7\x00\x00\x00\x00\x00\x07\xff\xff", RequestHeader{Key: 999}, "",
			&UnsupportedError{999, 0}},
		{"a negative key", "\xff\xff\x00\x00\x00\x00\x00\x07\xff\xff", RequestHeader{Key: -1}, "",
			&UnsupportedError{-1, 0}},
		{"Produce 2, which is shown but refused", "\x00\x00\x00\x02\x00\x00\x00\x07\xff\xff",
			RequestHeader{0, 2, 7, nil}, "", &UnsupportedError{0, 2}},
		{"ApiVersions of the future has a header that can be read",
			"\x00\x12\x00\x63\x00\x00\x00\x07\x00\x02id\x00what?",
			RequestHeader{18, 99, 7, []byte("id")}, "", &UnsupportedError{18, 99}},
		{"ApiVersions below zero", "\x00\x12\xff\xff\x00\x00\x00\x07\x00\x02id",
			RequestHeader{18, -1, 7, []byte("id")}, "", &UnsupportedError{18, -1}},
		{"ApiVersions of the future with a header of the past",
			"\x00\x12\x00\x05\x00\x00\x00\x07\x00\x02id",
			RequestHeader{18, 5, 7, []byte("id")}, "",
			&DecodeError{Key: 18, Version: 5, Position: 12, Reason: cutShort}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h, body, err := ParseHeader([]byte(c.frame))
			if diff := cmp.Diff(c.err, err); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.want, h); diff != "" {
				t.Error(diff)
			}
			if string(body) != c.body {
				t.Errorf("body %q, want %q", body, c.body)
			}
		})
	}
}

func TestErrorsSayWhatAndWhere(t *testing.T) {
	cases := []struct {
		err  error
		want string
	}{
		{&DecodeError{Key: 3, Version: 9, Position: 2, Field: "Name", Reason: nullField},
			"Metadata v9: Name at byte 2: null where the field must have a value"},
		{&DecodeError{Key: NoKey, Reason: cutShort},
			"api key -1 v0: request at byte 0: the frame ends inside the field"},
		{&UnsupportedError{18, 99}, "ApiVersions v99 is not served"},
	}
	for _, c := range cases {
		if c.err.Error() != c.want {
			t.Errorf("%q, want %q", c.err, c.want)
		}
	}
}

// The header of a response is flexible with its body, except for ApiVersions.
func TestAppendResponseHeader(t *testing.T) {
	cases := []struct {
		key, version int16
		want         string
	}{
		{KeyProduce, 8, "\x00\x00\x00\x05"}, {KeyProduce, 9, "\x00\x00\x00\x05\x00"},
		{KeyApiVersions, 0, "\x00\x00\x00\x05"}, {KeyApiVersions, 3, "\x00\x00\x00\x05"},
		{KeyApiVersions, 4, "\x00\x00\x00\x05"},
		{KeyDescribeCluster, 0, "\x00\x00\x00\x05\x00"},
	}
	for _, c := range cases {
		if got := AppendResponseHeader(nil, c.key, c.version, 5); string(got) != c.want {
			t.Errorf("%s v%d: %q", Name(c.key), c.version, got)
		}
	}
}
