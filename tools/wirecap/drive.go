package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/proc"
	"spate/kafka/wire"
)

// topic is what all clients read and write.
const topic = "wirecap"

// driveKafka starts a Kafka that advertises the relay, and lets every client talk to it.
func driveKafka(ctx context.Context, r *relay) error {
	dir, err := os.MkdirTemp("", "wirecap")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	port, err := freePort()
	if err != nil {
		return err
	}
	advertised := fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d", r.address(), port+1)
	node, err := proc.StartKafka(dir, port, map[string]string{
		"advertised.listeners": advertised, "group.initial.rebalance.delay.ms": "0",
	})
	if err != nil {
		return err
	}
	defer node.Kill()
	r.broker = node.Bootstrap
	r.start()
	if err := runTools(ctx, r.address()); err != nil {
		return err
	}
	if err := runFranz(ctx, r.address()); err != nil {
		return err
	}
	return runDriver(r.address())
}

// freePort finds a port that is free now, and hopefully the one after it, which the controller takes.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// runTools runs Kafka's own command-line tools.
func runTools(ctx context.Context, bootstrap string) error {
	const consume = "--timeout-ms 4000 --consumer-property auto.offset.reset=earliest --group "
	server := []string{"--bootstrap-server", bootstrap}
	for _, run := range []struct {
		class, args, input string
	}{
		{"TopicCommand", "--create --topic " + topic + " --partitions 2 --replication-factor 1", ""},
		{"TopicCommand", "--create --topic short-lived --config retention.ms=1000", ""},
		{"TopicCommand", "--list", ""},
		{"TopicCommand", "--describe", ""},
		{"TopicCommand", "--delete --topic short-lived", ""},
		{"ConsoleProducer", "--topic " + topic, "one\ntwo\nthree\n"},
		{"ConsoleProducer", "--topic " + topic + " --compression-codec gzip", "four\n"},
		{"consumer.ConsoleConsumer", "--topic " + topic + " --partition 0 --offset earliest --timeout-ms 3000", ""},
		{"consumer.ConsoleConsumer", consume + "classic-readers --topic " + topic, ""},
		{"consumer.ConsoleConsumer", consume + "readers --consumer-property group.protocol=consumer " +
			"--topic " + topic, ""},
		{"consumer.ConsoleConsumer", consume + "readers-of-all --consumer-property group.protocol=consumer " +
			"--include wire.* --consumer-property group.instance.id=one", ""},
		{"consumer.group.ConsumerGroupCommand", "--list --state", ""},
		{"consumer.group.ConsumerGroupCommand", "--describe --all-groups --members --verbose", ""},
		{"consumer.group.ConsumerGroupCommand", "--describe --all-groups", ""},
		{"consumer.group.ConsumerGroupCommand", "--reset-offsets --group classic-readers --to-earliest --execute " +
			"--topic " + topic, ""},
		{"consumer.group.ConsumerGroupCommand", "--delete-offsets --group classic-readers --topic " + topic, ""},
		{"consumer.group.ConsumerGroupCommand", "--delete --group classic-readers", ""},
		{"kafka.admin.ConfigCommand", "--alter --entity-type groups --entity-name readers --add-config " +
			"consumer.session.timeout.ms=50000", ""},
		{"kafka.admin.ConfigCommand", "--describe --entity-type groups", ""},
		{"GetOffsetShell", "--topic " + topic + " --time -3", ""},
		{"kafka.admin.ConfigCommand", "--describe --all --entity-type topics --entity-name " + topic, ""},
		{"ClusterTool", "cluster-id", ""},
		{"BrokerApiVersionsCommand", "", ""},
	} {
		cmd, err := proc.KafkaTool(ctx, run.class, append(strings.Fields(run.args), server...)...)
		if err != nil {
			return err
		}
		cmd.Stdin = strings.NewReader(run.input)
		if out, err := cmd.CombinedOutput(); err != nil {
			var exit *exec.ExitError
			if !errors.As(err, &exit) || run.class != "consumer.ConsoleConsumer" { // it ends by its time-out
				return fmt.Errorf("%s %s: %w\n%s", run.class, run.args, err, out)
			}
		}
	}
	return nil
}

// runFranz produces and consumes with franz-go.
func runFranz(ctx context.Context, bootstrap string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID("franz-go"), kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup("franz"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer client.Close()
	record := &kgo.Record{
		Topic: topic, Key: []byte("key"), Value: []byte("value"),
		Headers: []kgo.RecordHeader{{Key: "header", Value: []byte("yes")}},
	}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return err
	}
	if err := client.PollFetches(ctx).Err(); err != nil {
		return err
	}
	if err := client.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	if err := client.LeaveGroupContext(ctx); err != nil {
		return err
	}
	return runTransaction(ctx, bootstrap)
}

// driverID is the client id of the driver.
const driverID = "wirecap"

// driver sends requests of its own making, at every version.
type driver struct {
	conn        net.Conn
	correlation int32
	topicID     [16]byte
	nextTopic   int
	members     map[int16]string // ids in the groups, by the version that they joined with
	producer    *kmsg.InitProducerIDResponse
}

// runDriver sends every API that Spate serves at every version.
func runDriver(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	d := &driver{conn: conn, members: map[int16]string{}}
	if err := d.lookUp(); err != nil {
		return err
	}
	if err := d.initTransactions(); err != nil {
		return err
	}
	for i := range wire.Served {
		row := &wire.Served[i]
		for version := row.Min; version <= row.Max; version++ {
			request := kmsg.RequestForKey(row.Key)
			request.SetVersion(version)
			d.fill(request)
			response, err := d.ask(request)
			if err == nil {
				err = d.joinAgain(request, response)
			}
			if err != nil {
				return fmt.Errorf("%s v%d: %w", row.Name, version, err)
			}
		}
	}
	return nil
}

// lookUp learns the id of the topic.
func (d *driver) lookUp() error {
	request := kmsg.NewPtrMetadataRequest()
	request.Version = 12
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(topic)}}
	response, err := d.ask(request)
	if err != nil {
		return err
	}
	d.topicID = response.(*kmsg.MetadataResponse).Topics[0].TopicID
	return nil
}

// ask sends request and reads its response.
func (d *driver) ask(request kmsg.Request) (kmsg.Response, error) {
	d.correlation++
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(driverID)).AppendRequest(nil, request, d.correlation)
	if err := d.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := d.conn.Write(frame); err != nil {
		return nil, err
	}
	answer, err := readFrame(d.conn)
	if err != nil {
		return nil, err
	}
	response := request.ResponseKind()
	head := len(wire.AppendResponseHeader(nil, request.Key(), request.GetVersion(), d.correlation))
	return response, response.ReadFrom(answer[4+head:])
}

// fill gives request something to ask for.
func (d *driver) fill(request kmsg.Request) {
	switch r := request.(type) {
	case *kmsg.ProduceRequest:
		d.fillProduce(r)
	case *kmsg.FetchRequest:
		d.fillFetch(r)
	case *kmsg.ListOffsetsRequest:
		d.fillListOffsets(r)
	case *kmsg.MetadataRequest:
		d.fillMetadata(r)
	case *kmsg.ApiVersionsRequest:
		r.ClientSoftwareName, r.ClientSoftwareVersion = "wirecap", "1.0"
	case *kmsg.CreateTopicsRequest:
		d.fillCreateTopics(r)
	case *kmsg.DeleteTopicsRequest:
		r.TimeoutMillis = 5000
		r.TopicNames = []string{d.lastTopic(), "no-such-topic"}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr(d.lastTopic())}, {TopicID: [16]byte{1, 2, 3}}}
		d.nextTopic--
	case *kmsg.InitProducerIDRequest:
		r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = 60_000, -1, -1
	case *kmsg.OffsetForLeaderEpochRequest:
		r.ReplicaID = -1
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic}}
		for partition := range int32(3) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions,
				kmsg.OffsetForLeaderEpochRequestTopicPartition{Partition: partition, CurrentLeaderEpoch: -1})
		}
	case *kmsg.DescribeConfigsRequest:
		r.IncludeSynonyms, r.IncludeDocumentation = true, true
		r.Resources = []kmsg.DescribeConfigsRequestResource{
			describe(kmsg.ConfigResourceTypeTopic, topic, "retention.ms", "segment.bytes"),
			describe(kmsg.ConfigResourceTypeBroker, "1", "num.io.threads"),
			describe(kmsg.ConfigResourceTypeTopic, "no-such-topic"),
		}
	case *kmsg.DescribeClusterRequest:
		r.IncludeClusterAuthorizedOperations, r.EndpointType = true, 1
	default:
		d.fillTransaction(request)
	}
}

func describe(kind kmsg.ConfigResourceType, name string, keys ...string) kmsg.DescribeConfigsRequestResource {
	return kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: name, ConfigNames: keys}
}

func (d *driver) fillProduce(r *kmsg.ProduceRequest) {
	r.Acks, r.TimeoutMillis = -1, 5000
	r.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, TopicID: d.topicID}}
	for partition := range int32(3) { // the third is unknown
		r.Topics[0].Partitions = append(r.Topics[0].Partitions,
			kmsg.ProduceRequestTopicPartition{Partition: partition, Records: batch("v" + strconv.Itoa(int(r.Version)))})
	}
}

func (d *driver) fillFetch(r *kmsg.FetchRequest) {
	r.ReplicaID, r.MaxWaitMillis, r.MaxBytes, r.SessionEpoch = -1, 100, 1<<20, 0
	r.ReplicaState.ID, r.ReplicaState.Epoch = -1, -1
	r.IsolationLevel, r.Rack = int8(r.Version%2), "rack"
	r.Topics = []kmsg.FetchRequestTopic{{Topic: topic, TopicID: d.topicID}}
	for partition := range int32(3) { // the third is unknown
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes = partition, 500
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	}
	if r.Version == 12 { // an epoch of the future: the answer names the current leader
		r.Topics[0].Partitions[0].CurrentLeaderEpoch = 9
	}
}

func (d *driver) fillListOffsets(r *kmsg.ListOffsetsRequest) {
	r.ReplicaID, r.IsolationLevel, r.TimeoutMillis = -1, 1, 1000
	r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic}}
	for partition, timestamp := range []int64{-2, -1, 0} { // the third is unknown
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(partition), timestamp
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, p)
	}
}

func (d *driver) fillMetadata(r *kmsg.MetadataRequest) {
	r.IncludeClusterAuthorizedOperations, r.IncludeTopicAuthorizedOperations = true, true
	r.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(topic)}, {Topic: kmsg.StringPtr("no-such-topic")}}
	if r.Version >= 12 {
		r.Topics = append(r.Topics, kmsg.MetadataRequestTopic{TopicID: [16]byte{1, 2, 3}})
		r.Topics[0] = kmsg.MetadataRequestTopic{TopicID: d.topicID}
	}
}

func (d *driver) lastTopic() string { return "created-" + strconv.Itoa(d.nextTopic) }

func (d *driver) fillCreateTopics(r *kmsg.CreateTopicsRequest) {
	d.nextTopic++
	counted := kmsg.NewCreateTopicsRequestTopic()
	counted.Topic, counted.NumPartitions, counted.ReplicationFactor = d.lastTopic(), 2, 1
	counted.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("1000")}}
	assigned := kmsg.NewCreateTopicsRequestTopic()
	assigned.Topic, assigned.NumPartitions, assigned.ReplicationFactor = "assigned-"+strconv.Itoa(d.nextTopic), -1, -1
	assigned.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1}}}
	existing := kmsg.NewCreateTopicsRequestTopic()
	existing.Topic, existing.NumPartitions, existing.ReplicationFactor = topic, 1, 1
	r.Topics, r.TimeoutMillis = []kmsg.CreateTopicsRequestTopic{counted, assigned, existing}, 5000
	if r.Version >= 5 { // the answer lists all configs: one topic is enough
		r.Topics = r.Topics[:1]
	}
}

// batch is a record batch of one record.
func batch(value string) []byte {
	record := kmsg.Record{Key: []byte("key"), Value: []byte(value)}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // less the length itself, one byte
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: time.Now().UnixMilli(), NumRecords: 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: record.AppendTo(nil),
	}
	b.MaxTimestamp = b.FirstTimestamp
	raw := b.AppendTo(nil)
	const lengthAt, leaderEpochAt, crcAt, attributesAt = 8, 12, 17, 21
	binary.BigEndian.PutUint32(raw[lengthAt:], uint32(len(raw)-leaderEpochAt))
	crc := crc32.Checksum(raw[attributesAt:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(raw[crcAt:], crc)
	return raw
}
