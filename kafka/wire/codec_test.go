package wire

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"spate/kafka"
)

// everyDecoded runs test for every API that DecodeRequest decodes, at every version.
func everyDecoded(t *testing.T, test func(t *testing.T, row *API, version int16)) {
	for i := range Served {
		row := &Served[i]
		for _, version := range versions(row.Key) {
			if row.body != nil {
				t.Run(fmt.Sprint(row.Name, " v", version), func(t *testing.T) { test(t, row, version) })
			}
		}
	}
}

// randomRequest gives a request with values in every field that the version has, and its body.
func randomRequest(t *rapid.T, key, version int16) (kmsg.Request, []byte) {
	request := kmsg.RequestForKey(key)
	fillRandom(t, reflect.ValueOf(request).Elem())
	request.SetVersion(version)
	switch r := request.(type) { // kmsg writes what the schema does not allow
	case *kmsg.MetadataRequest:
		if version == 0 && r.Topics == nil {
			r.Topics = []kmsg.MetadataRequestTopic{}
		}
		for i := range r.Topics {
			if version < 10 && r.Topics[i].Topic == nil {
				r.Topics[i].Topic = kmsg.StringPtr("t")
			}
		}
	case *kmsg.OffsetFetchRequest:
		if version < 2 && r.Topics == nil {
			r.Topics = []kmsg.OffsetFetchRequestTopic{}
		}
	}
	return request, request.AppendTo(nil)
}

// Goal: the shapes are those of the protocol. Method: random requests written by kmsg pass, with unknown tagged fields
// too, and give the same bytes when written again; every prefix of them fails.
func TestDecodeRequestAgreesWithKmsg(t *testing.T) {
	everyDecoded(t, func(t *testing.T, row *API, version int16) {
		rapid.Check(t, func(t *rapid.T) {
			request, body := randomRequest(t, row.Key, version)
			got, err := DecodeRequest(row.Key, version, body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(body, got.AppendTo(nil)); diff != "" {
				t.Fatal(diff)
			}
			tagged := retag(t, request)
			if got, err = DecodeRequest(row.Key, version, tagged); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(body, got.AppendTo(nil)); diff != "" {
				t.Fatal(diff)
			}
			checkCuts(t, tagged, func(b []byte) error {
				_, err := DecodeRequest(row.Key, version, b)
				return err
			})
		})
	})
}

// Goal: the decoded request does not change when the frame's buffer is used again, but for bytes fields.
func TestDecodeRequestCopiesStrings(t *testing.T) {
	everyDecoded(t, func(t *testing.T, row *API, version int16) {
		rapid.Check(t, func(t *rapid.T) {
			request, _ := randomRequest(t, row.Key, version)
			switch r := request.(type) { // bytes fields are views
			case *kmsg.JoinGroupRequest:
				r.Protocols = nil
			case *kmsg.SyncGroupRequest:
				r.GroupAssignment = nil
			}
			body := request.AppendTo(nil)
			want := bytes.Clone(body)
			got, err := DecodeRequest(row.Key, version, body)
			if err != nil {
				t.Fatal(err)
			}
			clear(body)
			if diff := cmp.Diff(want, got.AppendTo(nil)); diff != "" {
				t.Fatal(diff)
			}
		})
	})
}

func TestDecodeRequestFaults(t *testing.T) {
	cases := []struct {
		name    string
		key     int16
		version int16
		body    string
		want    DecodeError
	}{
		{"no topics for Metadata", KeyMetadata, 1, "", DecodeError{Position: 0, Field: "Topics", Reason: cutShort}},
		{"null topics in Metadata 0", KeyMetadata, 0, "\xff\xff\xff\xff",
			DecodeError{Position: 4, Field: "Topics", Reason: nullField}},
		{"a null name in Metadata 9", KeyMetadata, 9, "\x02\x00\x00\x00\x00\x00\x00",
			DecodeError{Position: 2, Field: "Name", Reason: nullField}},
		{"a name longer than the frame", KeyMetadata, 1, "\x00\x00\x00\x01\x00\x05abc",
			DecodeError{Position: 6, Field: "Name", Reason: cutShort}},
		{"a name of 32768 bytes", KeyMetadata, 9,
			"\x02\x81\x80\x02" + strings.Repeat("a", 1<<15) + "\x00\x00\x00\x00\x00",
			DecodeError{Position: 4, Field: "Name", Reason: longString}},
		{"more topics than bytes", KeyMetadata, 1, "\x00\x00\x00\x02\x00\x00\x00",
			DecodeError{Position: 4, Field: "Topics", Reason: shortArray}},
		{"two billion partitions", KeyListOffsets, 1,
			"\xff\xff\xff\xff\x00\x00\x00\x01\x00\x01t\x7f\xff\xff\xff" + strings.Repeat("\x00", 12),
			DecodeError{Position: 15, Field: "Partitions", Reason: shortArray}},
		{"a million and one topics", KeyMetadata, 1, "\x00\x10\x00\x01" + strings.Repeat("\x00\x00", 1<<20+1),
			DecodeError{Position: 4, Field: "Topics", Reason: manyElements}},
		{"null names in DeleteTopics 1", KeyDeleteTopics, 1, "\xff\xff\xff\xff\x00\x00\x00\x00",
			DecodeError{Position: 4, Field: "TopicNames", Reason: nullField}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			request, err := DecodeRequest(c.key, c.version, []byte(c.body))
			c.want.Key, c.want.Version = c.key, c.version
			if diff := cmp.Diff(error(&c.want), err); diff != "" || request != nil {
				t.Fatal(diff)
			}
		})
	}
}

// A request with bytes behind it is served by Kafka: it comes with the error.
func TestDecodeRequestGivesWhatStandsBeforeLeftOverBytes(t *testing.T) {
	request, err := DecodeRequest(KeyMetadata, 1, []byte("\x00\x00\x00\x01\x00\x01tmore"))
	if want := error(&LeftOverError{KeyMetadata, 1, 4}); cmp.Diff(want, err) != "" || !OnlyLeftOver(err) {
		t.Fatal(err)
	}
	topics := request.(*kmsg.MetadataRequest).Topics
	if len(topics) != 1 || *topics[0].Topic != "t" {
		t.Fatal(topics)
	}
	if want := "Metadata v1: 4 bytes left over after the last field"; err.Error() != want {
		t.Fatal(err)
	}
	if request, err = DecodeRequest(KeyApiVersions, 0, nil); err != nil || request == nil {
		t.Fatal(request, err)
	}
}

func TestDecodeRequestRefusesWhatIsNotServed(t *testing.T) {
	for _, c := range []struct{ key, version int16 }{
		{KeyProduce, 9}, {KeyFetch, 12}, {KeyMetadata, 14}, {KeyMetadata, -1}, {KeyCreateTopics, 1}, {4, 0}, {-1, 0},
		{999, 0},
	} {
		request, err := DecodeRequest(c.key, c.version, nil)
		if want := error(&UnsupportedError{c.key, c.version}); cmp.Diff(want, err) != "" || request != nil {
			t.Errorf("%d v%d: %v", c.key, c.version, err)
		}
		if !errors.Is(err, kafka.UnsupportedVersion) {
			t.Errorf("%v is not %v", err, kafka.UnsupportedVersion)
		}
	}
}

// Goal: a hostile body allocates in proportion to its own length. Method: bodies made to claim much: minimal elements
// without end, tagged fields without end, and random bodies with counts blown up; each is measured.
func TestDecodeRequestAllocatesInProportion(t *testing.T) {
	everyDecoded(t, func(t *testing.T, row *API, version int16) {
		for name, body := range hostileBodies(row, version) {
			checkAllocates(t, name, len(body), func() { _, _ = DecodeRequest(row.Key, version, body) })
		}
	})
}

func hostileBodies(row *API, version int16) map[string][]byte {
	flexible := version >= row.Flexible
	bodies := map[string][]byte{
		"all ones":        bytes.Repeat([]byte{0xff}, 4096),
		"all zeros":       make([]byte, 4096),
		"all 0x7f":        bytes.Repeat([]byte{0x7f}, 4096),
		"all twos":        bytes.Repeat([]byte{2}, 4096),
		"dense":           densest(row.body, version, flexible, 0, 5_000),
		"densely nested":  densest(row.body, version, flexible, 0, 100),
		"tagged":          densest(row.body, version, flexible, 1, 2_000),
		"tagged and deep": densest(row.body, version, flexible, 3, 50),
	}
	whole := bodies["densely nested"]
	for at := 0; at+4 <= min(len(whole), 64); at += 4 {
		lying := bytes.Clone(whole)
		copy(lying[at:], "\xff\xff\xff\x7f")
		bodies[fmt.Sprint("lying at ", at)] = lying
		lying = bytes.Clone(whole)
		copy(lying[at:], appendInt32(nil, int32(len(whole)-at-4)))
		bodies[fmt.Sprint("lying within the frame at ", at)] = lying
	}
	return bodies
}

// densest writes the shortest body of shape whose arrays each hold n elements, with tagged empty fields after each
// structure.
func densest(s shape, version int16, flexible bool, tagged, n int) (b []byte) {
	for i := range s {
		f := &s[i]
		switch {
		case !f.in(version):
		case f.kind == arrayKind || f.kind == arrayOfValuesKind:
			b = appendLength(b, flexible, n)
			element := densest(f.elements, version, flexible, tagged, min(n, 10))
			if f.kind == arrayOfValuesKind && flexible {
				element = element[:len(element)-len(emptyTags(tagged))]
			}
			b = append(b, bytes.Repeat(element, n)...)
		case f.kind == structureKind:
			b = append(append(b, 1), densest(f.elements, version, flexible, tagged, n)...)
		case f.kind == stringKind:
			b = appendString(b, flexible, "")
		case f.kind == bytesKind:
			b = appendLength(b, flexible, 0)
		default:
			b = append(b, make([]byte, fixedBytes[f.kind])...)
		}
	}
	if flexible {
		b = append(b, emptyTags(tagged)...)
	}
	return b
}

func emptyTags(n int) []byte {
	b := []byte{byte(n)}
	for i := range n {
		b = append(b, byte(100+i), 0)
	}
	return b
}

// checkAllocates fails when run allocates more than memoryFactor times bodyBytes and 4 KiB. What other goroutines
// allocate meanwhile is counted too: only the third failing go counts.
func checkAllocates(t *testing.T, name string, bodyBytes int, run func()) {
	t.Helper()
	limit := memoryFactor*uint64(bodyBytes) + 4096
	var allocated uint64
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		if allocated = after.TotalAlloc - before.TotalAlloc; allocated <= limit {
			return
		}
	}
	t.Errorf("%s: %d bytes of body took %d bytes of memory", name, bodyBytes, allocated)
}

// The densest bodies do decode: the measurement above would be of nothing otherwise.
func TestDensestBodiesAreValid(t *testing.T) {
	everyDecoded(t, func(t *testing.T, row *API, version int16) {
		for _, n := range []int{0, 1, 30} {
			body := densest(row.body, version, version >= row.Flexible, n%3, n)
			if _, err := DecodeRequest(row.Key, version, body); err != nil {
				t.Errorf("%d elements: %v", n, err)
			}
		}
	})
}

// Goal: a response frame has the size prefix, the header of its API and version, and kmsg's body.
func TestAppendResponseAgreesWithKmsg(t *testing.T) {
	everyDecoded(t, func(t *testing.T, row *API, version int16) {
		rapid.Check(t, func(t *rapid.T) {
			response := kmsg.ResponseForKey(row.Key)
			fillRandom(t, reflect.ValueOf(response).Elem())
			response.SetVersion(version)
			got := AppendResponse([]byte("before"), response, 99)
			if diff := cmp.Diff("before"+string(kmsgFrame(response, 99)), string(got)); diff != "" {
				t.Fatal(diff)
			}
		})
	})
}
