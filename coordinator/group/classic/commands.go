package classic

import "time"

// Join asks to become or stay a member. It is answered with JoinReply when the rebalance is complete.
type Join struct {
	MemberID         string // empty for a new member
	InstanceID       *string
	ClientID         string
	ClientHost       string
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	ProtocolType     string
	Protocols        []Protocol // by preference
	Reason           string     // why the client joins, for people
	NewMemberID      string     // what a new member will be called
	NeedsKnownMember bool       // JoinGroup 4 and later: a new dynamic member has to come back with its id (KIP-394)
	SkipsAssignment  bool       // JoinGroup 9 and later: a leader may be told that it need not assign (KIP-814)
}

// Protocol is one way of assigning that a member knows, and what the member says in it.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinReply answers Join.
type JoinReply struct {
	Err            error
	Generation     int32 // -1 with an error
	ProtocolType   *string
	Protocol       *string
	Leader         string
	SkipAssignment bool
	MemberID       string
	Members        []JoinedMember // for the leader only
}

// JoinedMember is a member as its leader sees it.
type JoinedMember struct {
	MemberID   string
	InstanceID *string
	Metadata   []byte
}

// Sync asks for the member's assignment; the leader's brings that of all. It is answered with SyncReply.
type Sync struct {
	MemberID     string
	InstanceID   *string
	Generation   int32
	ProtocolType *string // nil if not told
	Protocol     *string // nil if not told
	Assignments  []MemberAssignment
}

// MemberAssignment is what the leader gives to one member.
type MemberAssignment struct {
	MemberID   string
	Assignment []byte
}

// SyncReply answers Sync.
type SyncReply struct {
	Err          error
	ProtocolType *string
	Protocol     *string
	Assignment   []byte
}

// Heartbeat keeps a member's session. It is answered with HeartbeatReply.
type Heartbeat struct {
	MemberID   string
	InstanceID *string
	Generation int32
}

// HeartbeatReply answers Heartbeat.
type HeartbeatReply struct {
	Err error
}

// Leave takes members out. It is answered with LeaveReply.
type Leave struct {
	Members []Leaver
}

// Leaver is a member that leaves, named by its id, or by its instance alone.
type Leaver struct {
	MemberID   string
	InstanceID *string
	Reason     *string // for people
}

// LeaveReply answers Leave, in the order of the request.
type LeaveReply struct {
	Err     error
	Members []LeftMember
}

// LeftMember says how it went for one Leaver.
type LeftMember struct {
	MemberID   string
	InstanceID *string
	Err        error
}
