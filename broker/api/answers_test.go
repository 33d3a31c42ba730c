package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/broker"
	"spate/internal/clock"
	"spate/internal/config"
	"spate/internal/task"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/kafka/wire"
)

// kafkaAddress points the stories at an Apache Kafka instead of a broker of ours. The expectations in testdata/answers
// were written by Apache Kafka 4.3.1 with stock settings, but for group.initial.rebalance.delay.ms=0:
//
//	go test ./broker/api -run TestAnswersAreThoseOfKafka -kafka 127.0.0.1:9092 -rewrite
var kafkaAddress = flag.String("kafka", "", "ask the Apache Kafka at this address; it loses all its topics")

// Goal: the answers to everything but Produce and Fetch are Kafka's, error by error. Method: stories whose answers were
// written by Apache Kafka; what differs from run to run has a placeholder.
func TestAnswersAreThoseOfKafka(t *testing.T) {
	datadriven.Walk(t, "testdata/answers", func(t *testing.T, path string) {
		s := newStory(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			switch d.Cmd {
			case "topic":
				return s.topic(d)
			case "records":
				return s.records(d)
			case "idempotent":
				return s.idempotent(d)
			case "ask":
				return s.ask(d)
			}
			t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

// story is one conversation with one broker.
type story struct {
	t           testing.TB
	address     string
	correlation int32
	ids         map[string]kafka.UUID // of the topics that the broker has spoken of
	producers   map[float64]bool      // ids that the broker has handed out
	members     map[string]string     // ids of members of groups, by the names that the story has for them
	// hidesOffsets leaves the topic of the groups out of lists: once made, it stays in a Kafka.
	hidesOffsets bool
	coordinated  bool // whether coordinators of groups are there, and no groups of earlier stories
	isExact      bool // whether null and empty fields are told too
	isOrdered    bool // whether lists are told in the order of the answer
	dirs         []string

	// What stories of transactions have besides.
	nonce        string           // in transactional ids
	producerIDs  map[string]int64 // by the names that the story has for them
	keepProducer string           // the name for the next one that is told
	producerMin  float64          // the least that is an id and no default
}

// newStory begins a story, with a broker of its own that has these settings too.
func newStory(t testing.TB, set ...string) *story {
	s := &story{
		t: t, address: *kafkaAddress,
		ids: map[string]kafka.UUID{}, producers: map[float64]bool{}, members: map[string]string{},
	}
	if s.address == "" {
		stock := []string{
			"listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + dataDir(t), "node.id=1",
			"group.initial.rebalance.delay.ms=0",
			"num.partitions=1", "log.retention.hours=168", "num.io.threads=8", // these stand in Kafka's stock file
			"num.recovery.threads.per.data.dir=2",
		}
		s.address = startBroker(t, append(stock, set...)...)
		return s
	}
	s.clearQuotas()
	s.await("all topics are deleted", func() bool {
		deletion := kmsg.NewPtrDeleteTopicsRequest()
		deletion.Version, deletion.TimeoutMillis, deletion.TopicNames = 5, 10_000, s.topics()
		s.exchange(deletion)
		return len(s.topics()) == 0
	})
	s.await("there are producer ids", func() bool {
		request := kmsg.NewPtrInitProducerIDRequest()
		return s.exchange(request).(*kmsg.InitProducerIDResponse).ErrorCode == kafka.NoError
	})
	return s
}

// deleteGroups deletes what groups it can, and gives the number of those that there were.
func (s *story) deleteGroups() int {
	list := kmsg.NewPtrListGroupsRequest()
	deletion := kmsg.NewPtrDeleteGroupsRequest()
	for _, g := range s.exchange(list).(*kmsg.ListGroupsResponse).Groups {
		s.empty(g.Group)
		deletion.Groups = append(deletion.Groups, g.Group)
	}
	s.exchange(deletion)
	return len(deletion.Groups)
}

// topics lists the topics that can be read, but for those that coordinators keep their state in.
func (s *story) topics() (names []string) {
	all := kmsg.NewPtrMetadataRequest()
	all.Version = 9
	for _, topic := range s.exchange(all).(*kmsg.MetadataResponse).Topics {
		if !topic.IsInternal {
			names = append(names, *topic.Topic)
		}
	}
	return names
}

// await asks until it is so. Kafka answers before what it did can be seen.
func (s *story) await(what string, so func() bool) {
	s.t.Helper()
	for begin := time.Now(); time.Since(begin) < patience; {
		if so() {
			return
		}
	}
	s.t.Fatalf("waited in vain: %s", what)
}

// patience is how long a story waits for what must come.
const patience = time.Minute

// unhurried is a clock that goes like the machine's, but hardly goes on while the machine stands still: stories see
// times of a second pass, and what they do before that takes them no second.
func unhurried(t testing.TB) clock.Clock {
	c, last := clock.NewManual(time.Now()), time.Now()
	ended := make(chan struct{})
	var ticking task.Group
	ticking.Go("clock", func() {
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				c.Advance(min(now.Sub(last), 10*time.Millisecond))
				last = now
			case <-ended:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(ended)
		ticking.Wait()
	})
	return c
}

// startBroker starts a broker of ours with these settings and gives its address.
func startBroker(t testing.TB, set ...string) string {
	t.Helper()
	cfg, _, err := config.Load(config.Sources{Set: set, Hostname: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b, err := broker.Open(broker.Env{Clock: unhurried(t), FS: vfs.OS{}, Rand: rand.Reader, Log: log}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b.Listeners()[0].Address.String()
}

// exchange sends one request on a connection of its own and reads the answer.
func (s *story) exchange(request kmsg.Request) kmsg.Response {
	s.t.Helper()
	s.correlation++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("story")).AppendRequest(nil, request, s.correlation)
	response := request.ResponseKind()
	if !wire.Supports(request.Key(), request.GetVersion()) {
		response.SetVersion(0) // only ApiVersions is answered at all
	}
	header := wire.AppendResponseHeader(nil, request.Key(), request.GetVersion(), s.correlation)
	body, ok := bytes.CutPrefix(s.raw(frame), header)
	if !ok {
		s.t.Fatalf("%T: the answer does not begin with %x", request, header)
	}
	if err := response.ReadFrom(body); err != nil {
		s.t.Fatalf("%T: %v", request, err)
	}
	return response
}

// raw sends a frame and reads one, which it gives without its size.
func (s *story) raw(frame []byte) []byte {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Write(frame); err != nil {
		s.t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		s.t.Fatal(err)
	}
	answer := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// topic creates a topic: topic name=orders partitions=3, and a line for each config.
func (s *story) topic(d *datadriven.TestData) string {
	var name string
	var partitions int32
	d.ScanArgs(s.t, "name", &name)
	d.ScanArgs(s.t, "partitions", &partitions)
	request := kmsg.NewPtrCreateTopicsRequest()
	request.Version, request.TimeoutMillis = 7, 10_000
	topic := kmsg.CreateTopicsRequestTopic{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}
	for line := range strings.Lines(d.Input) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	request.Topics = append(request.Topics, topic)
	created := s.exchange(request).(*kmsg.CreateTopicsResponse).Topics[0]
	s.ids[name] = created.TopicID
	s.settle(request)
	if *kafkaAddress != "" && s.coordinated {
		s.probe(name)
	}
	return fmt.Sprintf("error %d\n", created.ErrorCode)
}

// records appends a batch for each line of timestamps: records topic=orders partition=0. With key=k the records have
// that key.
func (s *story) records(d *datadriven.TestData) string {
	var name string
	var partition int32
	d.ScanArgs(s.t, "topic", &name)
	d.ScanArgs(s.t, "partition", &partition)
	var recordKey []byte
	if d.HasArg("key") {
		var text string
		d.ScanArgs(s.t, "key", &text)
		recordKey = []byte(text)
	}
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		b := record.NewBuilder(record.BuilderOptions{})
		for _, word := range strings.Fields(line) {
			ts, err := strconv.ParseInt(word, 10, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			b.Append(kafka.Timestamp(ts), recordKey, []byte(word))
		}
		batch, err := b.Build()
		if err != nil {
			s.t.Fatal(err)
		}
		request := kmsg.NewPtrProduceRequest()
		request.Version, request.Acks, request.TimeoutMillis = 9, -1, 10_000
		request.Topics = []kmsg.ProduceRequestTopic{{Topic: name, Partitions: []kmsg.ProduceRequestTopicPartition{
			{Partition: partition, Records: batch},
		}}}
		p := s.produced(request)
		fmt.Fprintf(&out, "base offset %d, error %d\n", p.BaseOffset, p.ErrorCode)
		for _, e := range p.ErrorRecords {
			fmt.Fprintf(&out, "  record %d: %s\n", e.RelativeOffset, textOf(e.ErrorMessage))
		}
		if p.ErrorMessage != nil {
			fmt.Fprintf(&out, "  %s\n", *p.ErrorMessage)
		}
	}
	return out.String()
}

// textOf is a nullable text.
func textOf(text *string) string {
	if text == nil {
		return "null"
	}
	return *text
}

// ask sends the request that the input is: ask api=Metadata v=(1,9), with configs=(a,b) to show only those. A topic id
// is written as $name of a topic, or as #n for an id that is just a number. member=m keeps the answer's member id, it
// is @m from then on; %v stands for the version, so that each can have a group of its own. A story waits for the
// coordinators, but for requests with the word away. With the word exact null and empty fields are told, with ordered
// the order of the answer.
func (s *story) ask(d *datadriven.TestData) string {
	var name, member string
	var asked, shown []string
	d.ScanArgs(s.t, "api", &name)
	for _, arg := range d.CmdArgs {
		switch arg.Key {
		case "v":
			asked = versionsIn(arg.Vals)
		case "configs":
			shown = arg.Vals
		case "member":
			member = arg.Vals[0]
		}
	}
	s.hidesOffsets = !strings.Contains(d.Input, kafka.ConsumerOffsetsTopic)
	s.isExact, s.isOrdered = d.HasArg("exact"), d.HasArg("ordered")
	answers := map[string]string{} // to their first version
	var out strings.Builder
	for _, word := range asked {
		version, err := strconv.ParseInt(word, 10, 16)
		if err != nil {
			s.t.Fatal(err)
		}
		request := s.request(d, name, int16(version))
		if !d.HasArg("away") {
			s.coordinate(request)
		}
		response := s.exchange(request)
		s.await("the coordinator is there", func() bool {
			if isCoordinatorAway(response) && !d.HasArg("away") {
				response = s.exchange(request)
			}
			return !isCoordinatorAway(response) || d.HasArg("away")
		})
		s.settle(request)
		s.keepMember(strings.ReplaceAll(member, "%v", "v"+word), response)
		answer := strings.ReplaceAll(s.tell(response, shown), "-v"+word, "-%v")
		if first, seen := answers[answer]; seen {
			fmt.Fprintf(&out, "v%d: as v%s\n", version, first)
			continue
		}
		answers[answer] = word
		if len(asked) > 1 {
			fmt.Fprintf(&out, "v%d:\n", version)
		}
		out.WriteString(answer)
	}
	return out.String()
}

// settle waits until Apache Kafka does what its controller has said to be done. Its broker learns of changes in order:
// it takes those that there are at once, shows them, and puts them into effect one by one, before it takes more. So a
// change that is made now shows when those before it show, and one that is made after that shows when those are in
// effect.
func (s *story) settle(request kmsg.Request) {
	s.t.Helper()
	if *kafkaAddress == "" {
		return
	}
	switch request.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.DeleteTopicsRequest, *kmsg.CreatePartitionsRequest,
		*kmsg.AlterConfigsRequest, *kmsg.IncrementalAlterConfigsRequest, *kmsg.UpdateFeaturesRequest,
		*kmsg.AlterClientQuotasRequest, *kmsg.AlterPartitionAssignmentsRequest:
	default:
		return
	}
	user := "settled"
	for _, isSet := range []bool{true, false} {
		change := kmsg.NewPtrAlterClientQuotasRequest()
		change.Entries = []kmsg.AlterClientQuotasRequestEntry{{
			Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: &user}},
			Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1e9, Remove: !isSet}},
		}}
		s.exchange(change)
		look := kmsg.NewPtrDescribeClientQuotasRequest()
		look.Strict = true
		look.Components = []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", Match: &user}}
		s.await("changes are in effect", func() bool {
			return len(s.exchange(look).(*kmsg.DescribeClientQuotasResponse).Entries) > 0 == isSet
		})
	}
}

// request makes the request of an ask.
func (s *story) request(d *datadriven.TestData, name string, version int16) kmsg.Request {
	at := slices.IndexFunc(wire.Served[:], func(row wire.API) bool { return row.Name == name })
	if at < 0 {
		s.t.Fatalf("%s: no API %q", d.Pos, name)
	}
	request := kmsg.RequestForKey(wire.Served[at].Key)
	request.SetVersion(version)
	var fields map[string]any
	input := strings.ReplaceAll(d.Input, "%v", fmt.Sprint("v", version))
	decoder := json.NewDecoder(strings.NewReader(input))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		s.t.Fatalf("%s: %v", d.Pos, err)
	}
	text, err := json.Marshal(s.resolveIDs(fields))
	if err == nil {
		err = json.Unmarshal(text, request)
	}
	if err != nil {
		s.t.Fatalf("%s: %v", d.Pos, err)
	}
	return request
}

// resolveIDs replaces the placeholders of topic ids under v.
func (s *story) resolveIDs(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = s.resolveIDs(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = s.resolveIDs(v[key])
		}
	case string:
		if name, is := strings.CutPrefix(v, "$"); is {
			return [16]byte(s.ids[name])
		}
		if number, is := strings.CutPrefix(v, "#"); is {
			n, _ := strconv.Atoi(number)
			return [16]byte{0: byte(n), 15: 1}
		}
		if name, is := strings.CutPrefix(v, "@"); is {
			return s.members[name]
		}
		if length, is := strings.CutPrefix(v, "long:"); is {
			n, _ := strconv.Atoi(length)
			return strings.Repeat("x", n)
		}
		if topics, is := strings.CutPrefix(v, "subscription:"); is {
			return subscription(strings.Split(topics, ",")...)
		}
		if b, is := embedded(v); is {
			return b
		}
	}
	return v
}

// tell writes a response as text that is the same on every run and on every broker.
func (s *story) tell(response kmsg.Response, shown []string) string {
	if m, is := response.(*kmsg.MetadataResponse); is {
		for _, topic := range m.Topics {
			if topic.Topic != nil && topic.ErrorCode == 0 && m.Version >= 10 {
				s.ids[*topic.Topic] = topic.TopicID
			}
		}
	}
	s.steady(response)
	sortQuotas(response)
	if c, is := response.(*kmsg.CreateTopicsResponse); is {
		for _, topic := range c.Topics {
			s.ids[topic.Topic] = topic.TopicID
		}
	}
	text, err := json.Marshal(response)
	if err != nil {
		s.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		s.t.Fatal(err)
	}
	s.normalize(fields, shown)
	return layOut(fields)
}

// unsteady are the fields that say nothing about the broker's behaviour, or something else on every broker.
var unsteady = []string{
	"UnknownTags", "ThrottleMillis", "Version", "Port", "Documentation", "SupportedFeatures", "FinalizedFeatures",
	"FinalizedFeaturesEpoch", "ZkMigrationReady",
}

// normalize drops what is unsteady, null or empty, and puts placeholders for names that are drawn at random.
func (s *story) normalize(fields map[string]any, shown []string) {
	for key, value := range fields {
		switch value := value.(type) {
		case map[string]any:
			s.normalize(value, shown)
		case []any:
			fields[key] = s.normalizeList(key, value, shown)
		case float64:
			if name := s.producerName(key, value); name != "" {
				fields[key] = name
			} else if s.nonce != "" && (key == "StartTimestamp" || key == "LastTimestamp") && value > 0 {
				fields[key] = "a time"
			} else if key == "ProducerID" && value >= s.producerMin && !s.producers[value] {
				s.producers[value] = true
				fields[key] = "fresh"
			}
		case string:
			fields[key] = s.maskMembers(value)
			if s.isExact && key == "MemberAssignment" {
				fields[key] = readEmbedded(value)
			}
			if key == "Host" && value != "" || key == "ClusterID" && value != "" {
				fields[key] = "the " + strings.ToLower(key)
			}
		}
		isNothing := fields[key] == nil || isEmptyList(fields[key])
		if slices.Contains(unsteady, key) || isNothing && !s.isExact {
			delete(fields, key)
		}
	}
}

func isEmptyList(v any) bool {
	list, is := v.([]any)
	return is && len(list) == 0
}

func (s *story) normalizeList(key string, list []any, shown []string) any {
	if key == "TopicID" {
		return s.nameOf(list)
	}
	kept := []any{}
	for _, element := range list {
		fields, isMap := element.(map[string]any)
		switch {
		case isMap && key == "ApiKeys" && wire.Lookup(int16(fields["ApiKey"].(float64))) == nil:
			continue // not served yet
		case isMap && s.isHidden(fields):
			continue
		case isMap && key == "Configs" && !slices.Contains(shown, fields["Name"].(string)):
			continue
		case isMap:
			s.normalize(fields, shown)
		}
		kept = append(kept, element)
	}
	if !s.isOrdered && key != "Replicas" && key != "ISR" && key != "ConfigSynonyms" {
		slices.SortStableFunc(kept, func(a, b any) int { return strings.Compare(compact(a), compact(b)) })
	}
	return kept
}

// nameOf is the placeholder of a topic id.
func (s *story) nameOf(list []any) any {
	var id kafka.UUID
	for i := range list {
		id[i] = byte(list[i].(float64))
	}
	for _, name := range slices.Sorted(maps.Keys(s.ids)) {
		if s.ids[name] == id && id != kafka.ZeroUUID {
			return "$" + name
		}
	}
	switch {
	case id == kafka.ZeroUUID:
		return nil
	case id == kafka.UUID{0: id[0], 15: 1}:
		return "#" + strconv.Itoa(int(id[0]))
	}
	return "a random id"
}

func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// layOut writes the plain fields on a line, and each list of structures with a line for each of them.
func layOut(fields map[string]any) string {
	plain := map[string]any{}
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		list, is := fields[key].([]any)
		if !is {
			plain[key] = fields[key]
			continue
		}
		out.WriteString(key + ":\n")
		for _, element := range list {
			out.WriteString("  " + compact(element) + "\n")
		}
	}
	return compact(plain) + "\n" + out.String()
}
