package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	groups "spate/coordinator/group/record"
	"spate/coordinator/group/subscription"
	"spate/kafka"
	"spate/kafka/record"
)

// groupFields adds what a record of __consumer_offsets says. What does not decode is shown as it is: verify judges it.
func groupFields(e *Entry, r *record.Record) {
	decoded, err := groups.Decode(r.Key, r.Value)
	if err != nil {
		e.add("record", err.Error())
		e.add("key", bytesOf(r.Key))
		e.add("value", bytesOf(r.Value))
		return
	}
	fields := reflect.Indirect(reflect.ValueOf(decoded))
	e.add("record", fields.Type().Name())
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Name
		if r.Value == nil && !isKeyField(name) {
			continue // a tombstone has a key and no more
		}
		value := fields.Field(i).Interface()
		if members, ok := value.([]groups.GroupMember); ok {
			value = describeMembers(decoded.(*groups.Group).ProtocolType, members)
		}
		e.add(name, nested(value))
	}
}

// memberOfGroup is a member of a classic group whose subscription and assignment may have been decoded.
type memberOfGroup struct {
	MemberID           string
	InstanceID         *string
	ClientID           string
	ClientHost         string
	RebalanceTimeoutMs int32
	SessionTimeoutMs   int32
	Subscription       any
	Assignment         any
}

// describeMembers decodes what the members of a consumers' group say to each other; other protocols stay bytes.
func describeMembers(protocolType string, members []groups.GroupMember) []memberOfGroup {
	described := make([]memberOfGroup, 0, len(members))
	for _, m := range members {
		d := memberOfGroup{
			m.MemberID,
			m.InstanceID,
			m.ClientID,
			m.ClientHost,
			m.RebalanceTimeoutMs,
			m.SessionTimeoutMs,
			m.Subscription,
			m.Assignment,
		}
		if protocolType == classic.ConsumerProtocolType {
			if subscribed, err := subscription.Parse(m.Subscription); err == nil {
				d.Subscription = subscribed
			}
			if assigned, err := subscription.ParseAssignment(m.Assignment); err == nil {
				d.Assignment = assigned
			}
		}
		described = append(described, d)
	}
	return described
}

// isKeyField tells the fields of a record's key, and the one that marks a tombstone.
func isKeyField(name string) bool {
	return name == "Group" || name == "MemberID" || name == "Topic" || name == "Partition" || name == "Regex" ||
		name == "Deleted"
}

// nestedValue is a value with lists and structs inside, shown as JSON.
type nestedValue struct{ value any }

// nested wraps a value that one line of text has no plain form for.
func nested(value any) any {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Slice:
		return nestedValue{value}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			return nestedValue{value}
		}
	}
	return value
}

// String is the value as JSON.
func (n nestedValue) String() string {
	text, err := json.Marshal(plainValue(n.value))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// checkGroups decodes the records of a batch of __consumer_offsets.
func checkGroups(b record.Batch, unknown func(what string)) error {
	records := b.Records()
	defer records.Close()
	for r, ok := records.Next(); ok; r, ok = records.Next() {
		_, err := groups.Decode(r.Key, r.Value)
		if errors.Is(err, coordinator.ErrUnknownRecord) {
			unknown(strings.TrimPrefix(err.Error(), coordinator.ErrUnknownRecord.Error()))
		} else if err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
	}
	return records.Err()
}

// isGroupPartition reports whether a directory is a partition of __consumer_offsets.
func isGroupPartition(dir string) bool {
	p, ok := ParsePartition(dir)
	return ok && p.Topic == kafka.ConsumerOffsetsTopic
}
