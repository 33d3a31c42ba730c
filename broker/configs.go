package broker

import (
	"slices"

	"spate/internal/config"
	"spate/metadata/image"
)

// followConfigs puts in force what the metadata log has set at run time, for all brokers and for this one: what there
// is before anything is opened that depends on it, and what comes later before it is answered. Whoever holds a setting
// for longer than one request follows b.config.
func (b *Broker) followConfigs() error {
	started := b.config.Get()
	img := b.metadata.Subscribe(func(_, next *image.Image, d *image.Delta) {
		if slices.ContainsFunc(d.ConfigsChanged, isBroker) {
			b.configure(started, next)
		}
	})
	b.configure(started, img)
	b.tuneDirs(b.config.Get()) // which were opened before the metadata log could be read
	return nil
}

func isBroker(r image.Resource) bool { return r.Type == image.ResourceBroker }

// configure puts in force what the image has set over what the process was started with.
func (b *Broker) configure(started *config.Config, img *image.Image) {
	next, warnings := started.With(dynamicConfigs(img, started.NodeID()))
	for _, w := range warnings {
		b.env.Log.Warn("a config of this broker is not in force", "key", w.Key, "reason", w.Message)
	}
	b.config.Replace(next)
}

// reconfigure brings what runs to another configuration, on the metadata goroutine. What asks b.config each time, as
// the coordinators of groups do, is not among it.
func (b *Broker) reconfigure(old, next *config.Config) {
	if next.TopicDefaults() != old.TopicDefaults() {
		b.replicas.Reconfigure()
	}
	b.server.SetConnectionLimits(netOptions(b.env, next))
	b.quotas.SetConnectionRateMax(next.Int("max.connection.creation.rate"))
	b.node.Workers.Resize(next.Int("num.io.threads"))
	b.tuneDirs(next)
}

// tuneDirs puts in force what log directories and their cleaner have of a configuration.
func (b *Broker) tuneDirs(c *config.Config) {
	if b.dirs.cleaner != nil {
		b.dirs.cleaner.SetOptions(cleanerOptions(c))
	}
	for _, dir := range b.dirs.logs {
		dir.SetRecoveryThreads(c.Int("num.recovery.threads.per.data.dir"))
		dir.SetProducerExpiration(c.Duration("producer.id.expiration.ms"))
		dir.SetVerified(c.Bool("transaction.partition.verification.enable"))
	}
}
