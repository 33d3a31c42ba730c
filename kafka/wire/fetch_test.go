package wire

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"spate/kafka"
)

// Goal: Parse reads what kmsg writes, at every version. Method: random requests, written by kmsg, parsed here, given
// back to kmsg, written again: the bytes are the same. Unknown tagged fields are passed over.
func TestFetchRequestAgreesWithKmsg(t *testing.T) {
	for _, version := range versions(KeyFetch) {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			var parsed FetchRequest // one for all: nothing of the last request may shine through
			rapid.Check(t, func(t *rapid.T) {
				request := kmsg.NewPtrFetchRequest()
				fillRandom(t, reflect.ValueOf(request).Elem())
				request.Version = version
				dropLaterFetchFields(request)
				body := request.AppendTo(nil)
				if err := parsed.Parse(version, body); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(body, toKmsgFetch(version, &parsed).AppendTo(nil)); diff != "" {
					t.Fatal(diff)
				}
				tagged := retag(t, request)
				if err := parsed.Parse(version, tagged); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(body, toKmsgFetch(version, &parsed).AppendTo(nil)); diff != "" {
					t.Fatal(diff)
				}
				checkCuts(t, tagged, func(b []byte) error { return parsed.Parse(version, b) })
			})
		})
	}
}

// dropLaterFetchFields resets the tagged fields that the version does not have yet: kmsg writes them from the first
// flexible version on.
func dropLaterFetchFields(request *kmsg.FetchRequest) {
	if request.Version < 15 {
		request.ReplicaState.Default()
	}
	for _, topic := range request.Topics {
		for i := range topic.Partitions {
			if request.Version < 17 {
				topic.Partitions[i].ReplicaDirectoryID = kafka.ZeroUUID
			}
			if request.Version < 18 {
				topic.Partitions[i].HighWatermark = int64(UnknownHighWatermark)
			}
		}
	}
}

// Goal: what kmsg reads from an encoded response is what was put in, at every version. Method: random responses,
// encoded by kmsg and here: the bytes are the same.
func TestFetchResponseAgreesWithKmsg(t *testing.T) {
	for _, version := range versions(KeyFetch) {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				response := kmsg.NewPtrFetchResponse()
				fillRandom(t, reflect.ValueOf(response).Elem())
				response.Version = version
				for i := range response.Brokers {
					emptyToNull(&response.Brokers[i].Rack)
				}
				if version < 16 { // kmsg writes tagged fields from the first flexible version on
					response.Brokers = nil
				}
				want := kmsgFrame(response, 7)
				if diff := cmp.Diff(want, encodeFetchResponse(response, 7)); diff != "" {
					t.Fatal(diff)
				}
			})
		})
	}
}

// The encoder may append to a buffer that holds something already.
func TestFetchResponseEncoderAppends(t *testing.T) {
	var e FetchResponseEncoder
	encode := func(dst []byte) []byte {
		e.Begin(dst, 12, FetchResponseHead{CorrelationID: 3, TopicCount: 1})
		e.Topic([]byte("t"), kafka.ZeroUUID, 1)
		e.Partition(&FetchPartitionResult{Leader: CurrentLeader{true, 1, 2}}, 100)
		e.EndPartition()
		e.EndTopic()
		return e.End(nil)
	}
	alone, behind := encode(nil), encode([]byte("before"))
	if diff := cmp.Diff("before"+string(alone), string(behind)); diff != "" {
		t.Fatal(diff)
	}
	if e.RecordsBytes() != 100 {
		t.Fatal(e.RecordsBytes())
	}
	if want := len(alone) - 4 + 100; int(alone[3]) != want {
		t.Fatalf("size %d, want %d", alone[3], want)
	}
}

// What a request does not say has Kafka's default.
func TestFetchRequestDefaults(t *testing.T) {
	for _, version := range versions(KeyFetch) {
		request := kmsg.NewPtrFetchRequest()
		request.Version = version
		request.Topics = []kmsg.FetchRequestTopic{{Partitions: []kmsg.FetchRequestTopicPartition{
			kmsg.NewFetchRequestTopicPartition(),
		}}}
		var f FetchRequest
		if err := f.Parse(version, request.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		if f.ReplicaID != kafka.NoBroker || f.ReplicaEpoch != -1 || f.SessionID != 0 || f.SessionEpoch != -1 {
			t.Fatalf("v%d: %+v", version, f)
		}
		want := FetchPartition{
			CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
			LogStartOffset: kafka.NoOffset, HighWatermark: UnknownHighWatermark,
		}
		if diff := cmp.Diff(want, f.Topics[0].Partitions[0]); diff != "" {
			t.Fatalf("v%d: %s", version, diff)
		}
	}
}

func TestFetchRequestFaults(t *testing.T) {
	const head4 = "\xff\xff\xff\xff" + "\x00\x00\x01\xf4" + "\x00\x00\x00\x01" + "\x00\x10\x00\x00" + "\x00"
	const head7 = head4 + "\x00\x00\x00\x00" + "\xff\xff\xff\xff"
	head13 := head7 + "\x01\x01\x01"                              // no topics, nothing forgotten, empty rack
	head15 := head13[4:]                                          // no replica id
	const partition17 = "\x00\x00\x00\x00" + "\xff\xff\xff\xff" + // index, current leader epoch
		"\x00\x00\x00\x00\x00\x00\x00\x00" + "\xff\xff\xff\xff" + // fetch offset, last fetched epoch
		"\xff\xff\xff\xff\xff\xff\xff\xff" + "\x00\x10\x00\x00" // log start offset, max bytes
	topic17 := head7[4:] + "\x02" + string(make([]byte, 16)) + "\x02" + partition17
	cases := []struct {
		name    string
		version int16
		body    string
		want    DecodeError
	}{
		{"an empty body", 4, "", DecodeError{Position: 0, Reason: cutShort}},
		{"a null array of topics", 4, head4 + "\xff\xff\xff\xff", DecodeError{Position: 21, Reason: nullField}},
		{"a lying count of topics", 4, head4 + "\x10\x00\x00\x00", DecodeError{Position: 21, Reason: shortArray}},
		{"a lying count of partitions", 4, head4 + "\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02" + partition17[:31],
			DecodeError{Position: 28, Reason: shortArray}},
		{"a lying count of forgotten partitions", 7,
			head7 + "\x00\x00\x00\x00" + "\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x02" + "\x00\x00\x00\x00",
			DecodeError{Position: 40, Reason: shortArray}},
		{"a null rack", 11, head7 + "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff",
			DecodeError{Position: 35, Reason: nullField}},
		{"a cluster id shorter than its tagged field", 13, head13 + "\x01\x00\x03\x02a!",
			DecodeError{Position: 33, Reason: wrongSize}},
		{"a replica state longer than its tagged field", 15, head15 + "\x01\x01\x05" + string(make([]byte, 13)),
			DecodeError{Position: 40, Reason: wrongSize}},
		{"a directory id of the wrong size", 17, topic17 + "\x01\x00\x0f" + string(make([]byte, 16)),
			DecodeError{Position: 90, Reason: wrongSize}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var f FetchRequest
			err := f.Parse(c.version, []byte(c.body))
			c.want.Key, c.want.Version = KeyFetch, c.version
			if diff := cmp.Diff(error(&c.want), err); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}
