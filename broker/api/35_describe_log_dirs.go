package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/partition"
)

// DescribeLogDirs: what lies in each log directory, and how much room it has. The sizes come from memory; the room is
// asked of the file system, so that the answer waits on a worker.

func describeLogDirs(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.DescribeLogDirsRequest)
	response := request.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	wanted := wantedPartitions(request)
	open := map[string]*partition.LogDir{}
	for _, d := range c.Node.Replicas.Dirs() {
		open[d.Path()] = d
	}
	cordoned := c.cordoned()
	for _, path := range c.Node.Config.Get().LogDirs() {
		told := kmsg.NewDescribeLogDirsResponseDir()
		told.Dir = path
		if err := c.describeDir(&told, open[path], wanted); err != nil {
			told.ErrorCode = c.fail(kafka.CodeOf(err))
		} else {
			told.IsCordoned = cordoned[open[path].ID()]
		}
		response.Dirs = append(response.Dirs, told)
	}
	return response, nil
}

// wantedPartitions is what a request names, nil for everything.
func wantedPartitions(request *kmsg.DescribeLogDirsRequest) map[kafka.TopicPartition]bool {
	if request.Topics == nil {
		return nil
	}
	wanted := map[kafka.TopicPartition]bool{}
	for i := range request.Topics {
		t := &request.Topics[i]
		for _, index := range t.Partitions {
			wanted[kafka.TopicPartition{Topic: t.Topic, Partition: kafka.PartitionIndex(index)}] = true
		}
	}
	return wanted
}

// cordoned is the directories of this broker in which no new partition is placed.
func (c *Context) cordoned() map[kafka.UUID]bool {
	ids := map[kafka.UUID]bool{}
	if b := c.Node.Image().Broker(c.Node.ID); b != nil {
		for _, id := range b.CordonedLogDirs {
			ids[id] = true
		}
	}
	return ids
}

// describeDir fills in what there is to say of a directory; d is nil for one that could not be opened.
func (c *Context) describeDir(
	told *kmsg.DescribeLogDirsResponseDir, d *partition.LogDir, wanted map[kafka.TopicPartition]bool,
) error {
	if d == nil || d.Failed() != nil {
		return kafka.KafkaStorageError
	}
	total, usable, err := d.SpaceBytes()
	if err != nil {
		c.Node.Log.Error("the room of a log directory is not known", "dir", d.Path(), "error", err)
		return kafka.KafkaStorageError
	}
	told.TotalBytes, told.UsableBytes = total, usable
	c.addReplicas(told, d, wanted)
	return nil
}

// addReplicas adds the replicas of a directory, by topic and partition, and then those on their way to it.
func (c *Context) addReplicas(
	told *kmsg.DescribeLogDirsResponseDir, d *partition.LogDir, wanted map[kafka.TopicPartition]bool,
) {
	add := func(tp kafka.TopicPartition, p kmsg.DescribeLogDirsResponseDirTopicPartition) {
		if wanted != nil && !wanted[tp] {
			return
		}
		named := func(t kmsg.DescribeLogDirsResponseDirTopic) bool { return t.Topic == tp.Topic }
		at := len(told.Topics) - 1
		if at < 0 || !named(told.Topics[at]) {
			if at = slices.IndexFunc(told.Topics, named); at < 0 {
				at = len(told.Topics)
				told.Topics = append(told.Topics, kmsg.DescribeLogDirsResponseDirTopic{Topic: tp.Topic})
			}
		}
		p.Partition = int32(tp.Partition)
		told.Topics[at].Partitions = append(told.Topics[at].Partitions, p)
	}
	moves := c.Node.Replicas.Moves() // before the logs: a move that ends meanwhile shows twice rather than not at all
	there := map[kafka.TopicPartition]bool{}
	for _, l := range d.Logs() {
		there[l.TopicPartition()] = true
		add(l.TopicPartition(), kmsg.DescribeLogDirsResponseDirTopicPartition{
			Size: l.Bytes(), OffsetLag: int64(max(l.HighWatermark()-l.LogEndOffset(), 0)),
		})
	}
	for _, m := range moves {
		if m.Target == d && !there[m.TopicPartition] {
			add(m.TopicPartition, kmsg.DescribeLogDirsResponseDirTopicPartition{
				Size: m.Bytes, OffsetLag: int64(m.Lag), IsFuture: true,
			})
		}
	}
}
