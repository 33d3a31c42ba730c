package main

import (
	"encoding/hex"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/task"
	"spate/kafka/wire"
)

func frames(t *testing.T, version int16, clientID string, correlation int32, name string) (request, response []byte) {
	t.Helper()
	q := kmsg.NewPtrMetadataRequest()
	q.Version = version
	q.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	p := kmsg.NewPtrMetadataResponse()
	p.Version = version
	request = kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, q, correlation)
	return request, wire.AppendResponse(nil, p, correlation)
}

// Goal: bytes pass unchanged in both directions and the exchange is noted. Method: a broker that answers one request.
func TestRelayPassesAndNotes(t *testing.T) {
	request, response := frames(t, 1, "client", 7, "t")
	broker, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	var serving task.Group
	serving.Go("broker", func() {
		conn, err := broker.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if got, err := readFrame(conn); err == nil && string(got) == string(request) {
			_, _ = conn.Write(response)
		}
	})
	defer serving.Wait()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, broker: broker.Addr().String(), captures: newCaptures()}
	r.start()
	client, err := net.Dial("tcp", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write(request); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(response))
	if _, err := io.ReadFull(client, got); err != nil || string(got) != string(response) {
		t.Fatalf("%x, %v", got, err)
	}
	r.close()
	if p := r.captures.pairs[[2]int16{wire.KeyMetadata, 1}]; string(p.request) != string(request) {
		t.Fatalf("%x", p.request)
	}
}

func TestCapturesKeepTheExchangeThatSaysMost(t *testing.T) {
	c := newCaptures()
	add := func(client, topic string) {
		request, response := frames(t, 1, client, 1, topic)
		c.add(request, response)
	}
	kept := func() string {
		h, _, _ := wire.ParseHeader(c.pairs[[2]int16{wire.KeyMetadata, 1}].request[4:])
		return string(h.ClientID)
	}
	for _, step := range []struct{ name, client, topic, want string }{
		{"the first", driverID, "long-name", driverID},
		{"a real client's, although shorter", "java", "t", "java"},
		{"not the driver's, although longer", driverID, strings.Repeat("t", 100), "java"},
		{"a longer one of a real client", "franz", "longer", "franz"},
		{"not one beyond the bound", "giant", strings.Repeat("t", pairBytesMax), "franz"},
	} {
		if add(step.client, step.topic); kept() != step.want {
			t.Fatalf("%s: kept that of %s", step.name, kept())
		}
	}
}

func TestCapturesWriteHexAndNameWhatIsMissing(t *testing.T) {
	c := newCaptures()
	request, response := frames(t, 1, "client", 7, "t")
	c.add(request, response)
	dir := t.TempDir()
	n, err := c.write(dir)
	if n != 2 || err == nil || !strings.Contains(err.Error(), "Metadata v2 was not seen") {
		t.Fatal(n, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "03_metadata_v1_response.hex"))
	if err != nil {
		t.Fatal(err)
	}
	comment, digits, _ := strings.Cut(string(text), "\n")
	if got, _ := hex.DecodeString(strings.ReplaceAll(digits, "\n", "")); comment != "# client id: client" ||
		string(got) != string(response) {
		t.Fatalf("%s", text)
	}
}
