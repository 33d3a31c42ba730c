package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator/group"
	"spate/coordinator/group/offsets"
	"spate/kafka"
	"spate/metadata/image"
)

// OffsetCommit: a consumer says how far it has come. Partitions that do not exist are refused here, the others by the
// coordinator. The response is drafted in the order of the request; a partition without an error in the draft is one
// that the coordinator was asked about.

// Versions of the OffsetCommit API with a meaning of their own.
const (
	commitRetention = 4  // the last that names a retention
	commitEpochs    = 6  // before, the leader epoch of the last record is not known
	commitTopicIDs  = 10 // from here on topics have ids instead of names
)

func offsetCommit(c *Context, a *Asked, r kmsg.Request) {
	request := r.(*kmsg.OffsetCommitRequest)
	response := request.ResponseKind().(*kmsg.OffsetCommitResponse)
	response.Topics = make([]kmsg.OffsetCommitResponseTopic, 0, len(request.Topics))
	commit := offsets.Commit{
		Topics: make([]offsets.CommitTopic, 0, len(request.Topics)), RetentionMs: offsets.NoRetention,
	}
	if request.Version <= commitRetention {
		commit.RetentionMs = request.RetentionTimeMillis
	}
	img := c.Node.Image()
	for i := range request.Topics {
		told, asked := a.draftCommit(img, &request.Topics[i], request.Version)
		if len(told.Partitions) > 0 || asked.Topic == "" { // Kafka leaves out a topic that is there, without partitions
			response.Topics = append(response.Topics, told)
		}
		if len(asked.Partitions) > 0 {
			commit.Topics = append(commit.Topics, asked)
		}
	}
	if len(commit.Topics) == 0 { // as in Kafka, nobody asks then who it is that commits
		a.Answer(response)
		return
	}
	a.draft = response
	request.Topics = nil
	a.submit(request.Group, group.OffsetCommit{
		MemberID: request.MemberID, InstanceID: request.InstanceID, Generation: request.Generation,
		APIVersion: request.Version, Commit: commit,
	}, tellOffsetCommit)
}

// draftCommit begins the answer about a topic, and makes what the coordinator is asked.
func (a *Asked) draftCommit(img *image.Image, t *kmsg.OffsetCommitRequestTopic, version int16) (
	told kmsg.OffsetCommitResponseTopic, asked offsets.CommitTopic) {
	told.Topic, told.TopicID = t.Topic, t.TopicID
	told.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
	found, unknown := topicOf(img, t.Topic, t.TopicID, version >= commitTopicIDs)
	if found != nil {
		asked = offsets.CommitTopic{Topic: found.Name, TopicID: found.ID}
		asked.Partitions = make([]offsets.CommitPartition, 0, len(t.Partitions))
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		told.Partitions[i].Partition = p.Partition
		if !has(found, p.Partition) {
			told.Partitions[i].ErrorCode = a.code(unknown)
			continue
		}
		committed := offsets.CommitPartition{
			Partition: kafka.PartitionIndex(p.Partition), Offset: kafka.Offset(p.Offset),
			LeaderEpoch: kafka.NoLeaderEpoch, Metadata: p.Metadata,
		}
		if version >= commitEpochs {
			committed.LeaderEpoch = kafka.LeaderEpoch(p.LeaderEpoch)
		}
		asked.Partitions = append(asked.Partitions, committed)
	}
	return told, asked
}

// topicOf finds a topic by name or by id, and gives the error of a partition that does not exist: it says which of the
// two is unknown.
func topicOf(img *image.Image, name string, id kafka.UUID, byID bool) (*image.Topic, error) {
	if !byID {
		return img.Topic(name), kafka.UnknownTopicOrPartition
	}
	if t := img.TopicByID(id); t != nil {
		return t, kafka.UnknownTopicOrPartition
	}
	return nil, kafka.UnknownTopicID
}

// has tells whether t, which may be nil, has a partition.
func has(t *image.Topic, partition int32) bool {
	return t != nil && partition >= 0 && int(partition) < len(t.Partitions)
}

func tellOffsetCommit(a *Asked, body any, err error) kmsg.Response {
	response := a.draft.(*kmsg.OffsetCommitResponse)
	reply, _ := body.(offsets.CommitReply)
	next := committed(reply.Topics)
	for i := range response.Topics {
		for j := range response.Topics[i].Partitions {
			p := &response.Topics[i].Partitions[j]
			switch {
			case p.ErrorCode != kafka.NoError:
			case err != nil:
				p.ErrorCode = a.groupCode(err)
			default:
				p.ErrorCode = a.groupCode(next().Err)
			}
		}
	}
	return response
}

// committed walks the partitions of a reply, in the order in which they were asked about.
func committed(topics []offsets.CommittedTopic) func() *offsets.CommittedPartition {
	topic, partition := 0, -1
	return func() *offsets.CommittedPartition {
		for partition++; partition == len(topics[topic].Partitions); {
			topic, partition = topic+1, 0
		}
		return &topics[topic].Partitions[partition]
	}
}
