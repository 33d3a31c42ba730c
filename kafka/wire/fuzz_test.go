package wire

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// seedFrames gives the fuzzer the captured requests and one plain request for each API and version.
func seedFrames(f *testing.F, want func(key int16) bool) (frames [][]byte) {
	f.Helper()
	for _, c := range readCaptures(f) {
		if c.request && want(c.key) {
			frames = append(frames, c.frame[sizeBytes:])
		}
	}
	for i := range Served {
		for _, version := range versions(Served[i].Key) {
			if !want(Served[i].Key) {
				continue
			}
			request := kmsg.RequestForKey(Served[i].Key)
			if Served[i].Key == KeyMetadata {
				request.(*kmsg.MetadataRequest).Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("t")}}
			}
			request.SetVersion(version)
			frames = append(frames, frameOf(request))
		}
	}
	return frames
}

// fuzzBodies seeds f with the bodies of requests to key, and runs test on a version that is served.
func fuzzBodies(f *testing.F, key int16, test func(t *testing.T, version int16, body []byte)) {
	for _, frame := range seedFrames(f, func(k int16) bool { return k == key }) {
		h, body, err := ParseHeader(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(h.Version, body)
	}
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		if Supports(key, version) {
			test(t, version, body)
		}
	})
}

// Whatever the frame, ParseHeader either splits it within its bounds or says why not.
func FuzzParseHeader(f *testing.F) {
	for _, frame := range seedFrames(f, func(int16) bool { return true }) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := ParseHeader(frame)
		if err != nil {
			if body != nil || err.Error() == "" {
				t.Fatalf("a body of %d bytes beside the error %q", len(body), err)
			}
			return
		}
		if !Supports(h.Key, h.Version) || !bytes.HasSuffix(frame, body) || len(frame) < 10+len(h.ClientID)+len(body) {
			t.Fatalf("%+v and a body of %d bytes out of %d", h, len(body), len(frame))
		}
	})
}

// Whatever Parse accepts, kmsg reads in the same way: both write the same bytes again.
func FuzzProduceRequest(f *testing.F) {
	fuzzBodies(f, KeyProduce, func(t *testing.T, version int16, body []byte) {
		var request ProduceRequest
		if err := request.Parse(version, body); err != nil && !OnlyLeftOver(err) {
			return
		}
		oracle := kmsg.NewPtrProduceRequest()
		oracle.Version = version
		if err := oracle.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		dropUnknownTags(oracle)
		if got, want := toKmsgProduce(version, &request).AppendTo(nil), oracle.AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("%x, kmsg reads %x", got, want)
		}
	})
}

// Whatever Parse accepts, kmsg reads in the same way: both write the same bytes again.
func FuzzFetchRequest(f *testing.F) {
	fuzzBodies(f, KeyFetch, func(t *testing.T, version int16, body []byte) {
		var request FetchRequest
		if err := request.Parse(version, body); err != nil && !OnlyLeftOver(err) {
			return
		}
		oracle := kmsg.NewPtrFetchRequest()
		oracle.Version = version
		if err := oracle.ReadFrom(body); err != nil {
			t.Fatal(err)
		}
		dropUnknownTags(oracle)
		dropLaterFetchFields(oracle)
		if got, want := toKmsgFetch(version, &request).AppendTo(nil), oracle.AppendTo(nil); !bytes.Equal(got, want) {
			t.Fatalf("%x, kmsg reads %x", got, want)
		}
	})
}

// Whatever DecodeRequest accepts can be written and read again, and is the same.
func FuzzDecodeRequest(f *testing.F) {
	for _, frame := range seedFrames(f, func(key int16) bool { return Lookup(key).body != nil }) {
		h, body, err := ParseHeader(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(h.Key, h.Version, body)
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		request, err := DecodeRequest(key, version, body)
		if (request == nil) != (err != nil && !OnlyLeftOver(err)) {
			t.Fatalf("%v beside the error %v", request, err)
		}
		if request == nil {
			return
		}
		written := request.AppendTo(nil)
		again, err := DecodeRequest(key, version, written)
		if err != nil {
			t.Fatalf("%x was read from %x: %v", written, body, err)
		}
		if rewritten := again.AppendTo(nil); !bytes.Equal(written, rewritten) {
			t.Fatalf("%x became %x", written, rewritten)
		}
	})
}
