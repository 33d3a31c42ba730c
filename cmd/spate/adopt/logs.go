package adopt

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"spate/coordinator"
	groups "spate/coordinator/group/record"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/image"
	"spate/segment"
)

// readLogs goes through every batch of every partition.
func (c *checker) readLogs() error {
	for topic := range c.image.Topics() {
		c.plan.Topics = append(c.plan.Topics, Topic{
			Name: topic.Name, ID: topic.ID.String(), Partitions: len(topic.Partitions)})
		c.plan.Partitions += len(topic.Partitions)
		counts := &c.plan.Topics[len(c.plan.Topics)-1]
		for index := range topic.Partitions {
			tp := kafka.TopicPartition{Topic: topic.Name, Partition: kafka.PartitionIndex(index)}
			f, found := c.folders[tp]
			if !found {
				continue
			}
			l := &logCheck{checker: c, tp: tp, folder: f, counts: counts, open: transactions{}}
			if tp.Topic == groupTopic {
				l.groups = newGroupState()
			}
			if err := l.check(); err != nil {
				return err
			}
		}
		c.plan.Bytes += counts.Bytes
	}
	return nil
}

// logCheck looks at the log of one partition.
type logCheck struct {
	*checker
	tp     kafka.TopicPartition
	folder folder
	counts *Topic
	open   transactions
	groups *groupState // of a partition of __consumer_offsets, else nil
	next   kafka.Offset
}

// logFile is the log of one segment.
type logFile struct {
	base kafka.Offset
	name string
}

// check walks through the log as the first start will find it.
func (l *logCheck) check() error {
	files, err := l.files()
	if err != nil || files == nil {
		return err
	}
	point := l.folder.dir.recovery[l.tp]
	for i, f := range files {
		// After a crash an offset gap behind what is known to be durable is the mark of a lost tail: what compaction
		// left is told from it by how far the cleaner has been.
		if i > 0 && l.next < f.base && f.base > max(point, l.cleaned()) {
			l.refuse("%s has no offsets from %d to %d, as compaction leaves it, and is known to be flushed up to %d "+
				"only: recovery could cut it there; start Kafka again and stop it cleanly",
				l.folder.path, l.next, f.base, max(point, l.cleaned()))
			return nil
		}
		l.next = max(l.next, f.base)
		whole, err := l.segment(f, i+1 == len(files))
		if err != nil || !whole {
			return err
		}
	}
	if l.next < point {
		l.refuse("%s ends at offset %d, but everything below %d had been flushed: records are missing",
			l.folder.path, l.next, point)
	}
	l.finish()
	return nil
}

// cleaned is up to where holes are those that compaction left, or 0.
func (l *logCheck) cleaned() kafka.Offset {
	if !l.compacted() { // the first start takes holes for what they are in such a log alone
		return 0
	}
	return l.folder.dir.cleaned[l.tp]
}

// compacted reports whether the topic is one whose log is compacted.
func (l *logCheck) compacted() bool {
	return strings.Contains(l.image.Configs(image.TopicResource(l.tp.Topic))["cleanup.policy"], "compact")
}

// files are the segments' logs in order, after a replacement that was interrupted has been ended as the first start
// will do it: a compacted segment whose log is called .swap takes the place of those that begin in its range. No files
// without an error: the log is refused.
func (l *logCheck) files() ([]logFile, error) {
	entries, err := l.fs.ReadDir(l.folder.path)
	if err != nil {
		return nil, err
	}
	files, swaps := []logFile{}, []logFile{}
	firstCleaned := kafka.NoOffset
	for _, e := range entries {
		base, suffix, ok := segment.ParseFileName(e.Name())
		switch {
		case !ok:
		case suffix == segment.LogSuffix:
			files = append(files, logFile{base, e.Name()})
		case suffix == segment.LogSuffix+segment.SwapSuffix:
			swaps = append(swaps, logFile{base, e.Name()})
		case suffix == segment.LogSuffix+segment.CleanedSuffix && firstCleaned == kafka.NoOffset:
			firstCleaned = base // the names are in order
		}
	}
	for _, swap := range swaps {
		name := path.Join(l.folder.path, swap.name)
		if firstCleaned != kafka.NoOffset && firstCleaned <= swap.base { // one of several: Kafka gives all of them up
			l.refuse("%s is part of a replacement of segments that was not finished: start Kafka again and stop it "+
				"cleanly", name)
			return nil, nil
		}
		next := swap.base
		position, err := walk(l.fs, name, false, func(b record.Batch) error {
			next = b.NextOffset()
			return nil
		})
		var disk *fs.PathError
		switch {
		case errors.As(err, &disk):
			return nil, err
		case err != nil:
			l.refuse("%s is damaged at position %d: %v", name, position, err)
			return nil, nil
		}
		files = slices.DeleteFunc(files, func(f logFile) bool {
			return f.base == swap.base || swap.base <= f.base && f.base < next
		})
		files = append(files, swap)
		l.note("%s takes the place of the segments that it was compacted from at the first start of Spate", name)
	}
	slices.SortFunc(files, func(a, b logFile) int { return cmp.Compare(a.base, b.base) })
	return files, nil
}

// segment looks at one segment and reports whether its log goes on behind it.
func (l *logCheck) segment(f logFile, last bool) (goesOn bool, err error) {
	name := path.Join(l.folder.path, f.name)
	position, err := walk(l.fs, name, l.groups != nil || l.tp.Topic == transactionTopic, l.batch)
	var disk *fs.PathError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &disk):
		return false, err
	case errors.Is(err, errOldFormat):
		l.refuse("%s holds batches of a message format older than version 2 (position %d), which cannot be read",
			name, position)
		return false, nil
	}
	var bad *groupError
	// What a crash tore is cut off at the start; what had been flushed, or was closed cleanly, must be whole.
	torn := !l.folder.dir.clean && l.next >= l.folder.dir.recovery[l.tp] && !errors.As(err, &bad)
	if !torn {
		l.refuse("%s is damaged at position %d: %v", name, position, err)
		return false, nil
	}
	if !last && l.compacted() { // the first start may take what is missing for holes that compaction left
		l.refuse("%s ends at position %d, as after a power cut, and later segments of the compacted log are there: "+
			"start Kafka again, let it recover, and stop it cleanly", name, position)
		return false, nil
	}
	tail := "what follows"
	if !last {
		tail = "what follows, later segments too"
	}
	l.note("%s ends at position %d, as after a power cut; the first start of Spate cuts off %s", name, position, tail)
	l.finish()
	return false, nil
}

// batch takes in one batch.
func (l *logCheck) batch(b record.Batch) error {
	if b.BaseOffset() < l.next {
		return fmt.Errorf("a batch has base offset %d, but %d is the next", b.BaseOffset(), l.next)
	}
	l.next = b.NextOffset()
	if !b.IsControl() {
		l.counts.Records += int64(b.Count())
	}
	l.counts.Bytes += record.LogOverhead + int64(b.Length())
	l.open.batch(b)
	if l.groups == nil {
		return nil
	}
	return l.groups.batch(b)
}

// finish looks at what the whole log came to.
func (l *logCheck) finish() {
	if len(l.open) > 0 {
		first := kafka.Offset(-1)
		for _, offset := range l.open {
			if first < 0 || offset < first {
				first = offset
			}
		}
		if l.image.Topic(transactionTopic) == nil {
			l.refuse("%s has %s, the first from offset %d, and there is no %s: nobody would ever end it; start Kafka "+
				"again, let it end, and stop it", l.tp, openText(len(l.open)), first, transactionTopic)
			return
		}
		l.note("%s has %s, the first from offset %d: its producer or the coordinator ends it", l.tp,
			openText(len(l.open)), first)
	}
	if l.groups == nil {
		return
	}
	for _, kind := range l.groups.unserved() {
		l.refuse("%s holds %s, which are not served yet: their state would be lost", l.tp, kind)
	}
	groups, offsets := l.groups.count()
	l.plan.Groups += groups
	l.plan.Offsets += offsets
}

// openText counts open transactions.
func openText(n int) string {
	if n == 1 {
		return "1 open transaction"
	}
	return fmt.Sprintf("%d open transactions", n)
}

// groupError is a record of __consumer_offsets that could not be loaded.
type groupError struct{ error }

// Unwrap gives the error itself.
func (e *groupError) Unwrap() error { return e.error }

// groupState is what the last records of one partition of __consumer_offsets say.
type groupState struct {
	decoder groups.Decoder
	offsets map[offsetKey]struct{}
	members map[string]struct{} // groups, with or without offsets
	others  map[string]string   // keys of groups of a kind that is not served → the kind
	pending map[kafka.ProducerID][]func()
}

// offsetKey is what an offset is committed for.
type offsetKey struct {
	group string
	tp    kafka.TopicPartition
}

func newGroupState() *groupState {
	return &groupState{offsets: map[offsetKey]struct{}{}, members: map[string]struct{}{}, others: map[string]string{},
		pending: map[kafka.ProducerID][]func(){}}
}

// batch takes in one batch. What is committed in a transaction counts when it ends.
func (g *groupState) batch(b record.Batch) error {
	it := b.Records()
	defer it.Close()
	for r, ok := it.Next(); ok; r, ok = it.Next() {
		if b.IsControl() {
			t, err := r.ControlType()
			if err != nil {
				return err
			}
			g.end(b.ProducerID(), t == record.ControlCommit)
			continue
		}
		apply, err := g.record(r.Key, r.Value)
		switch {
		case err != nil:
			return &groupError{fmt.Errorf("offset %d: %w", r.Offset, err)}
		case b.IsTransactional():
			g.pending[b.ProducerID()] = append(g.pending[b.ProducerID()], apply)
		default:
			apply()
		}
	}
	return it.Err()
}

// end ends the transaction of a producer.
func (g *groupState) end(id kafka.ProducerID, committed bool) {
	if committed {
		for _, apply := range g.pending[id] {
			apply()
		}
	}
	delete(g.pending, id)
}

// record decodes one record and gives what it does.
func (g *groupState) record(key, value []byte) (apply func(), err error) {
	decoded, err := g.decoder.Decode(key, value)
	if errors.Is(err, coordinator.ErrUnknownRecord) {
		name, kind := string(key), kindOf(key)
		return func() {
			if value == nil {
				delete(g.others, name)
			} else {
				g.others[name] = kind
			}
		}, nil
	}
	if err != nil {
		return nil, err
	}
	return func() { g.apply(decoded) }, nil
}

func (g *groupState) apply(r coordinator.Record) {
	switch r := r.(type) {
	case *groups.OffsetCommit:
		key := offsetKey{r.Group, kafka.TopicPartition{Topic: r.Topic, Partition: r.Partition}}
		put(g.offsets, key, r.Deleted)
	case *groups.Group:
		put(g.members, r.Group, r.Deleted)
	case *groups.ConsumerGroup:
		put(g.members, r.Group, r.Deleted)
	}
}

func put[K comparable](set map[K]struct{}, key K, deleted bool) {
	if deleted {
		delete(set, key)
		return
	}
	set[key] = struct{}{}
}

// The record types of the other kinds of groups, by the first and the last number.
const (
	shareFirst, shareLast = 9, 15
	streamsFirst          = 17
)

// kindOf names the kind of group that the type in a key belongs to.
func kindOf(key []byte) string {
	n := 0
	if len(key) >= 2 {
		n = int(key[0])<<8 | int(key[1])
	}
	switch {
	case n >= shareFirst && n <= shareLast:
		return "share groups"
	case n >= streamsFirst:
		return "streams groups"
	}
	return fmt.Sprintf("groups with records of type %d", n)
}

// unserved are the kinds of groups that would lose their state.
func (g *groupState) unserved() []string {
	var kinds []string
	for _, kind := range g.others {
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// count is the number of groups and of committed offsets.
func (g *groupState) count() (int, int) {
	all := map[string]struct{}{}
	for group := range g.members {
		all[group] = struct{}{}
	}
	for key := range g.offsets {
		all[key.group] = struct{}{}
	}
	return len(all), len(g.offsets)
}
