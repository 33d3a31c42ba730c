package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"spate/internal/task"
	"spate/kafka/wire"
)

// relay passes the frames of each connection on, in both directions, and notes them.
type relay struct {
	listener net.Listener
	broker   string // address of the broker; set before start
	captures *captures
	running  task.Group

	mutex sync.Mutex
	conns []net.Conn // open ones, to be closed with the relay
	done  bool
}

func (r *relay) start() { r.running.Go("accept", r.accept) }

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", r.broker)
		if err != nil || !r.keep(client, broker) {
			client.Close()
			continue
		}
		x := &exchange{captures: r.captures, waiting: map[int32][]byte{}}
		r.running.Go("requests", func() { pump(broker, client, x.request) })
		r.running.Go("responses", func() { pump(client, broker, x.response) })
	}
}

// keep notes the connections of a client, unless the relay is closed already.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.conns = append(r.conns, conns...)
	return !r.done
}

// close ends the relay and all of its connections.
func (r *relay) close() {
	r.listener.Close()
	r.mutex.Lock()
	r.done = true
	for _, c := range r.conns {
		c.Close()
	}
	r.mutex.Unlock()
	r.running.Wait()
}

// pump passes frames from source to target until one of them ends; see is shown each.
func pump(target, source net.Conn, see func(frame []byte)) {
	defer target.Close()
	defer source.Close()
	for {
		frame, err := readFrame(source)
		if err != nil {
			return
		}
		see(frame)
		if _, err := target.Write(frame); err != nil {
			return
		}
	}
}

// frameBytesMax is Kafka's default of socket.request.max.bytes.
const frameBytesMax = 100 << 20

// readFrame reads one frame, its size prefix included.
func readFrame(source io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(source, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > frameBytesMax {
		return nil, fmt.Errorf("a frame of %d bytes", n)
	}
	frame := make([]byte, 4+n)
	copy(frame, size[:])
	_, err := io.ReadFull(source, frame[4:])
	return frame, err
}

// exchange matches the responses of one connection with its requests, by correlation id.
type exchange struct {
	captures *captures

	mutex   sync.Mutex
	waiting map[int32][]byte
}

func (x *exchange) request(frame []byte) {
	h, _, err := wire.ParseHeader(frame[4:])
	if err != nil {
		var unsupported *wire.UnsupportedError
		if !errors.As(err, &unsupported) {
			fmt.Println("wirecap: not a request:", err)
		}
		return
	}
	x.mutex.Lock()
	x.waiting[h.CorrelationID] = frame
	x.mutex.Unlock()
}

func (x *exchange) response(frame []byte) {
	if len(frame) < 8 {
		return
	}
	correlation := int32(binary.BigEndian.Uint32(frame[4:]))
	x.mutex.Lock()
	request := x.waiting[correlation]
	delete(x.waiting, correlation)
	x.mutex.Unlock()
	if request != nil {
		x.captures.add(request, frame)
	}
}
