package limit

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/bench"
)

const (
	// InFlight is how many requests are on their way at a time.
	InFlight = 5
	// version, of Produce and Fetch requests, is the last one that calls topics by their names.
	version = 12
	// answerBytesMax bounds an answer, which is not longer than what was asked for and its header.
	answerBytesMax = 16 << 20
	// sizeBytes are in front of each answer; its header is an id and a byte for tagged fields.
	sizeBytes, headerBytes = 4, 4 + 1
)

// Load is a kind of requests, for a topic of one partition.
type Load interface {
	// Bytes is what one request moves: bytes of batches.
	Bytes() int
	// Prepare has a broker, where the topic is empty, hold what the requests ask for.
	Prepare(ctx context.Context, t bench.Target) error
	// Broker sends n requests to a broker, and gives its processor time, in seconds for each 10^9 bytes.
	Broker(ctx context.Context, t bench.Target, n int) (float64, error)
	// Start runs the C program on a file; with sums it computes the CRC-32C of all that it receives to store.
	Start(program Program, file string, sums bool) (*Server, error)
	// Server sends n requests to the C program, as Broker does to a broker.
	Server(ctx context.Context, s *Server, n int) (float64, error)
}

// exchange is what goes over a connection.
type exchange struct {
	batchBytes int                              // of each request, or of its answer
	request    func(n int) []byte               // the frame of the nth one; its id is idOf(n)
	check      func(n int, answer []byte) error // of the answer to it, without its size and header
}

// idOf is the id of the nth request: a request can be sent again when it has been answered.
func idOf(n int) int { return n % InFlight }

// run sends n requests and checks their answers. It gives the processor time that the server took meanwhile, in seconds
// for each 10^9 bytes.
func (x exchange) run(ctx context.Context, t bench.Target, n int) (float64, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", t.Bootstrap)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	before, err := bench.SpentBy(t.PID)
	if err != nil {
		return 0, err
	}
	if err := x.through(conn, n); err != nil {
		return 0, err
	}
	after, err := bench.SpentBy(t.PID)
	spent := after.User + after.System - before.User - before.System
	return spent.Seconds() / (float64(n) * float64(x.batchBytes) / 1e9), err
}

// through sends n requests over a connection, InFlight at a time, and checks the answers, which come in order.
func (x exchange) through(conn net.Conn, n int) error {
	in := bufio.NewReaderSize(conn, 16) // for the size; the rest goes past it
	var answer []byte
	for got, sent := 0, 0; got < n; got++ {
		for ; sent < min(n, got+InFlight); sent++ {
			if _, err := conn.Write(x.request(sent)); err != nil {
				return fmt.Errorf("request %d: %w", sent, err)
			}
		}
		var err error
		if answer, err = readAnswer(in, answer, idOf(got)); err == nil {
			err = x.check(got, answer[headerBytes:])
		}
		if err != nil {
			return fmt.Errorf("answer %d: %w", got, err)
		}
	}
	return nil
}

// readAnswer reads the answer with that id into the memory of an earlier one.
func readAnswer(in io.Reader, space []byte, id int) ([]byte, error) {
	var prefix [sizeBytes]byte
	if _, err := io.ReadFull(in, prefix[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(prefix[:]))
	if size < headerBytes || size > answerBytesMax {
		return nil, fmt.Errorf("it has %d bytes", size)
	}
	if cap(space) < size {
		space = make([]byte, size)
	}
	space = space[:size]
	if _, err := io.ReadFull(in, space); err != nil {
		return nil, err
	}
	if got := int(binary.BigEndian.Uint32(space)); got != id {
		return nil, fmt.Errorf("its id is %d", got)
	}
	return space, nil
}

// frame is the nth request as it is sent.
func frame(request kmsg.Request, n int) []byte {
	request.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("limit")).AppendRequest(nil, request, int32(idOf(n)))
}

var errOther = errors.New("it is about another topic or partition, or about several")
