package classic

import (
	"slices"
	"time"

	"spate/kafka"
)

// Description is a group as DescribeGroups shows it.
type Description struct {
	State        State
	ProtocolType string
	Protocol     string // empty unless the group is stable
	Members      []DescribedMember
}

// DescribedMember is one member of a Description.
type DescribedMember struct {
	MemberID   string
	InstanceID *string
	ClientID   string
	ClientHost string
	Metadata   []byte // empty unless the group is stable
	Assignment []byte
}

// Describe shows the group.
func (g *Group) Describe() Description {
	d := Description{State: g.state, ProtocolType: g.protocolType}
	if g.state == Stable {
		d.Protocol = *g.protocol
	}
	for m := g.first; m != nil; m = m.next {
		described := DescribedMember{
			MemberID:   m.id,
			InstanceID: m.instanceID,
			ClientID:   m.clientID,
			ClientHost: m.clientHost,
			Assignment: m.assignment,
		}
		if g.state == Stable {
			described.Metadata = m.metadata(*g.protocol)
		}
		d.Members = append(d.Members, described)
	}
	return d
}

// ID is the group's id.
func (g *Group) ID() string { return g.id }

// State is the group's state.
func (g *Group) State() State { return g.state }

// StateTimestamp is when the group came into its state, or NoTimestamp.
func (g *Group) StateTimestamp() kafka.Timestamp { return g.stateTimestamp }

// Generation is the number of the last rebalance.
func (g *Group) Generation() int32 { return g.generation }

// ProtocolType is what the members have in common, such as "consumer"; it is empty if there never were members.
func (g *Group) ProtocolType() string { return g.protocolType }

// Protocol is the protocol that the members have chosen, or nil.
func (g *Group) Protocol() *string { return g.protocol }

// Size is the number of members.
func (g *Group) Size() int { return len(g.members) }

// HasRecord reports whether the log has a record of the group. A group without one and without members exists only
// through its offsets, if at all.
func (g *Group) HasRecord() bool { return g.recorded }

// IsSimple reports whether the group never had members, so that it is only a name for offsets.
func (g *Group) IsSimple() bool {
	return g.protocolType == "" && g.state == Empty && len(g.pending) == 0
}

// IsConsumer reports whether the members consume topics.
func (g *Group) IsConsumer() bool { return g.protocolType == ConsumerProtocolType }

// SubscribedTopics lists, sorted, the topics that the members of a consumer group subscribe to. It is not known if the
// group is of another type, or if a member says it in bytes that are malformed.
func (g *Group) SubscribedTopics() (topics []string, known bool) { return g.topics, g.topicsKnown }

// Subscribes reports whether a member may be subscribed to the topic.
func (g *Group) Subscribes(topic string) bool {
	if !g.topicsKnown {
		return g.IsConsumer()
	}
	_, found := slices.BinarySearch(g.topics, topic)
	return found
}

// Member is a view of one member.
type Member struct {
	MemberID         string
	InstanceID       *string
	ClientID         string
	ClientHost       string
	RebalanceTimeout time.Duration
	SessionTimeout   time.Duration
	Protocols        []Protocol
	Assignment       []byte
}

// Members lists the members in the order in which they joined.
func (g *Group) Members() []Member {
	all := make([]Member, 0, len(g.members))
	for m := g.first; m != nil; m = m.next {
		all = append(all, Member{
			MemberID:         m.id,
			InstanceID:       m.instanceID,
			ClientID:         m.clientID,
			ClientHost:       m.clientHost,
			RebalanceTimeout: m.rebalanceTimeout,
			SessionTimeout:   m.sessionTimeout,
			Protocols:        m.protocols,
			Assignment:       m.assignment,
		})
	}
	return all
}
