package adopt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"spate/internal/config"
	"spate/kafka"
	"spate/metadata"
	"spate/metadata/image"
	meta "spate/metadata/record"
)

// metadataVersion is the level at which the new metadata log is written.
const metadataVersion = metadata.MetadataVersion

// The topics that brokers keep a state of their own in.
const (
	groupTopic       = "__consumer_offsets"
	transactionTopic = "__transaction_state"
	shareTopic       = "__share_group_state"
	remoteTopic      = "__remote_log_metadata"
)

// converter makes the image that Spate begins with from the one that Kafka ended with.
type converter struct {
	node     kafka.BrokerID
	defaults *config.Config
	dirs     map[kafka.TopicPartition]kafka.UUID // where each partition's folder is
	flushed  map[kafka.TopicPartition]kafka.Offset
	named    []kafka.UUID // the directories
	from     *image.Image
	builder  *image.Builder
	refusals []string
	notes    []string
}

func (c *converter) refuse(format string, args ...any) {
	c.refusals = append(c.refusals, fmt.Sprintf(format, args...))
}

func (c *converter) note(format string, args ...any) {
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// convert gives the image, which ends where the source does.
func (c *converter) convert(end kafka.Offset, epoch kafka.LeaderEpoch) (*image.Image, error) {
	c.builder = image.NewBuilder(image.Empty(c.from.ClusterID()))
	topics := map[kafka.UUID]string{}
	for r := range c.from.Records() {
		switch r := r.(type) {
		case *meta.FeatureLevel:
			r = c.feature(r)
			if r == nil {
				continue
			}
			if err := c.builder.Apply(r); err != nil {
				return nil, err
			}
			continue
		case *meta.RegisterBroker:
			c.broker(r)
		case *meta.Topic:
			topics[r.ID] = r.Name
			c.topic(r.Name)
		case *meta.Partition:
			c.partition(topics[r.TopicID], r)
		case *meta.Config:
			continue // below, by resource
		}
		if err := c.builder.Apply(r); err != nil {
			return nil, err
		}
	}
	if err := c.configs(); err != nil {
		return nil, err
	}
	c.builder.AdvanceTo(end, epoch)
	next, _ := c.builder.Build()
	return next, nil
}

// feature gives the record of a finalized feature, nil where it goes.
func (c *converter) feature(f *meta.FeatureLevel) *meta.FeatureLevel {
	known, ok := featureTable[f.Name]
	switch {
	case !ok:
		c.refuse("the feature %s is finalized, which this Spate does not know", f.Name)
		return nil
	case f.Level > known.levelMax:
		c.refuse("the feature %s is finalized at level %d, and this Spate knows it up to level %d",
			f.Name, f.Level, known.levelMax)
		return nil
	case !known.keep:
		c.note("the finalized feature %s=%d is left out: nothing on disk depends on it", f.Name, f.Level)
		return nil
	case f.Name == "metadata.version" && f.Level != metadataVersion:
		c.note("metadata.version goes from %d to %d", f.Level, metadataVersion)
		return &meta.FeatureLevel{Name: f.Name, Level: metadataVersion}
	}
	return f
}

// broker looks at a registration.
func (c *converter) broker(b *meta.RegisterBroker) {
	if b.BrokerID != c.node {
		c.refuse("broker %d is registered beside this node %d: move its partitions here, stop it and unregister it",
			b.BrokerID, c.node)
	}
	if len(b.CordonedLogDirs) > 0 {
		c.note("cordoned log directories take new partitions again")
	}
	b.CordonedLogDirs = nil
}

// topic looks at topics with a meaning.
func (c *converter) topic(name string) {
	switch name {
	case shareTopic:
		c.refuse("share groups are in use (topic %s), which are not served yet: what they acknowledged would be lost",
			name)
	case remoteTopic:
		c.refuse("remote storage is in use (topic %s), which is not served yet", name)
	}
}

// partition makes a partition one that this node alone has.
func (c *converter) partition(topic string, p *meta.Partition) {
	if !slices.Equal(p.Replicas, []kafka.BrokerID{c.node}) || len(p.AddingReplicas)+len(p.RemovingReplicas) > 0 {
		c.refuse("partition %s-%d has replicas on brokers %v: only those on this node %d alone can be taken over",
			topic, p.Index, p.Replicas, c.node)
		return
	}
	// Kafka empties the ISR of a broker that stops, and remembers it as eligible. The only replica has all there is.
	p.ISR, p.ELR, p.LastKnownELR = []kafka.BrokerID{c.node}, nil, nil
	p.LeaderRecoveryState = meta.LeaderRecovered
	tp := kafka.TopicPartition{Topic: topic, Partition: p.Index}
	if dir, found := c.dirs[tp]; found {
		p.Directories = []kafka.UUID{dir}
		return
	}
	c.missing(tp, p.Directories)
}

// missing looks at a partition without a folder: one that was never made, or one that is elsewhere.
func (c *converter) missing(tp kafka.TopicPartition, placed []kafka.UUID) {
	for _, dir := range placed {
		if !isReserved(dir) && !slices.Contains(c.named, dir) {
			c.refuse("%s lies in the log directory with directory.id %s, which is not named: name all of log.dirs, "+
				"or delete the topic if the directory is lost", tp, dir)
			return
		}
	}
	if offset := c.flushed[tp]; offset > 0 {
		c.refuse("%s has no folder, but everything below offset %d had been flushed: records are missing", tp, offset)
		return
	}
	c.note("%s has no folder yet: it begins empty", tp)
}

// isReserved tells whether the id of a directory names none: Kafka has the first hundred for unassigned, lost and such.
func isReserved(dir kafka.UUID) bool {
	for _, b := range dir[:len(dir)-1] {
		if b != 0 {
			return false
		}
	}
	return dir[len(dir)-1] < 100
}

// configs takes over what is set for topics, groups and brokers.
func (c *converter) configs() error {
	for resource, configs := range c.from.AllConfigs() {
		kept := maps.Clone(configs)
		switch resource.Type {
		case image.ResourceTopic:
			c.topicConfigs(resource.Name, kept)
		case image.ResourceGroup:
			if err := c.defaults.ValidateGroup(kept); err != nil {
				c.refuse("group %s: %v", resource.Name, err)
			}
		case image.ResourceBroker:
			c.brokerConfigs(resource.Name, kept)
		case image.ResourceClientMetrics:
			if err := config.ValidateClientMetrics(resource.Name, kept); err != nil {
				c.refuse("client metrics subscription %s: %v", resource.Name, err)
			}
		default:
			c.refuse("configs are set for %s %s, which this Spate does not know", resource.Type, resource.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(kept)) {
			value := kept[name]
			r := &meta.Config{
				ResourceType: int8(resource.Type),
				ResourceName: resource.Name,
				Name:         name,
				Value:        &value,
			}
			if err := c.builder.Apply(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// topicConfigs checks what is set for a topic, and takes out what asks for what holds anyway.
func (c *converter) topicConfigs(topic string, configs map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		err := config.ValidateTopic(map[string]string{name: configs[name]})
		var unknown *config.UnknownKeyError
		if err == nil {
			continue
		}
		if value, ok := harmless[name]; ok && errors.As(err, &unknown) && value == configs[name] {
			c.note("topic %s: %s=%s is left out: it is so anyway", topic, name, value)
			delete(configs, name)
			continue
		}
		c.refuse("topic %s: %v (it is set to %q)", topic, err, configs[name])
	}
}

// brokerConfigs checks what was set for brokers while they ran. What is set for another broker is in force nowhere.
func (c *converter) brokerConfigs(broker string, configs map[string]string) {
	of := "all brokers"
	if broker != "" {
		of = "broker " + broker
	}
	if broker != "" && broker != strconv.Itoa(int(c.node)) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		value := configs[name]
		if harmless[name] == value && value != "" && config.Lookup(config.BrokerScope, name) == nil {
			c.note("the dynamic config %s=%s of %s is left out: it is so anyway", name, value, of)
			delete(configs, name)
			continue
		}
		if why := c.dynamic(name, value); why != "" {
			c.refuse(
				"%s is set dynamically for %s, %s: remove it with kafka-configs.sh --alter --delete-config, and put "+
					"what is needed into the properties file",
				name,
				of,
				why,
			)
		}
	}
}

// dynamic says why a broker's config cannot be set while it runs, or nothing.
func (c *converter) dynamic(name, value string) string {
	set := config.Dynamic{Cluster: map[string]string{name: value}}
	if _, warnings := c.defaults.With(set); len(warnings) > 0 {
		return "where it cannot be (" + strings.TrimPrefix(warnings[0].Message, "set at run time and ignored: ") + ")"
	}
	if config.Lookup(config.BrokerScope, name) != nil {
		return ""
	}
	if err := c.defaults.ValidateDynamic(set, false); err != nil { // one that Kafka knows
		return "which is not served"
	}
	return "" // a plugin's, for all that anybody knows: it is kept, as Kafka does
}
