package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// Metadata: which brokers there are, and who leads which partition. Topics that do not exist are created if both the
// client and auto.create.topics.enable wish it; then the request waits on a worker until the controller has decided,
// and is answered with the new topic. (Kafka answers at once that the topic is unknown, and the client asks again.)

// Versions of the Metadata API with a meaning of their own.
const (
	metadataNullIsAll    = 1  // before, an empty list asks for all topics; from here on it asks for none
	metadataAutoCreation = 4  // before, every request wishes it
	metadataNewListeners = 6  // from here on a leader without the client's listener is LISTENER_NOT_FOUND
	metadataByID         = 12 // 10 and 11 have the field, but must not use it
)

// autoCreationMs is how long a client is kept waiting for the topics that it made appear; then it is told to ask again.
const autoCreationMs = 5000

// metadataBlocks tells whether topics are to be created, or there are many to tell of.
func metadataBlocks(c *Context, r kmsg.Request) bool {
	request, img := r.(*kmsg.MetadataRequest), c.Node.Image()
	if len(request.Topics) > inlineMax || asksForAll(request) && img.PartitionCount() > inlineMax {
		return true
	}
	return len(c.creatable(img, request)) > 0
}

func getMetadata(ctx context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.MetadataRequest)
	response := request.ResponseKind().(*kmsg.MetadataResponse)
	if !validTopicRefs(request) {
		c.refuseMetadata(request, response, kafka.InvalidRequest)
		return response, nil
	}
	img := c.Node.Image()
	if missing := c.creatable(img, request); len(missing) > 0 {
		c.autoCreate(ctx, missing)
		img = c.Node.Image()
	}
	clusterID := img.ClusterID()
	response.ClusterID = &clusterID
	response.ControllerID = controllerOf(img, c.Node.ID)
	for _, b := range nodes(img, c.Conn.Listener(), false) {
		response.Brokers = append(response.Brokers, kmsg.MetadataResponseBroker{
			NodeID: b.id, Host: b.host, Port: b.port, Rack: b.rack,
		})
	}
	if request.IncludeClusterAuthorizedOperations {
		response.AuthorizedOperations = clusterOperations
	}
	d := topicDescriber{c: c, image: img, request: request, listener: c.Conn.Listener()}
	response.Topics = d.topics()
	return response, nil
}

// validTopicRefs tells whether every topic is named in a way that the version allows. (Kafka fails on a topic with
// neither name nor id with an error of its own code; here it is refused like the others.)
func validTopicRefs(request *kmsg.MetadataRequest) bool {
	for i := range request.Topics {
		t := &request.Topics[i]
		if t.Topic == nil && (request.Version < metadataByID || t.TopicID == kafka.ZeroUUID) {
			return false
		}
		if t.TopicID != kafka.ZeroUUID && request.Version < metadataByID {
			return false
		}
	}
	return true
}

// refuseMetadata gives every topic of the request the same error.
func (c *Context) refuseMetadata(request *kmsg.MetadataRequest, response *kmsg.MetadataResponse, err *kafka.Error) {
	response.ErrorCode = c.fail(err.Code)
	for i := range request.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.Topic, t.TopicID = err.Code, request.Topics[i].Topic, request.Topics[i].TopicID
		if t.Topic == nil {
			t.Topic = new(string)
		}
		response.Topics = append(response.Topics, t)
	}
}

// asksForAll tells whether the request is for all topics.
func asksForAll(request *kmsg.MetadataRequest) bool {
	return request.Topics == nil || len(request.Topics) == 0 && request.Version < metadataNullIsAll
}

// asksByID tells whether the request names a topic by its id: names beside it do not count.
func asksByID(request *kmsg.MetadataRequest) bool {
	for i := range request.Topics {
		if request.Topics[i].TopicID != kafka.ZeroUUID {
			return true
		}
	}
	return false
}

// creatable lists the topics that the request should make appear. Those that coordinators keep their state in appear
// when a coordinator needs them, with its own settings.
func (c *Context) creatable(img *image.Image, request *kmsg.MetadataRequest) (names []string) {
	wished := request.AllowAutoTopicCreation || request.Version < metadataAutoCreation
	if !wished || !c.Node.Config.Get().Bool("auto.create.topics.enable") || asksByID(request) {
		return nil
	}
	seen := map[string]bool{}
	for i := range request.Topics {
		name := request.Topics[i].Topic
		if name == nil || seen[*name] || img.Topic(*name) != nil || kafka.IsInternalTopic(*name) ||
			controller.CheckTopicName(*name) != nil {
			continue
		}
		seen[*name] = true
		names = append(names, *name)
	}
	return names
}

// autoCreate creates topics with the default numbers of partitions and replicas. What could not be created is unknown
// to the answer, as in Kafka; why is in the log.
func (c *Context) autoCreate(ctx context.Context, names []string) {
	// As in Kafka, where it becomes a request to create topics of the newest version.
	charged := c.mutations(0)
	cmd := controller.CreateTopics{Charge: charged.charger()}
	for _, name := range names {
		cmd.Topics = append(cmd.Topics, controller.NewTopic{
			Name: name, Partitions: controller.Default, ReplicationFactor: controller.Default,
		})
	}
	reply, err := c.decide(ctx, autoCreationMs, cmd)
	if err != nil {
		c.Node.Log.Warn("topics were not created on demand", "topics", names, "error", err)
		return
	}
	for _, t := range reply.(controller.CreateTopicsReply).Topics {
		if t.Err != nil && kafka.CodeOf(t.Err) != kafka.TopicAlreadyExists.Code {
			c.Node.Log.Warn("a topic was not created on demand", "topic", t.Name, "error", t.Err)
		}
	}
}

// topicDescriber makes the topics of a Metadata response.
type topicDescriber struct {
	c        *Context
	image    *image.Image
	request  *kmsg.MetadataRequest
	listener string
	ids      []int32 // backs the lists of replicas
}

func (d *topicDescriber) topics() (topics []kmsg.MetadataResponseTopic) {
	switch {
	case asksForAll(d.request):
		topics = make([]kmsg.MetadataResponseTopic, 0, d.image.TopicCount())
		for t := range d.image.Topics() {
			topics = append(topics, d.topic(t))
		}
	case asksByID(d.request):
		topics = d.byID()
	default:
		topics = d.byName()
	}
	return topics
}

func (d *topicDescriber) byID() (topics []kmsg.MetadataResponseTopic) {
	seen := make(map[kafka.UUID]bool, len(d.request.Topics))
	for i := range d.request.Topics {
		id := kafka.UUID(d.request.Topics[i].TopicID)
		if id == kafka.ZeroUUID || seen[id] {
			continue
		}
		seen[id] = true
		if t := d.image.TopicByID(id); t != nil {
			topics = append(topics, d.topic(t))
			continue
		}
		unknown := kmsg.NewMetadataResponseTopic()
		unknown.ErrorCode, unknown.TopicID = d.c.fail(kafka.UnknownTopicID.Code), id
		topics = append(topics, unknown)
	}
	return topics
}

func (d *topicDescriber) byName() (topics []kmsg.MetadataResponseTopic) {
	seen := make(map[string]bool, len(d.request.Topics))
	for i := range d.request.Topics {
		name := *d.request.Topics[i].Topic
		if seen[name] {
			continue
		}
		seen[name] = true
		if t := d.image.Topic(name); t != nil {
			topics = append(topics, d.topic(t))
			continue
		}
		err := kafka.UnknownTopicOrPartition
		if controller.CheckTopicName(name) != nil {
			err = kafka.InvalidTopicException
		}
		unknown := d.head(name, kafka.ZeroUUID)
		unknown.ErrorCode = d.c.fail(err.Code)
		topics = append(topics, unknown)
	}
	return topics
}

// head is a topic without its partitions.
func (d *topicDescriber) head(name string, id kafka.UUID) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &name, id, kafka.IsInternalTopic(name)
	if d.request.IncludeTopicAuthorizedOperations {
		t.AuthorizedOperations = topicOperations
	}
	return t
}

func (d *topicDescriber) topic(t *image.Topic) kmsg.MetadataResponseTopic {
	told := d.head(t.Name, t.ID)
	told.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		told.Partitions[i] = d.partition(int32(i), p)
	}
	return told
}

func (d *topicDescriber) partition(index int32, p *image.Partition) kmsg.MetadataResponseTopicPartition {
	told := kmsg.NewMetadataResponseTopicPartition()
	told.Partition, told.Leader, told.LeaderEpoch = index, int32(p.Leader), int32(p.LeaderEpoch)
	told.Replicas = d.list(p.Replicas, d.shown)
	told.ISR = d.list(p.ISR, d.shown)
	told.OfflineReplicas = d.list(p.Replicas, func(id kafka.BrokerID) bool { return d.offline(p, id) })
	switch leader := d.image.Broker(p.Leader); {
	case leader == nil:
		told.ErrorCode = kafka.LeaderNotAvailable.Code
	case !d.reachable(p.Leader) && d.request.Version >= metadataNewListeners:
		told.ErrorCode = kafka.ListenerNotFound.Code
	case !d.reachable(p.Leader):
		told.ErrorCode = kafka.LeaderNotAvailable.Code
	case len(told.Replicas) < len(p.Replicas) || len(told.ISR) < len(p.ISR):
		told.ErrorCode = kafka.ReplicaNotAvailable.Code
		return told
	default:
		return told
	}
	told.Leader = int32(kafka.NoBroker)
	d.c.fail(told.ErrorCode)
	return told
}

// list converts the ids for which keep is true.
func (d *topicDescriber) list(ids []kafka.BrokerID, keep func(kafka.BrokerID) bool) []int32 {
	first := len(d.ids)
	for _, id := range ids {
		if keep(id) {
			d.ids = append(d.ids, int32(id))
		}
	}
	return d.ids[first:len(d.ids):len(d.ids)]
}

// shown tells whether a replica is listed: version 0 leaves out those that cannot be reached.
func (d *topicDescriber) shown(id kafka.BrokerID) bool {
	return d.request.Version > 0 || d.reachable(id)
}

// reachable tells whether a broker has the client's listener.
func (d *topicDescriber) reachable(id kafka.BrokerID) bool {
	b := d.image.Broker(id)
	if b == nil {
		return false
	}
	_, ok := b.Endpoint(d.listener)
	return ok
}

// offline tells whether a replica is out of service: its broker is, or the log directory that it lies in.
func (d *topicDescriber) offline(p *image.Partition, id kafka.BrokerID) bool {
	b := d.image.Broker(id)
	return b == nil || b.Fenced || !d.reachable(id) || !online(b, p.Directory(id))
}

// online tells whether a broker still has a log directory. One that was not assigned yet counts as there.
func online(b *image.Broker, dir kafka.UUID) bool {
	if dir == kafka.ZeroUUID {
		return true
	}
	for _, has := range b.LogDirs {
		if has == dir {
			return true
		}
	}
	return false
}
