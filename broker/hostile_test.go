package broker

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/record"
)

// frameOf prefixes bytes with their size.
func frameOf(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// header is a request header of the non-flexible form.
func header(key, version int16) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 1)
	return append(b, 0xff, 0xff) // no client id
}

// stillServes fails unless another client is served.
func (n *node) stillServes() {
	n.t.Helper()
	c := n.client()
	defer func() { _ = c.conn.Close() }()
	response := ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
	if response.ErrorCode != 0 || len(response.ApiKeys) == 0 {
		n.t.Fatalf("%+v", response)
	}
}

func TestHostileFrames(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	flexible := append(header(0, 9), 0) // no tags
	for _, test := range []struct {
		name  string
		bytes []byte
	}{
		{"a negative size", []byte{0xff, 0xff, 0xff, 0xff}},
		{"a size of zero", []byte{0, 0, 0, 0}},
		{"a size above the limit", []byte{0x7f, 0xff, 0xff, 0xff}},
		{"an HTTP request", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},
		{"a TLS hello", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00}},
		{"a header that is cut short", frameOf([]byte{0, 0, 0})},
		{"an unknown API", frameOf(header(12345, 0))},
		{"a negative API", frameOf(header(-1, 0))},
		{"an API of the controller", frameOf(header(52, 0))},
		{"an unknown version", frameOf(header(3, 99))},
		{"a negative version", frameOf(header(3, -5))},
		{"a client id longer than the frame", frameOf(append(header(3, 0)[:8], 0x7f, 0xff))},
		{"no body", frameOf(header(0, 3))},
		{"an array of 2 billion topics", frameOf(append(header(3, 1), 0x7f, 0xff, 0xff, 0xff))},
		{"a compact array of 4 billion topics",
			frameOf(append(flexible, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f))},
		{"a varint without end", frameOf(append(flexible, bytes.Repeat([]byte{0xff}, 20)...))},
		{"produce with a record count of 2 billion", frameOf(append(header(0, 3),
			0xff, 0xff, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 'x', 0x7f, 0xff, 0xff, 0xff))},
		{"fetch with a negative array", frameOf(append(header(1, 4), bytes.Repeat([]byte{0xff}, 17)...))},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := n.client()
			if _, err := c.conn.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			c.t = t
			c.expectClosed()
			n.stillServes()
		})
	}
	if log := n.log.String(); !strings.Contains(log, "connection closed") || !strings.Contains(log, "is not served") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

func TestApiVersionsOfAnUnknownVersionIsAnsweredInVersion0(t *testing.T) {
	n := startNode(t)
	c := n.client()
	if _, err := c.conn.Write(frameOf(append(header(18, 99), 0))); err != nil {
		t.Fatal(err)
	}
	frame, err := c.frame()
	if err != nil {
		t.Fatal(err)
	}
	response := kmsg.NewPtrApiVersionsResponse()
	if err := response.ReadFrom(frame[4:]); err != nil {
		t.Fatal(err)
	}
	if response.ErrorCode != kafka.UnsupportedVersion.Code || len(response.ApiKeys) == 0 {
		t.Fatalf("%+v", response)
	}
	c.received, c.sent = 1, 1
	if again := ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest()); again.ErrorCode != 0 {
		t.Fatalf("the connection is of no use any more: %+v", again)
	}
}

// Any prefix of a valid request, and any request with a flipped byte, is answered or closes the connection.
func TestMangledRequests(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	formatter := kmsg.NewRequestFormatter(kmsg.FormatterClientID("mangled"))
	produce := produceRequest(9, 1, "orders", kafka.ZeroUUID, 0, batch("a"))
	fetch := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	fetch.MaxWaitMillis = 0
	random := rand.New(rand.NewPCG(1, 2))
	for _, r := range []kmsg.Request{produce, fetch, kmsg.NewPtrMetadataRequest(), kmsg.NewPtrListOffsetsRequest()} {
		whole := formatter.AppendRequest(nil, r, 1)[4:]
		for range 150 {
			mangled := bytes.Clone(whole[:1+random.IntN(len(whole))])
			for range random.IntN(3) {
				mangled[random.IntN(len(mangled))] ^= 1 << random.IntN(8)
			}
			conn, err := net.Dial("tcp", n.address())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = conn.Write(frameOf(mangled))
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
			_, _ = conn.Read(make([]byte, 1024))
			_ = conn.Close()
		}
		n.stillServes()
	}
}

// header fields of a record batch, and what each of the lies is answered with.
func TestHostileBatches(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	resealed := func(change func(record.Batch)) []byte {
		b := record.Batch(batch("aaaa", "bbbb"))
		change(b)
		b.UpdateCRC()
		return b
	}
	put32 := func(at int, v int32) func(record.Batch) {
		return func(b record.Batch) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
	}
	const length, magic, attributes, lastDelta, count, firstRecord = 8, 16, 21, 23, 57, 61
	for _, test := range []struct {
		name    string
		records []byte
		want    *kafka.Error
	}{
		{"a negative length", resealed(put32(length, -5)), kafka.CorruptMessage},
		{"a length of zero", resealed(put32(length, 0)), kafka.CorruptMessage},
		{"a length beyond the bytes", resealed(put32(length, 1<<30)), kafka.InvalidRecord},
		{"magic 0", resealed(func(b record.Batch) { b[magic] = 0 }), kafka.InvalidRecord},
		{"magic 1", resealed(func(b record.Batch) { b[magic] = 1 }), kafka.InvalidRecord},
		{"magic 3", resealed(func(b record.Batch) { b[magic] = 3 }), kafka.CorruptMessage},
		{"a negative record count", resealed(put32(count, -1)), kafka.InvalidRecord},
		{"a huge record count", resealed(put32(count, math.MaxInt32)), kafka.InvalidRecord},
		{"a record count of zero", resealed(put32(count, 0)), kafka.InvalidRecord},
		{"a last offset delta that is not the count", resealed(put32(lastDelta, 7)), kafka.InvalidRecord},
		{"a negative last offset delta", resealed(put32(lastDelta, -1)), kafka.InvalidRecord},
		{"a codec that does not exist", resealed(func(b record.Batch) { b[attributes+1] |= 7 }), nil},
		{"a record longer than the batch", resealed(func(b record.Batch) { b[firstRecord] = 0x7e }),
			kafka.InvalidRecord},
		{"a negative record length", resealed(func(b record.Batch) { b[firstRecord] = 0x01 }), kafka.InvalidRecord},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := produceOne(c, produceRequest(9, 1, "orders", kafka.ZeroUUID, 0, test.records))
			if got.Error == "" || test.want != nil && got.Error != test.want.Name {
				t.Errorf("answered %q, want %v", got.Error, test.want)
			}
		})
	}
	if base := c.produce("orders", 0, "good"); base != 0 {
		t.Errorf("a lie was appended: the next record has offset %d", base)
	}
}

// A small batch that unpacks to a lot is read with bounded memory, where it is read at all.
func TestCompressionBombs(t *testing.T) {
	n := startNode(t)
	n.createTopic("recompressed", 1, "compression.type=uncompressed", "max.message.bytes=100000000")
	c := n.client()
	zeros := strings.Repeat("\x00", 8<<20)
	for _, codec := range []record.Codec{record.Gzip, record.Snappy, record.Lz4, record.Zstd} {
		bomb := batchOf(record.BuilderOptions{Codec: codec}, zeros)
		before := heapInUse()
		got := produceOne(c, produceRequest(9, 1, "recompressed", kafka.ZeroUUID, 0, bomb))
		t.Logf("%v: %d bytes in, answered %q %q", codec, len(bomb), got.Error, got.Message)
		if grown := int64(heapInUse()) - int64(before); grown > 100<<20 {
			t.Errorf("%v: the heap grew by %d MiB", codec, grown>>20)
		}
	}
	n.stillServes()
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// Clients that announce much, send little, or send slowly cost what they sent, and others are served.
func TestHalfOpenAndSlowClients(t *testing.T) {
	n := startNode(t, with("spate.frame.timeout.ms=1000"))
	before := heapInUse()
	var conns []net.Conn
	for range 100 {
		conn, err := net.Dial("tcp", n.address())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte{0x05, 0xf5, 0xe0, 0xff, 0, 0}) // 100 MB are announced, two bytes come
		conns = append(conns, conn)
	}
	n.stillServes()
	if grown := int64(heapInUse()) - int64(before); grown > 32<<20 {
		t.Errorf("100 announcements cost %d MiB", grown>>20)
	}
	for i, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Fatalf("connection %d was answered", i)
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Fatalf("connection %d stays open", i)
		}
		_ = conn.Close()
	}
}

// A client that asks and asks without reading stops being read, and holds no more memory than a queue.
func TestFloodingClientThatDoesNotRead(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	writer := n.client()
	for range 20 {
		writer.produce("orders", 0, strings.Repeat("x", 500_000))
	}
	before := heapInUse()
	flood := n.client()
	r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	r.Topics[0].Partitions[0].PartitionMaxBytes = 10 << 20
	request := flood.formatter.AppendRequest(nil, r, 1)
	_ = flood.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	sent := 0
	for ; sent < 200_000; sent++ {
		if _, err := flood.conn.Write(request); err != nil {
			break // the broker reads no more
		}
	}
	if sent == 200_000 {
		t.Error("the broker takes requests without end")
	}
	n.stillServes()
	if grown := int64(heapInUse()) - int64(before); grown > 64<<20 {
		t.Errorf("%d requests of a client that does not read cost %d MiB", sent, grown>>20)
	}
	if base := writer.produce("orders", 0, "others are served"); base != 20 {
		t.Errorf("offset %d", base)
	}
}

// A request that names very many partitions is answered, and what it needed is not kept.
func TestHugeRequest(t *testing.T) {
	n := startNode(t)
	n.createTopic("orders", 1)
	c := n.client()
	r := fetchRequest(12, "orders", kafka.ZeroUUID, 0, 0)
	r.MaxWaitMillis, r.SessionEpoch = 0, 0
	part := r.Topics[0].Partitions[0]
	for i := range int32(20_000) {
		part.Partition = i
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, part)
	}
	for range 3 {
		response := ask[*kmsg.FetchResponse](c, r)
		if got := len(response.Topics[0].Partitions); got != 20_001 {
			t.Fatalf("%d partitions", got)
		}
	}
	if stats := n.node.Sessions.Stats(); stats.Partitions > 1<<20 {
		t.Fatalf("%+v", stats)
	}
	n.stillServes()
}
