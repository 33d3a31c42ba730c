package subscription

import "fmt"

// The versions of the protocol that this package knows.
const (
	VersionMin int16 = 0
	VersionMax int16 = 3
)

// NoGeneration is the generation of a member that owns nothing.
const NoGeneration int32 = -1

// Subscription is what a consumer says when it joins.
type Subscription struct {
	Version    int16 // as written, which may be above VersionMax
	Topics     []string
	UserData   []byte            // of the client's assignor; nil if there is none
	Owned      []TopicPartitions // from version 1 on
	Generation int32             // in which Owned was assigned, from version 2 on, else NoGeneration
	Rack       *string           // from version 3 on
}

// Assignment is what the leader gives to a member.
type Assignment struct {
	Version    int16 // as written, which may be above VersionMax
	Partitions []TopicPartitions
	UserData   []byte // nil if there is none
}

// TopicPartitions are partitions of one topic.
type TopicPartitions struct {
	Topic      string
	Partitions []int32
}

// MalformedError says why bytes are not a value of the consumer protocol.
type MalformedError struct {
	Reason   string
	Position int // in bytes, where reading stopped
}

// Error gives the reason and the place.
func (e *MalformedError) Error() string {
	return fmt.Sprintf("malformed consumer protocol at byte %d: %s", e.Position, e.Reason)
}

// Parse reads a subscription. The result holds copies; it does not alias b.
func Parse(b []byte) (Subscription, error) {
	r := reader{b: b}
	s := Subscription{Version: r.version(), Generation: NoGeneration}
	s.Topics = r.strings()
	s.UserData = r.nullableBytes()
	if s.Version >= 1 {
		s.Owned = r.topicPartitions()
	}
	if s.Version >= 2 {
		s.Generation = r.int32()
	}
	if s.Version >= 3 {
		s.Rack = r.nullableString()
	}
	if r.err != nil {
		return Subscription{}, r.err
	}
	return s, nil
}

// ParseTopics reads no more of a subscription than the topics and the user data, which all versions have in common,
// whatever the version says. It is for bytes of clients that name a version but leave out its fields.
func ParseTopics(b []byte) ([]string, error) {
	r := reader{b: b}
	r.int16()
	topics := r.strings()
	r.nullableBytes()
	if r.err != nil {
		return nil, r.err
	}
	return topics, nil
}

// ParseVersion reads the version that a subscription or an assignment begins with.
func ParseVersion(b []byte) (int16, error) {
	r := reader{b: b}
	version := r.version()
	if r.err != nil {
		return 0, r.err
	}
	return version, nil
}

// ParseAssignment reads an assignment. The result holds copies; it does not alias b.
func ParseAssignment(b []byte) (Assignment, error) {
	r := reader{b: b}
	a := Assignment{Version: r.version()}
	a.Partitions = r.topicPartitions()
	a.UserData = r.nullableBytes()
	if r.err != nil {
		return Assignment{}, r.err
	}
	return a, nil
}

// Append appends the bytes of s, with the fields of its version, or of VersionMax if that is lower.
func (s Subscription) Append(dst []byte) []byte {
	dst = appendInt16(dst, min(s.Version, VersionMax))
	dst = appendInt32(dst, int32(len(s.Topics)))
	for _, topic := range s.Topics {
		dst = appendString(dst, topic)
	}
	dst = appendNullableBytes(dst, s.UserData)
	if s.Version >= 1 {
		dst = appendTopicPartitions(dst, s.Owned)
	}
	if s.Version >= 2 {
		dst = appendInt32(dst, s.Generation)
	}
	if s.Version >= 3 {
		dst = appendNullableString(dst, s.Rack)
	}
	return dst
}

// Append appends the bytes of a in its version, or in VersionMax if that is lower.
func (a Assignment) Append(dst []byte) []byte {
	dst = appendInt16(dst, min(a.Version, VersionMax))
	dst = appendTopicPartitions(dst, a.Partitions)
	return appendNullableBytes(dst, a.UserData)
}
