package consumer

import (
	"time"

	"spate/coordinator/group/classic"
)

// Settings are the limits of one group: those of the broker, with what is set for the group itself.
type Settings struct {
	SessionTimeout       time.Duration // group.consumer.session.timeout.ms
	HeartbeatInterval    time.Duration // group.consumer.heartbeat.interval.ms
	AssignmentInterval   time.Duration // group.consumer.assignment.interval.ms: the least time between two assignments
	RegexRefreshInterval time.Duration // group.consumer.regex.refresh.interval.ms
	SizeMax              int           // group.consumer.max.size
	Assignors            []string      // group.consumer.assignors: names of package assignor; the first is the default
	// Upgrade and Downgrade are what group.consumer.migration.policy allows while members run: a classic group to
	// become a consumer group, and the other way round.
	Upgrade, Downgrade bool
	Classic            classic.Settings // for members of the classic protocol
}
