package config

import (
	"fmt"
	"time"
)

// Transactions is the settings of the transaction coordinator.
type Transactions struct {
	TimeoutMaxMs  int32         // of a transaction, as its producer may ask for it
	AbortInterval time.Duration // between two looks for those that take longer
	Expiration    time.Duration // of transactional ids that nobody uses
	ExpiryCheck   time.Duration // between two looks for those

	TopicPartitions      int32 // of a new __transaction_state
	TopicReplication     int16 // of a new __transaction_state
	TopicReplicationSoft bool  // fewer replicas will do: nobody has set how many
	TopicMinISR          int   // of a new __transaction_state
	TopicSegmentBytes    int   // of a new __transaction_state
}

// Transactions resolves the settings of the transaction coordinator.
func (c *Config) Transactions() Transactions {
	t := Transactions{
		TimeoutMaxMs:  int32(c.Int64("transaction.max.timeout.ms")),
		AbortInterval: c.Duration("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		Expiration:    c.Duration("transactional.id.expiration.ms"),
		ExpiryCheck:   c.Duration("transaction.remove.expired.transaction.cleanup.interval.ms"),

		TopicPartitions:      int32(c.Int64("transaction.state.log.num.partitions")),
		TopicReplication:     int16(c.Int64("transaction.state.log.replication.factor")),
		TopicReplicationSoft: !c.IsSet("transaction.state.log.replication.factor"),
		TopicMinISR:          c.Int("transaction.state.log.min.isr"),
		TopicSegmentBytes:    c.Int("transaction.state.log.segment.bytes"),
	}
	if t.TopicReplicationSoft && !c.IsSet("transaction.state.log.min.isr") {
		t.TopicMinISR = 1
	}
	return t
}

// TopicConfigs is what is set on a new __transaction_state. Kafka sets unclean.leader.election.enable=false too,
// which is what holds here anyway.
func (t *Transactions) TopicConfigs() map[string]string {
	return map[string]string{
		"cleanup.policy":      "compact",
		"compression.type":    "uncompressed",
		"min.insync.replicas": fmt.Sprint(t.TopicMinISR),
		"segment.bytes":       fmt.Sprint(t.TopicSegmentBytes),
	}
}
