package txn

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// world is what the runtime is to a shard, with all of it in the hands of a test: the clock, the log, and when what is
// written is committed.
type world struct {
	options Options
	shard   *Shard
	now     time.Time
	fresh   kafka.ProducerID // the last one that was given out
	log     []pair           // what was written
	durable int              // how much of it a crash leaves
	held    bool             // commit is left to the test
	parked  []parked
	timers  map[coordinator.TimerKey]time.Time
	tasks   []any // that were handed out and are not answered
	token   coordinator.Token
	refuse  int                      // how many outcomes with records are refused from now on
	limit   int                      // the most bytes of an outcome's records, or 0 for any
	heard   func(*coordinator.Reply) // is called with each reply that is given, unless nil
	seen    strings.Builder
}

// pair is a record as it lies in the log.
type pair struct {
	key, value []byte
	kept       bool
}

// parked is what waits for a commit: from says how much of the log.
type parked struct {
	from  int
	reply *coordinator.Reply
	task  any
}

var epoch = time.UnixMilli(1_000_000)

func testOptions() Options {
	return Options{
		TimeoutMaxMs: 900_000, AbortInterval: 10 * time.Second, Expiration: 7 * 24 * time.Hour,
		ExpiryInterval: time.Hour, Version: 2,
	}
}

func newWorld(o Options) *world {
	w := &world{options: o, now: epoch, fresh: 999}
	w.load()
	return w
}

// load makes the shard of what is durable.
func (w *world) load() {
	w.log = w.log[:w.durable]
	w.parked, w.tasks, w.timers = nil, nil, map[coordinator.TimerKey]time.Time{}
	w.options.Life++
	w.shard = NewShard(w.options)
	for i, p := range w.log {
		w.shard.Apply(p.decode(w.shard), coordinator.Place{Offset: kafka.Offset(i)})
	}
	w.follow(w.shard.Loaded(w.now))
}

func (p pair) decode(s *Shard) coordinator.Record {
	var value []byte
	if p.kept {
		value = append([]byte{}, p.value...)
	}
	r, err := s.Decode(p.key, value)
	if err != nil {
		panic(err)
	}
	return r
}

// follow carries out an outcome, as the runtime does.
func (w *world) follow(o coordinator.Outcome) {
	if why := w.refusal(&o); why != nil {
		for i := range o.Replies {
			w.park(parked{reply: &coordinator.Reply{To: o.Replies[i].To, Err: why}})
		}
		w.print("refused: %d records\n", len(o.Records))
		o = w.shard.Refused(w.now, o.Records, why)
		if len(o.Records) > 0 {
			panic("more records in place of those that were refused")
		}
	}
	for _, r := range o.Records {
		var p pair
		p.key = r.AppendKey(nil)
		p.value, p.kept = r.AppendValue(nil)
		w.log = append(w.log, p)
		w.shard.Apply(r, coordinator.Place{})
		w.print("record: %s\n", showRecord(r.(*record.Transaction)))
	}
	for _, t := range o.Timers {
		if t.At.IsZero() {
			delete(w.timers, t.Key)
		} else {
			w.timers[t.Key] = t.At
		}
	}
	for _, n := range o.Notes {
		w.print("note: %s: %s\n", n.Group, n.Text)
	}
	for i := range o.Replies {
		w.park(parked{reply: &o.Replies[i]})
	}
	for _, task := range o.Tasks {
		w.park(parked{task: task})
	}
	if !w.held {
		w.commit(len(w.log))
	}
}

// refusal is why the records of an outcome cannot be written, if they cannot.
func (w *world) refusal(o *coordinator.Outcome) error {
	if len(o.Records) > 0 && w.refuse > 0 {
		w.refuse--
		return kafka.NotCoordinator
	}
	bytes := o.Spare
	for _, r := range o.Records {
		value, _ := r.AppendValue(r.AppendKey(nil))
		bytes += len(value)
	}
	if w.limit > 0 && len(o.Records) > 0 && bytes > w.limit {
		return kafka.RecordListTooLarge
	}
	return nil
}

func (w *world) park(p parked) {
	p.from = len(w.log)
	w.parked = append(w.parked, p)
}

// commit makes the log durable up to there, and gives out what waited for it.
func (w *world) commit(upTo int) {
	w.durable = max(w.durable, upTo)
	for len(w.parked) > 0 && w.parked[0].from <= w.durable {
		p := w.parked[0]
		w.parked = w.parked[1:]
		if p.reply != nil {
			w.print("%s\n", showReply(p.reply))
			if w.heard != nil {
				w.heard(p.reply)
			}
			continue
		}
		w.tasks = append(w.tasks, p.task)
		w.print("task: %s\n", showTask(p.task))
	}
}

// ask submits a command, with a fresh producer id if it needs one. It gives the token of the reply.
func (w *world) ask(id string, command func(fresh kafka.ProducerID) any) coordinator.Token {
	w.token++
	out := w.shard.Decide(w.now, w.token, Command{ID: id, Body: command(kafka.NoProducerID)})
	if len(out.Replies) == 1 && errors.Is(out.Replies[0].Err, ErrNeedsProducerID) {
		if len(out.Records)+len(out.Tasks) > 0 {
			panic("something follows from a command that has to come again")
		}
		w.fresh++
		out = w.shard.Decide(w.now, w.token, Command{ID: id, Body: command(w.fresh)})
	}
	w.follow(out)
	return w.token
}

// tell submits what nobody waits for.
func (w *world) tell(cmd any) { w.follow(w.shard.Decide(w.now, coordinator.Nobody, cmd)) }

// wait lets time pass, and fires the timers on the way.
func (w *world) wait(d time.Duration) {
	end := w.now.Add(d)
	for {
		key, at, found := w.next()
		if !found || at.After(end) {
			break
		}
		if at.After(w.now) {
			w.now = at
		}
		delete(w.timers, key)
		w.follow(w.shard.Fired(w.now, key))
	}
	w.now = end
}

func (w *world) next() (key coordinator.TimerKey, at time.Time, found bool) {
	for k, t := range w.timers {
		if !found || t.Before(at) || t.Equal(at) && compareKeys(k, key) < 0 {
			key, at, found = k, t, true
		}
	}
	return key, at, found
}

func compareKeys(a, b coordinator.TimerKey) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), strings.Compare(a.Group, b.Group))
}

func (w *world) print(format string, args ...any) { fmt.Fprintf(&w.seen, format, args...) }

// take gives what was printed.
func (w *world) take() string {
	text := w.seen.String()
	w.seen.Reset()
	return text
}

// state is what a shard holds, but for what no log tells: the epoch before.
func (s *Shard) state() string {
	var b strings.Builder
	for _, l := range s.list(epoch, &List{AllStates: true, DurationMs: -1}).Listed {
		r := *s.ids[l.ID].Transaction
		r.LastEpoch = kafka.NoProducerEpoch
		fmt.Fprintln(&b, showRecord(&r))
	}
	fmt.Fprintln(&b, s.counts, len(s.ongoing))
	return b.String()
}

// replayed is the state of a shard that is made of the log, with what is not committed.
func (w *world) replayed() string {
	again := NewShard(w.options)
	for i, p := range w.log {
		again.Apply(p.decode(again), coordinator.Place{Offset: kafka.Offset(i)})
	}
	return again.state()
}

func showRecord(t *record.Transaction) string {
	if t.Deleted {
		return t.ID + " is gone"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s producer=%d/%d", t.ID, t.State, t.ProducerID, t.Epoch)
	if t.LastEpoch != kafka.NoProducerEpoch {
		fmt.Fprintf(&b, " last-epoch=%d", t.LastEpoch)
	}
	if t.PreviousProducerID != t.ProducerID && t.PreviousProducerID != kafka.NoProducerID {
		fmt.Fprintf(&b, " previous=%d", t.PreviousProducerID)
	}
	if t.NextProducerID != kafka.NoProducerID {
		fmt.Fprintf(&b, " next=%d", t.NextProducerID)
	}
	if t.State != record.Empty {
		fmt.Fprintf(&b, " %s", showPartitions(t.Partitions()))
	}
	fmt.Fprintf(&b, " timeout=%s", time.Duration(t.TimeoutMs)*time.Millisecond)
	if t.Start != kafka.NoTimestamp {
		fmt.Fprintf(&b, " start=%s", showTime(t.Start))
	}
	fmt.Fprintf(&b, " updated=%s client=%d v%d", showTime(t.LastUpdate), t.ClientVersion, t.Version)
	return b.String()
}

func showTime(ts kafka.Timestamp) string { return time.UnixMilli(int64(ts)).Sub(epoch).String() }

func showPartitions(list []kafka.TopicPartition) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.String()
	}
	return "[" + strings.Join(words, " ") + "]"
}

func showTask(task any) string {
	switch task := task.(type) {
	case WriteMarkers:
		kind := "abort"
		if task.Commit {
			kind = "commit"
		}
		return fmt.Sprintf("%s markers of %s producer=%d/%d client=%d %s", kind, task.ID, task.ProducerID, task.Epoch,
			task.ClientVersion, showPartitions(task.Partitions))
	case AllocateProducerID:
		return fmt.Sprintf("a producer id for %s producer=%d/%d", task.ID, task.Expire.ProducerID, task.Expire.Epoch)
	}
	return fmt.Sprintf("%T", task)
}

func showReply(r *coordinator.Reply) string {
	if r.Err != nil {
		return fmt.Sprintf("#%d: %s", r.To, nameOf(r.Err))
	}
	switch body := r.Body.(type) {
	case Producer:
		if body == (Producer{}) {
			return fmt.Sprintf("#%d: done", r.To)
		}
		return fmt.Sprintf("#%d: producer=%d/%d", r.To, body.ID, body.Epoch)
	case AddPartitionsReply:
		words := make([]string, len(body.Errs))
		for i, err := range body.Errs {
			words[i] = "in"
			if err != nil {
				words[i] = nameOf(err)
			}
		}
		return fmt.Sprintf("#%d: %s", r.To, strings.Join(words, " "))
	case *record.Transaction:
		return fmt.Sprintf("#%d: %s", r.To, showRecord(body))
	case ListReply:
		words := make([]string, len(body.Listed))
		for i, l := range body.Listed {
			words[i] = fmt.Sprintf("%s %s producer=%d", l.ID, l.State, l.ProducerID)
		}
		return fmt.Sprintf("#%d: %s", r.To, strings.Join(words, "; "))
	}
	return fmt.Sprintf("#%d: %v", r.To, r.Body)
}

// answer takes the first task that is about an id, and tells the shard what came of it: errors by partition, nil for
// the others.
func (w *world) answer(id string, failed map[string]error) bool {
	for i, task := range w.tasks {
		switch task := task.(type) {
		case WriteMarkers:
			if task.ID != id {
				continue
			}
			w.tasks = slices.Delete(w.tasks, i, i+1)
			errs := make([]error, len(task.Partitions))
			for j, p := range task.Partitions {
				errs[j] = failed[p.String()]
			}
			w.tell(Command{ID: id, Body: Markers{Asked: task, Errs: errs}})
			return true
		case AllocateProducerID:
			if task.ID != id {
				continue
			}
			w.tasks = slices.Delete(w.tasks, i, i+1)
			w.fresh++
			task.Expire.Fresh = w.fresh
			w.tell(Command{ID: id, Body: task.Expire})
			return true
		}
	}
	return false
}

// nameOf is Kafka's name of an error.
func nameOf(err error) string {
	var known *kafka.Error
	if errors.As(err, &known) {
		return known.Name
	}
	return err.Error()
}
