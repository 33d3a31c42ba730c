package broker

import (
	"errors"
	"strconv"
	"time"

	"spate/broker/api"
	"spate/broker/quota"
	"spate/internal/config"
	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata"
	"spate/metadata/controller"
	"spate/metadata/image"
	meta "spate/metadata/record"
	"spate/netpoll"
	"spate/partition"
	"spate/replica"
)

// topicSettings resolves the settings of a topic. The controller has validated the overrides.
func topicSettings(c *config.Config, overrides map[string]string) replica.Settings {
	t, err := c.Topic(overrides)
	invariant.Check(err == nil, "a topic has configs that were refused: %v", err)
	compression, err := record.ParseCompression(t.Compression, compressionLevel(t))
	invariant.Check(err == nil, "a topic has a compression that was refused: %v", err)
	s := partition.DefaultConfig()
	s.SegmentBytes = int64(t.SegmentBytes)
	s.SegmentAge = t.SegmentInterval
	s.SegmentJitter = t.SegmentJitter
	s.IndexBytesMax = t.SegmentIndexBytes
	s.IndexIntervalBytes = t.IndexIntervalBytes
	s.Delete = t.CleanupDelete
	s.Compact = t.CleanupCompact
	s.RetentionBytes = t.RetentionBytes
	s.RetentionAge = foreverIfNegative(t.Retention)
	s.DeleteRetention = t.DeleteRetention
	s.CompactionLagMin = t.CompactionLagMin
	s.CompactionLagMax = t.CompactionLagMax
	s.DirtyRatioMin = t.DirtyRatioMin
	s.FileDeleteDelay = t.FileDeleteDelay
	s.FlushRecords = t.FlushMessages
	s.FlushInterval = t.FlushInterval
	s.BatchBytesMax = t.MessageBytesMax
	s.TimestampBeforeMax = t.TimestampBeforeMax
	s.TimestampAfterMax = t.TimestampAfterMax
	s.Compression = compression
	s.Durability = partition.DurabilityFlush
	if t.PageCacheDurability {
		s.Durability = partition.DurabilityPageCache
	}
	if t.LogAppendTime {
		s.TimestampType = record.LogAppendTime
	}
	return replica.Settings{Log: s, ISRMin: t.MinInSyncReplicas}
}

// dynamicConfigs is what the image has set for all brokers and for one.
func dynamicConfigs(img *image.Image, id int32) config.Dynamic {
	return config.Dynamic{
		Cluster: img.Configs(image.BrokerResource("")),
		Broker:  img.Configs(image.BrokerResource(strconv.Itoa(int(id)))),
	}
}

// controllerSettings are the parts of the configuration that the controller decides by. c is as it was started.
func controllerSettings(c *config.Config) controller.Settings {
	return controller.Settings{
		PartitionsDefault:        int32(c.Int("num.partitions")),
		ReplicationFactorDefault: int16(c.Int("default.replication.factor")),
		NodeID:                   kafka.BrokerID(c.NodeID()),
		Features:                 features,
		ValidateConfigs: func(now *image.Image, r image.Resource, configs map[string]string) error {
			switch {
			case r.Type == image.ResourceBroker:
				return validateBroker(c, now, r.Name, configs)
			case r.Type == image.ResourceClientMetrics:
				return asRefusal(config.ValidateClientMetrics(r.Name, configs))
			case r.Type == image.ResourceGroup:
				inForce, _ := c.With(dynamicConfigs(now, c.NodeID()))
				return inForce.ValidateGroup(configs)
			}
			return config.ValidateTopic(configs)
		},
		ListDefault: listDefault,
	}
}

// features are the levels that this node supports.
var features = []meta.FeatureRange{
	{Name: "metadata.version", Min: metadata.MetadataVersion, Max: metadata.MetadataVersion},
	{Name: "group.version", Min: 0, Max: 1}, // 1: KIP-848's consumer groups
	{Name: transactionVersion, Min: 0, Max: transactionVersionMax},
}

// listDefault implements controller.Settings.ListDefault. Those of client metrics are no lists for Kafka's controller.
func listDefault(t image.ResourceType, name string) (string, controller.ConfigKind) {
	scopes := map[image.ResourceType]config.Scope{
		image.ResourceTopic: config.TopicScope, image.ResourceGroup: config.GroupScope,
		image.ResourceBroker: config.BrokerScope,
	}
	scope, ok := scopes[t]
	if !ok {
		return "", controller.UnknownConfig
	}
	text, isList, known := scope.ListDefault(name)
	switch {
	case isList:
		return text, controller.ListConfig
	case known:
		return "", controller.PlainConfig
	}
	return "", controller.UnknownConfig
}

// validateBroker checks what is to be set for one broker, or for all of them where name is empty. Kafka has it checked
// by the broker that is asked, with its own file; there is one here.
func validateBroker(c *config.Config, now *image.Image, name string, configs map[string]string) error {
	if id, err := strconv.ParseInt(name, 10, 32); name != "" && (err != nil || id < 0) {
		return &controller.Refusal{Code: kafka.InvalidRequest,
			Message: "Unable to parse broker name as a base 10 number."}
	}
	d := dynamicConfigs(now, c.NodeID())
	inForce, _ := c.With(d)
	if name == "" {
		d.Cluster = configs
	} else {
		d.Broker = configs
	}
	if err := inForce.ValidateDynamic(d, name != ""); err != nil {
		return &controller.Refusal{Code: kafka.InvalidRequest, Message: err.Error()}
	}
	return nil
}

// asRefusal gives an error of package config the code that Kafka answers.
func asRefusal(err error) error {
	var invalid *config.RequestError
	if errors.As(err, &invalid) {
		return &controller.Refusal{Code: kafka.InvalidRequest, Message: invalid.Message}
	}
	return err
}

// compressionLevel is the level for the topic's codec; the others have none.
func compressionLevel(t config.Topic) int {
	switch t.Compression {
	case "gzip":
		return t.GzipLevel
	case "lz4":
		return t.LZ4Level
	case "zstd":
		return t.ZstdLevel
	}
	return 0
}

func foreverIfNegative(d time.Duration) time.Duration {
	if d < 0 {
		return partition.Forever
	}
	return d
}

// netOptions are the server's limits.
func netOptions(env Env, c *config.Config) netpoll.Options {
	o := netpoll.Options{
		FrameBytesMax:       c.Int("socket.request.max.bytes"),
		ConnectionsMax:      c.Int("max.connections"),
		ConnectionsPerIPMax: c.Int("max.connections.per.ip"),
		PerIPOverrides:      c.PerIPOverrides(),
		IdleTimeout:         c.Duration("connections.max.idle.ms"),
		FrameTimeout:        c.Duration("spate.frame.timeout.ms"),
		MemoryBytesMax:      max(c.Int64("queued.max.request.bytes"), 0),
		Backlog:             c.Int("socket.listen.backlog.size"),
		Clock:               env.Clock,
		Log:                 env.Log,
	}
	if c.IsSet("num.network.threads") {
		o.Loops = c.Int("num.network.threads")
	}
	// Kafka's defaults are less than a network with some delay needs, and a fixed size keeps the kernel from finding a
	// better one: a fetch of 1 MiB took twice the processor time.
	if c.IsSet("socket.send.buffer.bytes") {
		o.SendBufferBytes = c.Int("socket.send.buffer.bytes")
	}
	if c.IsSet("socket.receive.buffer.bytes") {
		o.ReceiveBufferBytes = c.Int("socket.receive.buffer.bytes")
	}
	return o
}

// cleanerOptions is how logs are compacted.
func cleanerOptions(c *config.Config) partition.CleanerOptions {
	return partition.CleanerOptions{
		Threads:        c.Int("log.cleaner.threads"),
		DedupeBytes:    c.Int64("log.cleaner.dedupe.buffer.size"),
		LoadFactor:     c.Float("log.cleaner.io.buffer.load.factor"),
		IOBufferBytes:  c.Int("log.cleaner.io.buffer.size"),
		BytesPerSecond: c.Float("log.cleaner.io.max.bytes.per.second"),
		Backoff:        c.Duration("log.cleaner.backoff.ms"),
	}
}

// dirOptions is how the log directories are run.
func dirOptions(c *config.Config, clusterID string, files *partition.OpenFiles) partition.Options {
	o := partition.DefaultOptions()
	o.NodeID = kafka.BrokerID(c.NodeID())
	o.ClusterID = clusterID
	o.RecoveryThreads = c.Int("num.recovery.threads.per.data.dir")
	o.RetentionCheckInterval = c.Duration("log.retention.check.interval.ms")
	o.CheckpointInterval = min(c.Duration("log.flush.offset.checkpoint.interval.ms"),
		c.Duration("log.flush.start.offset.checkpoint.interval.ms"))
	o.HighWatermarkInterval = c.Duration("replica.high.watermark.checkpoint.interval.ms")
	o.ProducerExpiration = c.Duration("producer.id.expiration.ms")
	o.Unverified = !c.Bool("transaction.partition.verification.enable")
	o.Files = files
	return o
}

// quotaOptions is what client quotas are measured over.
func quotaOptions(c *config.Config) api.QuotaOptions {
	window := func(prefix string) quota.Window {
		size := time.Duration(c.Int(prefix+"window.size.seconds")) * time.Second
		return quota.Window{Samples: c.Int(prefix + "window.num"), SampleMs: size.Milliseconds()}
	}
	return api.QuotaOptions{
		Window: window("quota."), ControllerWindow: window("controller.quota."),
		ConnectionsRateMax: c.Int("max.connection.creation.rate"),
	}
}
