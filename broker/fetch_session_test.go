package broker

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// sessionClient fetches all partitions of some topics by an incremental session, as the Java client does.
type sessionClient struct {
	*client
	version int16
	id      int32
	epoch   int32
}

// fetch sends the parts, "topic/partition/offset" or "-topic/partition" to forget, and lists what the answer mentions:
// "topic/partition: values" or the error.
func (s *sessionClient) fetch(parts ...string) []string {
	s.t.Helper()
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(s.version)
	r.ReplicaID, r.MaxWaitMillis, r.MaxBytes = -1, 10, 1<<20
	r.SessionID, r.SessionEpoch = s.id, s.epoch
	for _, part := range parts {
		s.addPart(r, part)
	}
	response := ask[*kmsg.FetchResponse](s.client, r)
	if response.ErrorCode != 0 {
		return []string{kafka.ErrorOf(response.ErrorCode).Error()}
	}
	s.id = response.SessionID
	s.epoch++
	var got []string
	for _, t := range response.Topics {
		for _, p := range t.Partitions {
			line := fmt.Sprintf("%s/%d: %v", t.Topic, p.Partition, values(s.t, p.RecordBatches))
			if p.ErrorCode != 0 {
				line = fmt.Sprintf("%s/%d: %v", t.Topic, p.Partition, kafka.ErrorOf(p.ErrorCode))
			}
			got = append(got, line)
		}
	}
	return got
}

func (s *sessionClient) addPart(r *kmsg.FetchRequest, part string) {
	var topic string
	var partition int32
	var offset int64
	forget := part[0] == '-'
	if forget {
		part = part[1:]
	}
	fields := [3]string{}
	copy(fields[:], splitSlash(part))
	topic = fields[0]
	_, _ = fmt.Sscan(fields[1], &partition)
	_, _ = fmt.Sscan(fields[2], &offset)
	if forget {
		r.ForgottenTopics = append(r.ForgottenTopics,
			kmsg.FetchRequestForgottenTopic{Topic: topic, Partitions: []int32{partition}})
		return
	}
	one := fetchRequest(s.version, topic, kafka.ZeroUUID, partition, offset).Topics[0]
	r.Topics = append(r.Topics, one)
}

func splitSlash(s string) []string {
	var parts []string
	for i := slices.Index([]byte(s), '/'); i >= 0; i = slices.Index([]byte(s), '/') {
		parts = append(parts, s[:i])
		s = s[i+1:]
	}
	return append(parts, s)
}

func (s *sessionClient) expect(want []string, parts ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.fetch(parts...)); diff != "" {
		s.t.Errorf("fetch %q: -want +got:\n%s", parts, diff)
	}
}

func TestIncrementalFetchSession(t *testing.T) {
	n := startNode(t)
	n.createTopic("a", 2)
	n.createTopic("b", 1)
	p := n.client()
	p.produce("a", 0, "1")
	s := &sessionClient{client: n.client(), version: 12}
	s.expect([]string{"a/0: [1]", "a/1: []", "b/0: []", "nope/0: UNKNOWN_TOPIC_OR_PARTITION"},
		"a/0/0", "a/1/0", "b/0/0", "nope/0/0")
	if s.id == 0 || n.node.Sessions.Stats().Partitions != 4 {
		t.Fatalf("session %d, %+v", s.id, n.node.Sessions.Stats())
	}
	s.expect([]string{"nope/0: UNKNOWN_TOPIC_OR_PARTITION"}, "a/0/1") // an error is news each time
	s.expect(nil, "-nope/0")                                          // nothing is new
	p.produce("b", 0, "2")
	s.expect([]string{"b/0: [2]"})
	p.produce("a", 1, "3", "4")
	p.produce("a", 0, "5")
	s.expect([]string{"a/0: [5]", "a/1: [3 4]"}, "b/0/1")
	s.expect([]string{"a/0: [5]", "a/1: [3 4]"}) // the offsets have not moved, so they come again
	s.expect(nil, "a/0/2", "a/1/2")
	s.expect(nil, "-a/0", "-a/1")
	p.produce("a", 0, "6")
	s.expect(nil)
	p.produce("b", 0, "7")
	s.expect([]string{"b/0: [7]"})
	s.expect(nil, "-b/0")
	if s.id != 0 || n.node.Sessions.Stats().Sessions != 0 {
		t.Fatalf("an empty session stays: %d, %+v", s.id, n.node.Sessions.Stats())
	}
}

func TestFetchSessionErrors(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("a", 1)
	s := &sessionClient{client: n.client(), version: 12}
	s.fetch("a/0/0")
	right := *s
	s.epoch = 7
	s.expect([]string{"INVALID_FETCH_SESSION_EPOCH"})
	s.id, s.epoch = right.id+1, 1
	s.expect([]string{"FETCH_SESSION_ID_NOT_FOUND"})
	r := fetchRequest(13, "", id, 0, 0)
	r.SessionID, r.SessionEpoch = right.id, right.epoch
	if response := ask[*kmsg.FetchResponse](s.client, r); response.ErrorCode != kafka.FetchSessionTopicIDError.Code {
		t.Fatal(kafka.ErrorOf(response.ErrorCode))
	}
	s.id, s.epoch = right.id, right.epoch
	s.expect(nil) // the session is as it was
	s.epoch = -1  // the last request of the session
	s.expect([]string{"a/0: []"}, "a/0/0")
	if n.node.Sessions.Stats().Sessions != 0 || s.id != 0 {
		t.Fatal("the session was closed")
	}
	s.id, s.epoch = right.id, 0 // closes one and opens another
	s.fetch("a/0/0")
	if s.id == 0 || s.id == right.id {
		t.Fatalf("the new session is %d", s.id)
	}
}

// A request that comes while the one before still waits makes the older answer an error.
func TestFetchSessionUsedTwiceAtOnce(t *testing.T) {
	n := startNode(t)
	n.createTopic("a", 1)
	s := &sessionClient{client: n.client(), version: 12}
	s.fetch("a/0/0")
	waits := kmsg.NewPtrFetchRequest()
	waits.SetVersion(12)
	waits.ReplicaID, waits.MaxWaitMillis, waits.MinBytes, waits.MaxBytes = -1, 60_000, 1, 1<<20
	waits.SessionID, waits.SessionEpoch = s.id, 1
	first := n.client()
	first.send(waits)
	eventually(t, "the fetch waits", func() bool { return n.node.Fetches.Len() == 1 })
	s.epoch = 2
	s.expect(nil)
	n.client().produce("a", 0, "x")
	response := first.receive(waits).(*kmsg.FetchResponse)
	if response.ErrorCode != kafka.InvalidFetchSessionEpoch.Code || len(response.Topics) != 0 {
		t.Fatalf("%+v", response)
	}
}

func TestFetchSessionsByTopicID(t *testing.T) {
	n := startNode(t)
	id := n.createTopic("a", 1)
	c := n.client()
	r := fetchRequest(17, "", id, 0, 0)
	r.SessionEpoch = 0
	response := ask[*kmsg.FetchResponse](c, r)
	n.deleteTopic("a")
	r.SessionID, r.SessionEpoch, r.Topics = response.SessionID, 1, nil
	response = ask[*kmsg.FetchResponse](c, r)
	if len(response.Topics) != 1 || response.Topics[0].TopicID != id ||
		response.Topics[0].Partitions[0].ErrorCode != kafka.UnknownTopicID.Code {
		t.Fatalf("%+v", response)
	}
}

func TestFetchSessionSlots(t *testing.T) {
	n := startNode(t, with("max.incremental.fetch.session.cache.slots=1"))
	n.createTopic("a", 1)
	first := &sessionClient{client: n.client(), version: 12}
	second := &sessionClient{client: n.client(), version: 12}
	first.fetch("a/0/0")
	second.expect([]string{"a/0: []"}, "a/0/0")
	if first.id == 0 || second.id != 0 {
		t.Fatalf("sessions %d and %d", first.id, second.id)
	}
}
