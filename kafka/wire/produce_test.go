package wire

import (
	"bytes"
	"errors"
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
func TestProduceRequestAgreesWithKmsg(t *testing.T) {
	for _, version := range versions(KeyProduce) {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			var parsed ProduceRequest // one for all: nothing of the last request may shine through
			rapid.Check(t, func(t *rapid.T) {
				request := kmsg.NewPtrProduceRequest()
				fillRandom(t, reflect.ValueOf(request).Elem())
				request.Version = version
				body := request.AppendTo(nil)
				if err := parsed.Parse(version, body); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(body, toKmsgProduce(version, &parsed).AppendTo(nil)); diff != "" {
					t.Fatal(diff)
				}
				tagged := retag(t, request)
				if err := parsed.Parse(version, tagged); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(body, toKmsgProduce(version, &parsed).AppendTo(nil)); diff != "" {
					t.Fatal(diff)
				}
				checkCuts(t, tagged, func(b []byte) error { return parsed.Parse(version, b) })
			})
		})
	}
}

// retag writes request with unknown tagged fields everywhere.
func retag(t *rapid.T, request kmsg.Request) []byte {
	eachTags(reflect.ValueOf(request).Elem(), func(tags *kmsg.Tags) {
		tags.Set(rapid.Uint32Range(64, 1<<32-1).Draw(t, "tag"), rapid.SliceOf(rapid.Byte()).Draw(t, "value"))
	})
	return request.AppendTo(nil)
}

// checkCuts wants an error for every proper prefix of body, and for body with a byte too many.
func checkCuts(t *rapid.T, body []byte, parse func([]byte) error) {
	n := rapid.IntRange(0, max(len(body)-1, 0)).Draw(t, "cut")
	if n < len(body) && !isDecodeError(parse(body[:n:n])) {
		t.Fatalf("%d of %d bytes were enough", n, len(body))
	}
	if err := parse(append(bytes.Clone(body), 0)); !OnlyLeftOver(err) {
		t.Fatalf("a byte too many: %v", err)
	}
}

func isDecodeError(err error) bool {
	var decode *DecodeError
	return errors.As(err, &decode)
}

// Goal: what kmsg reads from an encoded response is what was put in, at every version. Method: random responses,
// normalized to the version by kmsg, encoded here: the bytes are those of kmsg.
func TestProduceResponseAgreesWithKmsg(t *testing.T) {
	for _, version := range versions(KeyProduce) {
		t.Run(fmt.Sprint("v", version), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				response := kmsg.NewPtrProduceResponse()
				fillRandom(t, reflect.ValueOf(response).Elem())
				response.Version = version
				for _, topic := range response.Topics {
					for i := range topic.Partitions {
						emptyToNull(&topic.Partitions[i].ErrorMessage)
						if version < 10 {
							topic.Partitions[i].CurrentLeader.Default()
						}
						for j := range topic.Partitions[i].ErrorRecords {
							emptyToNull(&topic.Partitions[i].ErrorRecords[j].ErrorMessage)
						}
					}
				}
				for i := range response.Brokers {
					emptyToNull(&response.Brokers[i].Rack)
				}
				if version < 10 { // kmsg writes tagged fields from the first flexible version on
					response.Brokers = nil
				}
				want := kmsgFrame(response, 7)
				got := BeginFrame(nil, KeyProduce, version, 7)
				got = EndFrame(AppendProduceResponse(got, version, fromKmsgProduceResponse(response)), 0, 0)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatal(diff)
				}
			})
		})
	}
}

func emptyToNull(s **string) {
	if *s != nil && **s == "" {
		*s = nil
	}
}

// kmsgFrame is the frame of response by kmsg alone.
func kmsgFrame(response kmsg.Response, correlationID int32) []byte {
	frame := appendInt32(make([]byte, 4), correlationID)
	if response.IsFlexible() && response.Key() != KeyApiVersions {
		frame = append(frame, 0)
	}
	frame = response.AppendTo(frame)
	copy(frame, appendInt32(nil, int32(len(frame)-4)))
	return frame
}

func TestProduceRequestFaults(t *testing.T) {
	const name = "\x00\x01t"
	const head3 = "\xff\xff\xff\xff\x00\x00\x00\x01" // null transactional id, acks -1, timeout 1 ms
	const head9 = "\x00\xff\xff\x00\x00\x00\x01"
	cases := []struct {
		name    string
		version int16
		body    string
		want    DecodeError
	}{
		{"an empty body", 3, "", DecodeError{Position: 0, Reason: cutShort}},
		{"a null array of topics", 3, head3 + "\xff\xff\xff\xff", DecodeError{Position: 12, Reason: nullField}},
		{"a lying count of topics", 3, head3 + "\x7f\xff\xff\xff" + name,
			DecodeError{Position: 12, Reason: shortArray}},
		{"a null name", 3, head3 + "\x00\x00\x00\x01\xff\xff\x00\x00\x00\x00",
			DecodeError{Position: 14, Reason: nullField}},
		{"a lying count of partitions", 3, head3 + "\x00\x00\x00\x01" + name + "\x00\x00\x00\x09\x00\x00\x00\x00",
			DecodeError{Position: 19, Reason: shortArray}},
		{"records longer than the body", 3,
			head3 + "\x00\x00\x00\x01" + name + "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x05abcd",
			DecodeError{Position: 27, Reason: cutShort}},
		{"a compact array of four billion topics", 9, head9 + "\xff\xff\xff\xff\x0f\x00",
			DecodeError{Position: 12, Reason: shortArray}},
		{"a varint of six bytes", 9, head9 + "\xff\xff\xff\xff\xff\x01", DecodeError{Position: 11, Reason: longVarint}},
		{"a varint of 33 bits", 9, head9 + "\xff\xff\xff\xff\x1f", DecodeError{Position: 11, Reason: longVarint}},
		{"more tagged fields than bytes", 9, head9 + "\x01\xff\x01", DecodeError{Position: 10, Reason: manyTags}},
		{"a tagged field longer than the body", 9, head9 + "\x01\x01\x05\x09abc",
			DecodeError{Position: 11, Reason: cutShort}},
		{"a topic id cut short", 13, head9 + "\x02\x00\x01", DecodeError{Position: 8, Reason: shortArray}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var p ProduceRequest
			err := p.Parse(c.version, []byte(c.body))
			c.want.Version = c.version
			if diff := cmp.Diff(error(&c.want), err); diff != "" {
				t.Fatal(diff)
			}
			if kafka.CodeOf(err) != kafka.InvalidRequest.Code {
				t.Fatalf("code %d", kafka.CodeOf(err))
			}
		})
	}
}

// A null batch is told from an empty one: the broker answers both with an error of its own.
func TestProduceRequestTellsNullFromEmptyRecords(t *testing.T) {
	for _, version := range versions(KeyProduce) {
		request := kmsg.NewPtrProduceRequest()
		request.Version = version
		request.Topics = []kmsg.ProduceRequestTopic{{Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: 1, Records: nil}, {Partition: 2, Records: []byte{}},
		}}}
		var p ProduceRequest
		if err := p.Parse(version, request.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		got := p.Topics[0].Partitions
		if got[0].Records != nil || got[1].Records == nil || len(got[1].Records) != 0 {
			t.Fatalf("v%d: %#v", version, got)
		}
	}
}

// The slices of a request that was out of the ordinary are not kept.
func TestProduceRequestDropsLargeSlices(t *testing.T) {
	request := kmsg.NewPtrProduceRequest()
	request.Version = 9
	request.Topics = []kmsg.ProduceRequestTopic{{
		Topic: "t", Partitions: make([]kmsg.ProduceRequestTopicPartition, elementsKept+1),
	}}
	var p ProduceRequest
	if err := p.Parse(9, request.AppendTo(nil)); err != nil || len(p.Topics[0].Partitions) != elementsKept+1 {
		t.Fatal(err)
	}
	request.Topics = nil
	if err := p.Parse(9, request.AppendTo(nil)); err != nil || cap(p.partitions) > 0 {
		t.Fatal(err, cap(p.partitions))
	}
}
