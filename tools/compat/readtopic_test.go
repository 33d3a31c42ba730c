package compat

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readTopic reads what there is of a topic, the records of each partition in their order, without markers. Under
// read_committed it ends at the last stable offsets. It gives the sum of the ends too.
func readTopic(ctx context.Context, bootstrap, topic string, level kgo.IsolationLevel) (
	records []*kgo.Record, end int64, err error,
) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(level))
	if err != nil {
		return nil, 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	admin := adminOf(client)
	list := admin.ListEndOffsets
	if level == kgo.ReadCommitted() {
		list = admin.ListCommittedOffsets
	}
	ends, err := list(ctx, topic)
	starts, err2 := admin.ListStartOffsets(ctx, topic)
	if err := errors.Join(err, err2, ends.Error(), starts.Error()); err != nil {
		return nil, 0, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		end += o.Offset
		if start, _ := starts.Lookup(topic, o.Partition); start.Offset < o.Offset {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 { // a partition ends with a marker, or a record outside of transactions
		fetches := client.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return nil, 0, fmt.Errorf("reading %s, of which partitions %v are left: %w", topic, left, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records, end, nil
}

// openPartitions tells which partitions of topics have transactions that have not ended.
func openPartitions(ctx context.Context, admin *kadm.Client, topics ...string) (open []string, err error) {
	ends, err := admin.ListEndOffsets(ctx, topics...)
	stable, err2 := admin.ListCommittedOffsets(ctx, topics...)
	if err := errors.Join(err, err2, ends.Error(), stable.Error()); err != nil {
		return nil, err
	}
	ends.Each(func(end kadm.ListedOffset) {
		if o, _ := stable.Lookup(end.Topic, end.Partition); o.Offset != end.Offset {
			text := fmt.Sprintf("%s-%d: stable up to %d of %d", end.Topic, end.Partition, o.Offset, end.Offset)
			open = append(open, text)
		}
	})
	return open, nil
}
