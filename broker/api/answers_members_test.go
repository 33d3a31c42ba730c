package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka/wire"
)

// memberSettings are the settings of both brokers in the stories of groups with several members:
//
//	go test ./broker/api -run TestMembersAreAnsweredAsByKafka -kafka 127.0.0.1:9092 -rewrite
//
// with an Apache Kafka 4.3.1 that has them too. Times are short so that a story can see them pass.
var memberSettings = []string{
	"group.initial.rebalance.delay.ms=0",
	"group.min.session.timeout.ms=100",
	"group.max.size=4",
	"group.consumer.max.size=4",
	"group.consumer.min.session.timeout.ms=1000",
	"group.consumer.min.heartbeat.interval.ms=500",
	"group.consumer.heartbeat.interval.ms=500",
	"group.consumer.assignment.interval.ms=0",
}

// Goal: groups of several members are led as Kafka leads them, answer by answer, with all that a client can see: the
// difference between null and empty too. Method: conversations over several connections, recorded from Apache Kafka.
func TestMembersAreAnsweredAsByKafka(t *testing.T) {
	datadriven.Walk(t, "testdata/members", func(t *testing.T, path string) {
		if *kafkaAddress == "" {
			t.Parallel() // each story has a broker of its own
		}
		s := newStory(t, memberSettings...)
		s.isExact = true
		links := map[string]*link{}
		t.Cleanup(func() {
			for _, l := range links {
				l.conn.Close()
			}
		})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			switch d.Cmd {
			case "topic":
				return s.topic(d)
			case "ask":
				s.link(links, d).send(s, d)
				return s.link(links, d).await(s, d)
			case "send":
				s.link(links, d).send(s, d)
				return ""
			case "await":
				return s.link(links, d).await(s, d)
			case "close":
				l := s.link(links, d)
				delete(links, l.name)
				l.conn.Close()
				return ""
			}
			t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

// link is one client's connection, by whose name the client calls itself. ask sends a request and waits for its answer;
// send leaves that to a later await. Answers come in the order of requests.
//
// An ask with until=(text) is repeated until the answer has the text, and shows that answer only: so a story waits for
// what takes time.
type link struct {
	name    string
	conn    net.Conn
	waiting []kmsg.Request
}

func (s *story) link(links map[string]*link, d *datadriven.TestData) *link {
	s.t.Helper()
	name := "x"
	if d.HasArg("conn") {
		d.ScanArgs(s.t, "conn", &name)
	}
	if l := links[name]; l != nil {
		return l
	}
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	links[name] = &link{name: name, conn: conn}
	return links[name]
}

func (l *link) send(s *story, d *datadriven.TestData) {
	s.t.Helper()
	var api string
	var version int
	d.ScanArgs(s.t, "api", &api)
	d.ScanArgs(s.t, "v", &version)
	s.hidesOffsets = true
	request := s.request(d, api, int16(version))
	s.coordinate(request)
	l.write(s, request)
}

func (l *link) write(s *story, request kmsg.Request) {
	s.t.Helper()
	s.correlation++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(l.name)).AppendRequest(nil, request, s.correlation)
	if err := l.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := l.conn.Write(frame); err != nil {
		s.t.Fatal(err)
	}
	l.waiting = append(l.waiting, request)
}

// await gives the answer to the oldest request that waits for one.
func (l *link) await(s *story, d *datadriven.TestData) string {
	s.t.Helper()
	var text, member string
	var until []string
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "until":
			until = arg.Vals
		case "member":
			member = arg.Vals[0]
		}
	}
	if len(l.waiting) == 0 {
		s.t.Fatalf("%s: no request waits on %s", d.Pos, l.name)
	}
	request := l.waiting[0]
	s.await(strings.Join(until, " "), func() bool {
		if len(l.waiting) == 0 {
			l.write(s, request)
		}
		response := l.read(s)
		if isCoordinatorAway(response) {
			return false
		}
		s.settle(request)
		s.keepMember(member, response)
		text = s.tell(response, nil)
		return !slices.ContainsFunc(until, func(part string) bool {
			return !strings.Contains(strings.ReplaceAll(text, `"`, ""), part)
		})
	})
	return text
}

func (l *link) read(s *story) kmsg.Response {
	s.t.Helper()
	request := l.waiting[0]
	l.waiting = l.waiting[1:]
	var size [4]byte
	if _, err := io.ReadFull(l.conn, size[:]); err != nil {
		s.t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(l.conn, answer); err != nil {
		s.t.Fatal(err)
	}
	body := answer[4:] // after the correlation id
	if header := len(wire.AppendResponseHeader(nil, request.Key(), request.GetVersion(), 0)); header > 4 {
		body, _ = bytes.CutPrefix(body, []byte{0}) // no tagged fields
	}
	response := request.ResponseKind()
	if err := response.ReadFrom(body); err != nil {
		s.t.Fatalf("%T: %v", response, err)
	}
	return response
}

// embedded makes what clients embed in JoinGroup and SyncGroup of words like these:
//
//	says:v1 topics=orders,bills owned=orders:0,1;bills:0 generation=3 rack=a
//	gives:v1 orders:0,1;bills:0
func embedded(text string) (b []byte, is bool) {
	kind, rest, _ := strings.Cut(text, ":")
	words := strings.Fields(rest)
	if (kind != "says" && kind != "gives") || len(words) == 0 {
		return nil, false
	}
	version, err := strconv.ParseInt(strings.TrimPrefix(words[0], "v"), 10, 16)
	if err != nil {
		return nil, false
	}
	if kind == "gives" {
		a := kmsg.NewConsumerMemberAssignment()
		a.Version = int16(version)
		for _, word := range words[1:] {
			for name, partitions := range partitionsIn(word) {
				topic := kmsg.NewConsumerMemberAssignmentTopic()
				topic.Topic, topic.Partitions = name, partitions
				a.Topics = append(a.Topics, topic)
			}
		}
		return a.AppendTo(nil), true
	}
	m := kmsg.NewConsumerMemberMetadata()
	m.Version = int16(version)
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "topics":
			m.Topics = strings.Split(value, ",")
		case "owned":
			for name, partitions := range partitionsIn(value) {
				topic := kmsg.NewConsumerMemberMetadataOwnedPartition()
				topic.Topic, topic.Partitions = name, partitions
				m.OwnedPartitions = append(m.OwnedPartitions, topic)
			}
		case "generation":
			generation, _ := strconv.Atoi(value)
			m.Generation = int32(generation)
		case "rack":
			m.Rack = &value
		}
	}
	return m.AppendTo(nil), true
}

// partitionsIn reads orders:0,1;bills:0 in its order.
func partitionsIn(text string) func(yield func(string, []int32) bool) {
	return func(yield func(string, []int32) bool) {
		for _, topic := range strings.Split(text, ";") {
			name, list, _ := strings.Cut(topic, ":")
			var partitions []int32
			for _, number := range strings.Split(list, ",") {
				if p, err := strconv.Atoi(number); err == nil {
					partitions = append(partitions, int32(p))
				}
			}
			if !yield(name, partitions) {
				return
			}
		}
	}
}

// readEmbedded shows an assignment of the consumer protocol, which has its bytes in base64, as words.
func readEmbedded(text string) string {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return text
	}
	var a kmsg.ConsumerMemberAssignment
	if a.ReadFrom(b) != nil || !bytes.Equal(a.AppendTo(nil), b) {
		return text
	}
	var topics []string
	for _, t := range a.Topics {
		topics = append(topics, fmt.Sprint(t.Topic, t.Partitions))
	}
	slices.Sort(topics)
	data := ""
	if a.UserData != nil {
		data = fmt.Sprintf(" data %x", a.UserData)
	}
	return fmt.Sprintf("gives:v%d %s%s", a.Version, strings.Join(topics, ";"), data)
}
