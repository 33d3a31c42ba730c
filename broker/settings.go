package broker

import (
	"time"

	"spate/internal/config"
	"spate/internal/invariant"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/controller"
	"spate/metadata/image"
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

// controllerSettings are the parts of the configuration that the controller decides by.
func controllerSettings(c *config.Config) controller.Settings {
	return controller.Settings{
		PartitionsDefault:        int32(c.Int("num.partitions")),
		ReplicationFactorDefault: int16(c.Int("default.replication.factor")),
		ValidateConfigs: func(r image.Resource, configs map[string]string) error {
			if r.Type == image.ResourceGroup {
				return c.ValidateGroup(configs)
			}
			return config.ValidateTopic(configs)
		},
		ListDefault: func(t image.ResourceType, name string) (string, bool) {
			if t == image.ResourceGroup {
				return config.GroupScope.ListDefault(name)
			}
			return config.TopicScope.ListDefault(name)
		},
	}
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
		SendBufferBytes:     c.Int("socket.send.buffer.bytes"),
		ReceiveBufferBytes:  c.Int("socket.receive.buffer.bytes"),
		Backlog:             c.Int("socket.listen.backlog.size"),
		Clock:               env.Clock,
		Log:                 env.Log,
	}
	if c.IsSet("num.network.threads") {
		o.Loops = c.Int("num.network.threads")
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
	o.Files = files
	return o
}
