package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// checkPlaces refuses ranges that make no sense whatever the partitions hold.
func (f *consumeFlags) checkPlaces(topics []string, from, to places) error {
	listed := len(from.by) + len(to.by)
	switch {
	case listed > 0 && len(topics) > 1:
		return errors.New("offsets by partition need one topic: each topic has partitions of its own")
	case listed > 0 && f.group.name != "":
		return errors.New("offsets by partition and --group exclude each other: the group's own offsets count")
	}
	named := namedPartitions(from, to)
	for _, p := range named {
		if len(f.partitions) > 0 && !slices.Contains(f.partitions, p) {
			return fmt.Errorf("partition %d has offsets of its own, but --partitions leaves it out", p)
		}
	}
	if f.to == "" {
		return nil
	}
	if len(named) == 0 {
		named = []int32{0} // any
	}
	for _, p := range named {
		a, b := from.of(p, place{kind: atEarliest}), to.of(p, place{kind: atLatest})
		measured := a.kind == b.kind && (a.kind == atOffset || a.kind == atTime)
		if measured && a.value > b.value || a.kind == atLast && b.kind == atLast && a.value < b.value {
			return fmt.Errorf("--to %s is before --from %s", f.to, f.from)
		}
	}
	return nil
}

// namedPartitions are the partitions that have places of their own, sorted.
func namedPartitions(from, to places) []int32 {
	named := slices.AppendSeq(slices.Collect(maps.Keys(from.by)), maps.Keys(to.by))
	slices.Sort(named)
	return slices.Compact(named)
}

// bounds are the ends of partitions, and the answers to look-ups by time.
type bounds struct {
	starts, ends kadm.ListedOffsets
	timed        map[int64]kadm.ListedOffsets
}

// listEnds asks where topics end: at the high watermark, or at the last stable offset.
func (r *reading) listEnds(ctx context.Context, admin *kadm.Client, topics []string) (kadm.ListedOffsets, error) {
	list := admin.ListEndOffsets
	if r.flags.committed {
		list = admin.ListCommittedOffsets
	}
	return list(ctx, topics...)
}

// listBounds asks where topics begin and end, and what was written when.
func (r *reading) listBounds(ctx context.Context, admin *kadm.Client, topics []string) (b bounds, err error) {
	if b.starts, err = admin.ListStartOffsets(ctx, topics...); err != nil {
		return b, unwrapShards(err)
	}
	if b.ends, err = r.listEnds(ctx, admin, topics); err != nil {
		return b, unwrapShards(err)
	}
	b.timed = make(map[int64]kadm.ListedOffsets)
	for _, ms := range append(r.from.times(), r.to.times()...) {
		if _, known := b.timed[ms]; known {
			continue
		}
		if b.timed[ms], err = admin.ListOffsetsAfterMilli(ctx, ms, topics...); err != nil {
			return b, unwrapShards(err)
		}
	}
	return b, nil
}

// resolve is the offset of a place in a partition that holds [first, end).
func (b bounds) resolve(at place, topic string, p int32, first, end int64) (int64, error) {
	timed := kadm.ListedOffset{Offset: end}
	if at.kind == atTime {
		timed, _ = b.timed[at.value].Lookup(topic, p)
	}
	// Records that came after the ends were asked for are behind the end.
	return at.resolve(first, end, min(timed.Offset, end)), timed.Err
}

// outOfRange is an offset that a partition does not hold.
type outOfRange struct {
	topic            string
	partition        int32
	offset           int64
	first, afterLast int64
}

// Error implements error.
func (e *outOfRange) Error() string {
	return fmt.Sprintf("partition %d of %s: offset %d is not there: it holds %d to %d", e.partition, e.topic, e.offset,
		e.first, e.afterLast)
}

// span is what is to be read of a partition, and what is to be said about it, if anything.
func (r *reading) span(b bounds, topic string, p int32) (s *span, note string, err error) {
	first, okFirst := b.starts.Lookup(topic, p)
	last, okLast := b.ends.Lookup(topic, p)
	if err := errors.Join(first.Err, last.Err); err != nil || !okFirst || !okLast {
		return nil, "", fmt.Errorf("partition %d: %w", p, explain(topic, cmpErr(err, errNoLeader), ""))
	}
	next, failedFrom := b.resolve(r.from.of(p, place{kind: atEarliest}), topic, p, first.Offset, last.Offset)
	end, failedTo := b.resolve(r.to.of(p, place{kind: atLatest}), topic, p, first.Offset, last.Offset)
	if err := errors.Join(failedFrom, failedTo); err != nil {
		return nil, "", fmt.Errorf("partition %d: %w", p, explain(topic, err, ""))
	}
	for _, offset := range []int64{next, end} {
		if offset < first.Offset || offset > last.Offset && offset == next {
			return nil, "", &outOfRange{topic, p, offset, first.Offset, last.Offset}
		}
	}
	if end > last.Offset {
		note = fmt.Sprintf("partition %d of %s ends at %d", p, topic, last.Offset)
		end = last.Offset
	}
	return &span{first: next, next: next, end: max(next, end), epoch: -1}, note, nil
}

// alone reads without a group.
func (r *reading) alone(ctx context.Context) error {
	client, err := r.flags.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	offsets, err := r.resolve(ctx, kadm.NewClient(client))
	if err != nil {
		return err
	}
	client.Close() // it knows nothing of the partitions; a client that reads is set up with them
	if !r.finished() {
		client, err = r.flags.connect(ctx, append(r.options(),
			kgo.ConsumePartitions(offsets),
			kgo.ConsumeResetOffset(kgo.NoResetOffset()), // an offset that is gone is an error, never another offset
		)...)
		if err != nil {
			return err
		}
		defer client.Close()
		r.meter.began = time.Now()
		err = r.run(ctx, client, func() {})
	}
	r.line.erase()
	if !r.flags.quiet {
		fmt.Fprintf(r.status, "read %s%s\n", r.meter.summary(), r.resumeText(ctx))
	}
	return err
}

// resolve finds out what to read of each partition, and gives where to begin where anything is to be read.
func (r *reading) resolve(ctx context.Context, admin *kadm.Client) (map[string]map[int32]kgo.Offset, error) {
	details, err := admin.ListTopics(ctx, r.topics...)
	if err != nil {
		return nil, err
	}
	for _, topic := range r.topics {
		if err := details[topic].Err; err != nil {
			return nil, explain(topic, err, "")
		}
	}
	b, err := r.listBounds(ctx, admin, r.topics)
	if err != nil {
		return nil, err
	}
	offsets := make(map[string]map[int32]kgo.Offset)
	var notes []string
	for _, topic := range r.topics {
		wanted := r.flags.partitions
		if len(wanted) == 0 {
			wanted = namedPartitions(r.from, r.to)
		}
		if len(wanted) == 0 {
			wanted = details[topic].Partitions.Numbers()
		}
		offsets[topic] = make(map[int32]kgo.Offset)
		for _, p := range wanted {
			if _, ok := details[topic].Partitions[p]; !ok {
				return nil, fmt.Errorf("topic %s has no partition %d; it has %d", topic, p,
					len(details[topic].Partitions))
			}
			s, note, err := r.span(b, topic, p)
			if gone := (*outOfRange)(nil); errors.As(err, &gone) && len(wanted)+len(r.topics) > 2 {
				return nil, fmt.Errorf("%w; name offsets by partition: %d:%d", err, p, gone.first)
			}
			if err != nil {
				return nil, err
			}
			if note != "" {
				notes = append(notes, note)
			}
			r.spans[kafka.TopicPartition{Topic: topic, Partition: kafka.PartitionIndex(p)}] = s
			if !r.bounded || s.next < s.end {
				offsets[topic][p] = kgo.NewOffset().At(s.next)
			}
			if r.bounded {
				r.meter.total.Add(s.end - s.next)
			}
		}
	}
	if len(notes) > 0 && !r.flags.quiet {
		fmt.Fprintf(r.status, "%s: reading to there\n", strings.Join(named(notes), ", "))
	}
	return offsets, nil
}

// resumeText says, after an interrupt, how to go on.
func (r *reading) resumeText(ctx context.Context) string {
	if ctx.Err() == nil || len(r.topics) > 1 || len(r.spans) > positionsMax {
		return ""
	}
	var rest []string
	for _, at := range sortedPartitions(slices.Collect(maps.Keys(r.spans))) {
		if s := r.spans[at]; !r.bounded || s.next < s.end {
			rest = append(rest, fmt.Sprintf("%d:%d", at.Partition, s.next))
		}
	}
	if len(rest) == 0 {
		return ""
	}
	return fmt.Sprintf("; interrupted: --from %s goes on", strings.Join(rest, ","))
}

// stalled looks after a run with an end to which no records come. There may be none any more: offsets at the end of a
// range can have been compacted away, of which the client says nothing, and a log can have been cut. Else the broker is
// slow or away, and the client tries again.
func (r *reading) stalled(running context.Context, client *kgo.Client) {
	open := r.openSpans()
	if len(open) == 0 {
		return
	}
	var topics []string
	for at := range open {
		topics = append(topics, at.Topic)
	}
	slices.Sort(topics)
	topics = slices.Compact(topics)
	ctx, cancel := context.WithTimeout(running, reachWithin)
	defer cancel()
	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(ctx, topics...)
	var ends kadm.ListedOffsets
	if err == nil {
		ends, err = r.listEnds(ctx, admin, topics)
	}
	if err != nil {
		if !r.away && running.Err() == nil {
			r.away = true
			r.say("no broker answers any more; waiting until one does (Ctrl-C ends)")
		}
		return
	}
	r.away = false
	for at, s := range open {
		end, ok := ends.Lookup(at.Topic, int32(at.Partition))
		if !ok || end.Err != nil {
			continue
		}
		if end.Offset < s.end {
			r.say("%s ends at %d now, before %d: its log was cut", at, end.Offset, s.end)
			s.end = end.Offset
		}
		topic := details[at.Topic]
		next := r.skipGap(ctx, client, topic, topic.Partitions[int32(at.Partition)], s.next)
		r.pass(at, max(s.next, min(next, s.end)), s.end)
	}
}

// openSpans are the partitions of which something is still to be read, as they are now.
func (r *reading) openSpans() map[kafka.TopicPartition]span {
	r.mu.Lock()
	defer r.mu.Unlock()
	open := make(map[kafka.TopicPartition]span)
	for at, s := range r.spans {
		if s.next >= 0 && s.next < s.end {
			open[at] = *s
		}
	}
	return open
}

// pass moves on in a partition past offsets at which there is no record.
func (r *reading) pass(at kafka.TopicPartition, next, end int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.spans[at]
	if s == nil || next < s.next {
		return // given back to the group, or assigned anew
	}
	r.meter.passed.Add(next - s.next)
	s.marked = s.marked && s.next == next
	s.next, s.end = next, end
}

// gapBytes is what one look at a gap reads: the batch after it.
const gapBytes = 64 << 10

// skipGap is the offset of the next record at or after an offset, or as far as the batches go that have none left.
func (r *reading) skipGap(ctx context.Context, client *kgo.Client, topic kadm.TopicDetail, p kadm.PartitionDetail,
	next int64,
) int64 {
	request := kmsg.NewPtrFetchRequest()
	request.MaxBytes, request.SessionEpoch = gapBytes, -1
	isolation := kgo.ReadUncommitted()
	if r.flags.committed {
		isolation, request.IsolationLevel = kgo.ReadCommitted(), 1
	}
	wanted := kmsg.NewFetchRequestTopicPartition()
	wanted.Partition, wanted.FetchOffset, wanted.PartitionMaxBytes = p.Partition, next, gapBytes
	asked := kmsg.NewFetchRequestTopic()
	asked.Topic, asked.TopicID = topic.Topic, topic.ID
	asked.Partitions = append(asked.Partitions, wanted)
	request.Topics = append(request.Topics, asked)
	answer, err := client.Broker(int(p.Leader)).Request(ctx, request)
	if err != nil {
		return next
	}
	response, ok := answer.(*kmsg.FetchResponse)
	if !ok || len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return next
	}
	fetched, after := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		KeepControlRecords: true, Offset: next, IsolationLevel: isolation, Topic: topic.Topic, Partition: p.Partition,
	}, &response.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	if fetched.Err != nil {
		return next
	}
	if len(fetched.Records) > 0 {
		return fetched.Records[0].Offset // the client brings it
	}
	return after
}
