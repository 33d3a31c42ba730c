package controller

import (
	"slices"
	"strings"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// recordsMax bounds the records of one request, as in Kafka: a request cannot make the log stop for long.
const recordsMax = 10_000

// errTooManyPartitions is Kafka's answer to more new partitions than recordsMax, which refuses the request as a whole.
// Where it is other records that make them too many, the answer is errTooManyChanges.
var errTooManyPartitions error = &Refusal{Code: kafka.PolicyViolation,
	Message: "Excessively large number of partitions per request."}

// CreateTopics creates topics, each on its own: some may fail and others not.
type CreateTopics struct {
	Topics       []NewTopic
	ValidateOnly bool // only say what would happen
	Charge       Charger
}

// Default stands for the configured number of partitions or replicas in a NewTopic.
const Default = -1

// NewTopic is a topic to create.
type NewTopic struct {
	Name              string
	ID                kafka.UUID // a fresh one; the driver draws it where it is zero
	Partitions        int32      // or Default
	ReplicationFactor int16      // or Default
	Assignments       []Assignment
	Configs           []ConfigEntry
}

// Assignment places one partition by hand.
type Assignment struct {
	Partition kafka.PartitionIndex
	Replicas  []kafka.BrokerID
}

// ConfigEntry is a config as a request has it; a nil value is an error when a topic is created.
type ConfigEntry struct {
	Name  string
	Value *string
}

// CreateTopicsReply has one result a topic name, in the order of the request.
type CreateTopicsReply struct {
	Topics []CreatedTopic
}

func (CreateTopicsReply) reply() {}

// CreatedTopic is what became of one topic. With an Err nothing but the name is set.
type CreatedTopic struct {
	Name              string
	ID                kafka.UUID // under ValidateOnly the one that it would have, as in Kafka
	Partitions        int32
	ReplicationFactor int16
	Configs           map[string]string // what was set, without defaults
	Err               error             // a *Refusal
}

func (cmd CreateTopics) decide(c *Controller) Outcome {
	var records []record.Record
	var reply CreateTopicsReply
	counts := make(map[string]int, len(cmd.Topics))
	for i := range cmd.Topics {
		counts[cmd.Topics[i].Name]++
	}
	if c.countPartitions(cmd.Topics, counts) > recordsMax {
		return Outcome{Err: errTooManyPartitions} // before anything is made for each of them
	}
	for i := range cmd.Topics {
		t := &cmd.Topics[i]
		result := CreatedTopic{Name: t.Name}
		switch count := counts[t.Name]; {
		case count == 0:
			continue // a duplicate that has been answered
		case count > 1:
			counts[t.Name] = 0
			result.Err = refuse(kafka.InvalidRequest, "Duplicate topic name.")
		default:
			created, err := c.createTopic(t, &result, cmd.Charge)
			if len(records)+len(created) > recordsMax {
				return Outcome{Err: errTooManyChanges}
			}
			if result.Err = err; err == nil {
				records = append(records, created...)
			} else {
				result = CreatedTopic{Name: t.Name, Err: err}
			}
		}
		reply.Topics = append(reply.Topics, result)
	}
	if cmd.ValidateOnly {
		records = nil
	}
	return Outcome{Records: records, Reply: reply}
}

// countPartitions is how many partitions the topics would have, also those that are refused, but for the names that are
// there more than once.
func (c *Controller) countPartitions(topics []NewTopic, counts map[string]int) (sum int) {
	for i := range topics {
		t := &topics[i]
		switch {
		case counts[t.Name] > 1:
		case len(t.Assignments) > 0:
			sum += len(t.Assignments)
		case t.Partitions == Default:
			sum += int(c.settings.PartitionsDefault)
		default:
			sum += int(max(t.Partitions, 0))
		}
	}
	return sum
}

// createTopic gives the records that create one topic and fills in the result.
func (c *Controller) createTopic(t *NewTopic, result *CreatedTopic, charge Charger) ([]record.Record, error) {
	if err := c.checkNewName(t.Name); err != nil {
		return nil, err
	}
	configs, err := c.newConfigs(t)
	if err != nil {
		return nil, err
	}
	replicas, err := c.placeTopic(t)
	if err != nil {
		return nil, err
	}
	if t.ID == kafka.ZeroUUID || c.image.TopicByID(t.ID) != nil {
		return nil, refuse(kafka.UnknownServerError, "Topic id %s is not a fresh one", t.ID)
	}
	records := []record.Record{&record.Topic{Name: t.Name, ID: t.ID}}
	result.Configs = make(map[string]string, len(configs))
	for _, entry := range configs { // Kafka's order: configs after the topic, before the partitions
		result.Configs[entry.Name] = *entry.Value
		records = append(records, &record.Config{
			ResourceType: int8(image.ResourceTopic), ResourceName: t.Name, Name: entry.Name, Value: entry.Value})
	}
	for i, placed := range replicas {
		p, err := c.newPartition(t, kafka.PartitionIndex(i), placed)
		if err != nil {
			return nil, err
		}
		records = append(records, p)
	}
	if err := charge.take(len(replicas)); err != nil {
		return nil, err
	}
	result.ID = t.ID
	result.Partitions = int32(len(replicas))
	result.ReplicationFactor = int16(len(replicas[0]))
	return records, nil
}

// newPartition is a partition's first state: led by its first active replica, all active ones in sync.
func (c *Controller) newPartition(
	t *NewTopic,
	index kafka.PartitionIndex,
	replicas []kafka.BrokerID,
) (*record.Partition, error) {
	p := &record.Partition{
		Index: index, TopicID: t.ID, Replicas: replicas, Leader: kafka.NoBroker, Directories: c.directories(replicas),
	}
	for _, id := range replicas {
		if c.image.Broker(id).Active() {
			p.ISR = append(p.ISR, id)
		}
	}
	if len(p.ISR) > 0 {
		p.Leader = p.ISR[0]
		return p, nil
	}
	if len(t.Assignments) > 0 {
		return nil, refuse(
			kafka.InvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for "+
				"partition %d are fenced or in controlled shutdown.",
			index,
		)
	}
	return nil, refuse(kafka.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): "+
		"All brokers are currently fenced or in controlled shutdown.", len(replicas))
}

// directories assigns each replica to the log directory of its broker, where it has only one; else the broker chooses.
func (c *Controller) directories(replicas []kafka.BrokerID) []kafka.UUID {
	dirs := make([]kafka.UUID, len(replicas))
	for i, id := range replicas {
		if b := c.image.Broker(id); len(b.LogDirs) == 1 {
			dirs[i] = b.LogDirs[0]
		}
	}
	return dirs
}

// placeTopic gives the replicas of each partition, at least one partition.
func (c *Controller) placeTopic(t *NewTopic) ([][]kafka.BrokerID, error) {
	if len(t.Assignments) > 0 {
		return c.placeByHand(t)
	}
	if t.ReplicationFactor < Default || t.ReplicationFactor == 0 {
		return nil, refuse(kafka.InvalidReplicationFactor,
			"Replication factor must be larger than 0, or -1 to use the default value.")
	}
	if t.Partitions < Default || t.Partitions == 0 {
		return nil, refuse(kafka.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	partitions, factor := t.Partitions, t.ReplicationFactor
	if partitions == Default {
		partitions = c.settings.PartitionsDefault
	}
	if factor == Default {
		factor = c.settings.ReplicationFactorDefault
	}
	return place(c.image.Brokers(), int(partitions), int(factor), t.ID)
}

func (c *Controller) placeByHand(t *NewTopic) ([][]kafka.BrokerID, error) {
	if t.ReplicationFactor != Default {
		return nil, refuse(kafka.InvalidRequest,
			"A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.Partitions != Default {
		return nil, refuse(kafka.InvalidRequest,
			"A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	placed := map[kafka.PartitionIndex][]kafka.BrokerID{}
	factor := 0
	for _, a := range t.Assignments {
		if _, ok := placed[a.Partition]; ok {
			return nil, refuse(kafka.InvalidReplicaAssignment,
				"Found multiple manual partition assignments for partition %d", a.Partition)
		}
		if err := c.checkAssignment(a.Replicas, factor); err != nil {
			return nil, err
		}
		factor = len(a.Replicas)
		placed[a.Partition] = slices.Clone(a.Replicas)
	}
	replicas := make([][]kafka.BrokerID, len(placed))
	for i := range replicas {
		if replicas[i] = placed[kafka.PartitionIndex(i)]; replicas[i] == nil {
			return nil, refuse(
				kafka.InvalidReplicaAssignment,
				"partitions should be a consecutive 0-based integer sequence",
			)
		}
	}
	return replicas, nil
}

// checkAssignment looks at the replicas of one partition; factor is the number that the partition before has, 0 for the
// first partition.
func (c *Controller) checkAssignment(replicas []kafka.BrokerID, factor int) error {
	if len(replicas) == 0 {
		return refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if c.image.Broker(id) == nil {
			return refuse(kafka.InvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return refuse(kafka.InvalidReplicaAssignment,
				"The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor > 0 && len(replicas) != factor {
		return refuse(kafka.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d "+
			"replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), factor)
	}
	return nil
}

// newConfigs is the configs of a new topic by name, of which the last of a name counts.
func (c *Controller) newConfigs(t *NewTopic) ([]ConfigEntry, error) {
	var nulls []string
	values := make(map[string]string, len(t.Configs))
	for _, entry := range t.Configs {
		if entry.Value == nil {
			nulls = append(nulls, entry.Name)
			continue
		}
		if len(*entry.Value) > configValueBytesMax {
			return nil, errConfigTooLong
		}
		values[entry.Name] = *entry.Value
	}
	if len(nulls) > 0 {
		return nil, refuse(
			kafka.InvalidConfig,
			"Null value not supported for topic configs: %s",
			strings.Join(nulls, ","),
		)
	}
	if len(values) > 0 {
		if err := c.settings.ValidateConfigs(c.image, image.TopicResource(t.Name), values); err != nil {
			return nil, refuse(kafka.InvalidConfig, "%s", err)
		}
	}
	entries := make([]ConfigEntry, 0, len(values))
	for name, value := range values {
		entries = append(entries, ConfigEntry{Name: name, Value: &value})
	}
	slices.SortFunc(entries, func(a, b ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}
