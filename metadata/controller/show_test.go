package controller

import (
	"fmt"
	"strings"

	"spate/kafka"
	"spate/metadata/record"
)

// show prints records one a line.
func show(records []record.Record) string {
	var out strings.Builder
	for _, r := range records {
		fmt.Fprintln(&out, line(r))
	}
	return out.String()
}

func line(r record.Record) string {
	switch r := r.(type) {
	case *record.Topic:
		return fmt.Sprintf("+ topic %s %s", r.Name, name(r.ID))
	case *record.RemoveTopic:
		return fmt.Sprintf("+ remove topic %s", name(r.ID))
	case *record.Partition:
		return fmt.Sprintf("+ partition %s-%d leader=%d epoch=%d/%d replicas=%v isr=%v dirs=%s", name(r.TopicID),
			r.Index, r.Leader, r.LeaderEpoch, r.PartitionEpoch, r.Replicas, r.ISR, list(r.Directories))
	case *record.PartitionChange:
		out := fmt.Sprintf("+ change %s-%d", name(r.TopicID), r.Index)
		if r.Leader != record.NoLeaderChange {
			out += fmt.Sprintf(" leader=%d", r.Leader)
		}
		if r.ISR != nil {
			out += fmt.Sprintf(" isr=%v", r.ISR)
		}
		if r.Replicas != nil {
			out += fmt.Sprintf(" replicas=%v dirs=%s", r.Replicas, list(r.Directories))
		}
		if r.LeaderRecoveryState != record.NoRecoveryChange {
			out += fmt.Sprintf(" recovery=%d", r.LeaderRecoveryState)
		}
		return out
	case *record.Config:
		if r.Value == nil {
			return fmt.Sprintf("+ config %d:%s %s removed", r.ResourceType, r.ResourceName, r.Name)
		}
		return fmt.Sprintf("+ config %d:%s %s=%s", r.ResourceType, r.ResourceName, r.Name, *r.Value)
	case *record.RegisterBroker:
		rack := "-"
		if r.Rack != nil {
			rack = *r.Rack
		}
		return fmt.Sprintf("+ broker %d epoch=%d process=%s rack=%s fenced=%v dirs=%s", r.BrokerID, r.BrokerEpoch,
			name(r.IncarnationID), rack, r.Fenced, list(r.LogDirs))
	case *record.BrokerRegistrationChange:
		return fmt.Sprintf("+ broker %d epoch=%d fenced=%+d", r.BrokerID, r.BrokerEpoch, r.Fenced)
	case *record.ProducerIDs:
		return fmt.Sprintf("+ producer ids to broker %d, next %d", r.BrokerID, r.NextProducerID)
	case *record.ClientQuota:
		out := "+ quota"
		for _, part := range r.Entity {
			out += " " + part.Type
			if part.Name != nil {
				out += ":" + *part.Name
			}
		}
		if r.Remove {
			return fmt.Sprintf("%s %s removed", out, r.Key)
		}
		return fmt.Sprintf("%s %s=%v", out, r.Key, r.Value)
	case *record.FeatureLevel:
		return fmt.Sprintf("+ feature %s=%d", r.Name, r.Level)
	}
	return fmt.Sprintf("+ %+v", r)
}

func list(ids []kafka.UUID) string {
	var names []string
	for _, id := range ids {
		names = append(names, name(id))
	}
	return "[" + strings.Join(names, " ") + "]"
}

// reply prints an answer.
func reply(r Reply) string {
	if out, ok := showResults(r); ok {
		return out
	}
	switch r := r.(type) {
	case CreateTopicsReply:
		var out strings.Builder
		for _, topic := range r.Topics {
			if topic.Err != nil {
				fmt.Fprintf(&out, "%s: %s\n", topic.Name, failed(topic.Err))
				continue
			}
			fmt.Fprintf(&out, "%s: %s partitions=%d rf=%d configs=%v\n", topic.Name, name(topic.ID), topic.Partitions,
				topic.ReplicationFactor, topic.Configs)
		}
		return out.String()
	case AlterConfigsReply:
		var out strings.Builder
		for _, r := range r.Resources {
			if r.Err != nil {
				fmt.Fprintf(&out, "%s %s: %s\n", r.Resource.Type, r.Resource.Name, failed(r.Err))
				continue
			}
			fmt.Fprintf(&out, "%s %s: altered\n", r.Resource.Type, r.Resource.Name)
		}
		return out.String()
	case DeleteTopicsReply:
		var out strings.Builder
		for _, topic := range r.Topics {
			shown := "(no name)"
			if topic.Name != nil {
				shown = *topic.Name
			}
			if topic.Err != nil {
				fmt.Fprintf(&out, "%s %s: %s\n", shown, name(topic.ID), failed(topic.Err))
				continue
			}
			fmt.Fprintf(&out, "%s %s: deleted\n", shown, name(topic.ID))
		}
		return out.String()
	}
	return fmt.Sprintf("%+v\n", r)
}
