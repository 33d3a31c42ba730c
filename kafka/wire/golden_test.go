package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// capture is one frame, its size prefix included, that went between a real client and Apache Kafka 4.3.1; tools/wirecap
// wrote it down.
type capture struct {
	name     string
	key      int16
	version  int16
	request  bool
	clientID string
	frame    []byte
}

// readCaptures reads testdata/*.hex.
func readCaptures(t testing.TB) (captures []capture) {
	t.Helper()
	names, err := filepath.Glob("testdata/*.hex")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		comment, digits, _ := strings.Cut(string(text), "\n")
		c := capture{name: filepath.Base(name), clientID: strings.TrimPrefix(comment, "# client id: ")}
		if c.frame, err = hex.DecodeString(strings.ReplaceAll(digits, "\n", "")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		words := strings.Split(strings.TrimSuffix(c.name, ".hex"), "_")
		c.request = words[len(words)-1] == "request"
		if _, err := fmt.Sscanf(words[0]+" "+words[len(words)-2], "%d v%d", &c.key, &c.version); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		captures = append(captures, c)
	}
	return captures
}

// Goal: real bytes are understood in full. Method: every captured frame, decoded and encoded again, is the same.
func TestGoldenFramesSurviveDecodingAndEncoding(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range readCaptures(t) {
		t.Run(c.name, func(t *testing.T) {
			again := reencodeResponse
			if c.request {
				again = reencodeRequest
			}
			if diff := cmp.Diff(hex.Dump(c.frame), hex.Dump(again(t, c))); diff != "" {
				t.Fatal(diff)
			}
		})
		seen[fmt.Sprint(c.key, c.version, c.request)] = true
	}
	for i := range Served {
		for _, version := range versions(Served[i].Key) {
			for _, request := range []bool{true, false} {
				if !seen[fmt.Sprint(Served[i].Key, version, request)] {
					t.Errorf("no capture of %s v%d (request: %v)", Served[i].Name, version, request)
				}
			}
		}
	}
}

func reencodeRequest(t *testing.T, c capture) []byte {
	h, body, err := ParseHeader(c.frame[sizeBytes:])
	if err != nil {
		t.Fatal(err)
	}
	if h.Key != c.key || h.Version != c.version || string(h.ClientID) != c.clientID {
		t.Fatalf("%+v", h)
	}
	var request kmsg.Request
	switch h.Key {
	case KeyProduce:
		var p ProduceRequest
		err = p.Parse(h.Version, body)
		request = toKmsgProduce(h.Version, &p)
	case KeyFetch:
		var f FetchRequest
		err = f.Parse(h.Version, body)
		request = toKmsgFetch(h.Version, &f)
	default:
		request, err = DecodeRequest(h.Key, h.Version, body)
	}
	if err != nil {
		t.Fatal(err)
	}
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID(string(h.ClientID)))
	return formatter.AppendRequest(nil, request, h.CorrelationID)
}

func reencodeResponse(t *testing.T, c capture) []byte {
	correlationID := int32(binary.BigEndian.Uint32(c.frame[sizeBytes:]))
	header := AppendResponseHeader(nil, c.key, c.version, correlationID)
	body, ok := bytes.CutPrefix(c.frame[sizeBytes:], header)
	if !ok {
		t.Fatalf("the header is not %x", header)
	}
	response := kmsg.ResponseForKey(c.key)
	response.SetVersion(c.version)
	if err := response.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	switch r := response.(type) {
	case *kmsg.ProduceResponse:
		frame := BeginFrame(nil, c.key, c.version, correlationID)
		return EndFrame(AppendProduceResponse(frame, c.version, fromKmsgProduceResponse(r)), 0, 0)
	case *kmsg.FetchResponse:
		return encodeFetchResponse(r, correlationID)
	}
	return AppendResponse(nil, response, correlationID)
}

// Goal: the version table shows what Apache Kafka 4.3.1 shows, for every API that it has. Method: the captured answer
// of a real broker to ApiVersions.
func TestServedShowsTheVersionsOfKafka(t *testing.T) {
	for _, c := range readCaptures(t) {
		if c.key != KeyApiVersions || c.request {
			continue
		}
		response := kmsg.NewPtrApiVersionsResponse()
		response.Version = c.version
		if err := response.ReadFrom(c.frame[sizeBytes+4:]); err != nil {
			t.Fatal(err)
		}
		ranges := map[int16]kmsg.ApiVersionsResponseApiKey{}
		for _, k := range response.ApiKeys {
			ranges[k.ApiKey] = k
		}
		for i := range Served {
			row := &Served[i]
			if k := ranges[row.Key]; k.MinVersion != row.AdvertisedMin || k.MaxVersion != row.Max {
				t.Errorf("%s: Kafka shows %d to %d, the table %d to %d", row.Name, k.MinVersion, k.MaxVersion,
					row.AdvertisedMin, row.Max)
			}
		}
	}
}
