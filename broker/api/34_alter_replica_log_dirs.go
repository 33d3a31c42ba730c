package api

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// AlterReplicaLogDirs: replicas of this broker move to other log directories while they serve. The answer says that a
// move has begun; DescribeLogDirs tells how far it is.

func alterReplicaLogDirs(_ context.Context, c *Context, r kmsg.Request) (kmsg.Response, error) {
	request := r.(*kmsg.AlterReplicaLogDirsRequest)
	response := request.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	wanted, order := wantedDirs(request)
	for _, tp := range order {
		err := c.alterReplicaLogDir(tp, wanted[tp])
		if err != nil {
			c.Node.Log.Warn("a replica is not moved", "partition", tp.String(), "dir", wanted[tp], "error", err)
		}
		addMoveResult(response, tp, c.fail(kafka.CodeOf(err)))
	}
	return response, nil
}

// wantedDirs is the directory of each partition that the request names, in order of their names. Where a partition is
// named twice, the last directory counts.
func wantedDirs(request *kmsg.AlterReplicaLogDirsRequest) (map[kafka.TopicPartition]string, []kafka.TopicPartition) {
	wanted := map[kafka.TopicPartition]string{}
	var order []kafka.TopicPartition
	for i := range request.Dirs {
		d := &request.Dirs[i]
		for j := range d.Topics {
			for _, index := range d.Topics[j].Partitions {
				tp := kafka.TopicPartition{Topic: d.Topics[j].Topic, Partition: kafka.PartitionIndex(index)}
				if _, twice := wanted[tp]; !twice {
					order = append(order, tp)
				}
				wanted[tp] = d.Dir
			}
		}
	}
	return wanted, order
}

// futureNameBytes is what the name of a copy's folder has behind that of the partition.
const futureNameBytes = len(".0123456789abcdef0123456789abcdef-future")

func (c *Context) alterReplicaLogDir(tp kafka.TopicPartition, dir string) error {
	if len(tp.String())+futureNameBytes > 255 {
		return fmt.Errorf("%w: the topic name is too long for the folder of a copy", kafka.InvalidTopicException)
	}
	if !slices.Contains(c.Node.Config.Get().LogDirs(), dir) {
		return fmt.Errorf("%w: %q is none of log.dirs", kafka.LogDirNotFound, dir)
	}
	return c.Node.Replicas.Move(tp, dir)
}

func addMoveResult(response *kmsg.AlterReplicaLogDirsResponse, tp kafka.TopicPartition, code int16) {
	named := func(t kmsg.AlterReplicaLogDirsResponseTopic) bool { return t.Topic == tp.Topic }
	at := slices.IndexFunc(response.Topics, named)
	if at < 0 {
		at = len(response.Topics)
		response.Topics = append(response.Topics, kmsg.AlterReplicaLogDirsResponseTopic{Topic: tp.Topic})
	}
	p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
	p.Partition, p.ErrorCode = int32(tp.Partition), code
	response.Topics[at].Partitions = append(response.Topics[at].Partitions, p)
}
