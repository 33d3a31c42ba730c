package api_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// dataDir is a folder for one test's broker. t.TempDir would not do: it puts the commas of a test's name into the path,
// and log.dirs is a list.
func dataDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spate-api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// ourBroker starts a broker of ours, whatever -kafka says, with these settings.
func ourBroker(t *testing.T, set ...string) *story {
	t.Helper()
	set = append([]string{"listeners=PLAINTEXT://127.0.0.1:0", "log.dirs=" + dataDir(t)}, set...)
	return &story{t: t, address: startBroker(t, set...)}
}

// metadataOf asks for topics by name, and gives error codes and numbers of partitions.
func (s *story) metadataOf(version int16, create bool, names ...string) map[string][2]int {
	s.t.Helper()
	request := kmsg.NewPtrMetadataRequest()
	request.Version, request.AllowAutoTopicCreation = version, create
	for _, name := range names {
		request.Topics = append(request.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	got := map[string][2]int{}
	for _, t := range s.exchange(request).(*kmsg.MetadataResponse).Topics {
		got[*t.Topic] = [2]int{int(t.ErrorCode), len(t.Partitions)}
	}
	return got
}

// Goal: topics appear when a client asks for them, if both sides wish it. Method: what the answer says, and what is
// there after it.
func TestAutoCreation(t *testing.T) {
	cases := []struct {
		name    string
		set     string
		version int16
		create  bool
		topics  []string
		want    map[string][2]int
	}{
		{"a new topic, at once and with the default number of partitions", "num.partitions=3", 4, true,
			[]string{"new"}, map[string][2]int{"new": {0, 3}}},
		{"version 3 cannot say that it does not wish it", "num.partitions=3", 3, false,
			[]string{"new"}, map[string][2]int{"new": {0, 3}}},
		{"version 0", "num.partitions=3", 0, false, []string{"new"}, map[string][2]int{"new": {0, 3}}},
		{"the client does not wish it", "num.partitions=3", 4, false,
			[]string{"new"}, map[string][2]int{"new": {3, 0}}},
		{"the broker does not wish it", "auto.create.topics.enable=false", 4, true,
			[]string{"new"}, map[string][2]int{"new": {3, 0}}},
		{"names that no topic can have and those of coordinators", "num.partitions=3", 12, true,
			[]string{"no name", "", "__consumer_offsets", "new", "new"},
			map[string][2]int{"no name": {17, 0}, "": {17, 0}, "__consumer_offsets": {3, 0}, "new": {0, 3}}},
		{"more replicas than brokers", "default.replication.factor=3", 12, true,
			[]string{"new"}, map[string][2]int{"new": {3, 0}}},
		{"a name that is too much like another", "num.partitions=3", 12, true,
			[]string{"a.b"}, map[string][2]int{"a.b": {0, 3}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := ourBroker(t, c.set)
			if diff := cmp.Diff(c.want, s.metadataOf(c.version, c.create, c.topics...)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.want, s.metadataOf(12, false, c.topics...)); diff != "" {
				t.Error("afterwards:", diff)
			}
		})
	}
}

// The codes are those of Apache Kafka 4.3.1.
func TestDeletionCanBeDisabled(t *testing.T) {
	s := ourBroker(t, "delete.topic.enable=false")
	s.metadataOf(9, true, "kept")
	for version, want := range map[int16]int16{
		1: kafka.InvalidRequest.Code, 2: kafka.InvalidRequest.Code, 3: kafka.TopicDeletionDisabled.Code,
		5: kafka.TopicDeletionDisabled.Code, 6: kafka.TopicDeletionDisabled.Code,
	} {
		request := kmsg.NewPtrDeleteTopicsRequest()
		request.Version, request.TimeoutMillis, request.TopicNames = version, 5000, []string{"kept"}
		request.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("kept")}}
		topics := s.exchange(request).(*kmsg.DeleteTopicsResponse).Topics
		if len(topics) != 1 || *topics[0].Topic != "kept" {
			t.Fatalf("v%d: %+v", version, topics)
		}
		if topics[0].ErrorCode != want || topics[0].ErrorMessage != nil {
			t.Errorf("v%d: %+v", version, topics)
		}
	}
	if got := s.metadataOf(9, false, "kept")["kept"]; got != [2]int{0, 1} {
		t.Error(got)
	}
}

// Goal: what needs a coordinator that is not there is refused so that the client looks for it. Method: every request
// about transactions to a broker where nobody has looked for a coordinator yet.
func TestTransactionsWithoutACoordinator(t *testing.T) {
	s := ourBroker(t)
	id := "tx"
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.Version, begin.TransactionalID, begin.TransactionTimeoutMillis = 4, &id, 1000
	begin.ProducerID, begin.ProducerEpoch = -1, -1
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.Version, add.TransactionalID = 3, id
	offsets := kmsg.NewPtrAddOffsetsToTxnRequest()
	offsets.Version, offsets.TransactionalID, offsets.Group = 3, id, "g"
	end := kmsg.NewPtrEndTxnRequest()
	end.Version, end.TransactionalID = 5, id
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{id}
	codes := []int16{
		s.exchange(begin).(*kmsg.InitProducerIDResponse).ErrorCode,
		s.exchange(offsets).(*kmsg.AddOffsetsToTxnResponse).ErrorCode,
		s.exchange(end).(*kmsg.EndTxnResponse).ErrorCode,
		s.exchange(describe).(*kmsg.DescribeTransactionsResponse).TransactionStates[0].ErrorCode,
	}
	for i, code := range codes {
		if code != kafka.NotCoordinator.Code {
			t.Errorf("request %d: error %d", i, code)
		}
	}
	if r := s.exchange(add).(*kmsg.AddPartitionsToTxnResponse); len(r.Topics) != 0 {
		t.Errorf("%+v", r)
	}
	list := s.exchange(kmsg.NewPtrListTransactionsRequest()).(*kmsg.ListTransactionsResponse)
	if list.ErrorCode != kafka.NoError || len(list.TransactionStates) != 0 {
		t.Errorf("%+v", list)
	}
}

// Goal: ids are not given again after a restart. Method: a broker that is closed and opened over the same directory.
func TestProducerIDsAreFreshAfterARestart(t *testing.T) {
	dir := t.TempDir()
	seen := map[int64]bool{}
	for run := range 3 {
		t.Run("", func(t *testing.T) {
			s := ourBroker(t, "log.dirs="+dir)
			for range 3 {
				response := s.exchange(kmsg.NewPtrInitProducerIDRequest()).(*kmsg.InitProducerIDResponse)
				if response.ErrorCode != 0 || response.ProducerEpoch != 0 || seen[response.ProducerID] {
					t.Errorf("run %d: %+v", run, response)
				}
				seen[response.ProducerID] = true
			}
		})
	}
}

// Goal: a resource type that does not exist spoils the whole request, one that is not served only itself.
func TestDescribeConfigsOfOtherResources(t *testing.T) {
	s := ourBroker(t)
	s.metadataOf(9, true, "orders")
	ask := func(types ...kmsg.ConfigResourceType) (codes []int16) {
		request := kmsg.NewPtrDescribeConfigsRequest()
		request.Version = 4
		for _, kind := range types {
			request.Resources = append(request.Resources,
				kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: "orders"})
		}
		for _, r := range s.exchange(request).(*kmsg.DescribeConfigsResponse).Resources {
			codes = append(codes, r.ErrorCode)
		}
		return codes
	}
	const topic, logger, metrics, group = 2, 8, 16, 32
	if diff := cmp.Diff([]int16{0, 42, 0, 0}, ask(topic, logger, metrics, group)); diff != "" {
		t.Error(diff)
	}
	for _, unknown := range []kmsg.ConfigResourceType{0, 1, 3, 64, -1} {
		if diff := cmp.Diff([]int16{42, 42}, ask(topic, unknown)); diff != "" {
			t.Errorf("type %d: %s", unknown, diff)
		}
	}
}

// Goal: a small request cannot make an answer of any size. Method: one topic, named many times.
func TestDescribeConfigsDescribesARepeatedResourceOnce(t *testing.T) {
	s := ourBroker(t)
	s.metadataOf(9, true, "orders")
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.Version = 4
	for range 100 {
		request.Resources = append(request.Resources,
			kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders"})
	}
	request.Resources = append(request.Resources, kmsg.DescribeConfigsRequestResource{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders", ConfigNames: []string{"segment.ms"},
	})
	got := s.exchange(request).(*kmsg.DescribeConfigsResponse).Resources
	if len(got) != 2 || len(got[0].Configs) < 20 || len(got[1].Configs) != 1 {
		t.Errorf("%d resources", len(got))
	}
}

// Goal: every key of a topic and of the broker is described: a value or null, a known source, a type and a sentence.
func TestDescribeConfigsTellsAll(t *testing.T) {
	s := ourBroker(t, "node.id=1")
	s.metadataOf(9, true, "orders")
	request := kmsg.NewPtrDescribeConfigsRequest()
	request.Version, request.IncludeDocumentation, request.IncludeSynonyms = 4, true, true
	request.Resources = []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders"},
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
	}
	for _, r := range s.exchange(request).(*kmsg.DescribeConfigsResponse).Resources {
		if r.ErrorCode != 0 || len(r.Configs) < 20 {
			t.Fatalf("%s: error %d, %d keys", r.ResourceName, r.ErrorCode, len(r.Configs))
		}
		seen := map[string]bool{}
		for _, c := range r.Configs {
			if seen[c.Name] || c.Source < 1 || c.ConfigType < 1 || c.Documentation == nil || *c.Documentation == "" {
				t.Errorf("%s: %+v", r.ResourceName, c)
			}
			seen[c.Name] = true
		}
	}
}
