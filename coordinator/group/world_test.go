package group

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"spate/coordinator"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/group/offsets"
	"spate/kafka"
	"spate/metadata/image"
	metadata "spate/metadata/record"
)

// world is a shard with a log, timers and a cluster. It carries outcomes out as the runtime does, on one thread.
type world struct {
	shard     *Shard
	now       time.Time
	img       *image.Image
	log       []logged
	timers    map[coordinator.TimerKey]armed
	armed     int
	next      coordinator.Token
	waiting   map[coordinator.Token]string // who waits for an answer
	batchMax  int                          // records that fit into a batch; 0: any number
	diskFull  bool                         // whatever has records is refused
	topicIDs  uint32
	epochs    map[string]int32 // the highest generation or epoch that was seen, by group
	onRecords func(records []coordinator.Record)
}

// logged is a record in the log.
type logged struct {
	key, value []byte
	place      coordinator.Place
}

// armed is a timer that is set; of two that are due at once, the one set first fires first.
type armed struct {
	at    time.Time
	order int
}

func newWorld() *world {
	w := &world{now: time.UnixMilli(1_000_000), img: image.Empty("cluster"), epochs: map[string]int32{}}
	w.start()
	w.carryOut(w.shard.Loaded(w.now))
	return w
}

// start makes a shard that knows nothing yet.
func (w *world) start() {
	w.shard = NewShard(Options{
		Settings: testSettings,
		Offsets:  offsets.Settings{MetadataMax: 8, Retention: 100 * time.Second},
		// Often, so that stories are short.
		ExpiryInterval: 30 * time.Second,
		Image:          w.img,
	})
	w.timers, w.waiting = map[coordinator.TimerKey]armed{}, map[coordinator.Token]string{}
}

func testSettings(overrides map[string]string) Settings {
	s := Settings{
		Classic: classic.Settings{SessionTimeoutMin: time.Second, SessionTimeoutMax: time.Hour, SizeMax: 20_000},
	}
	s.Consumer = consumer.Settings{
		SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second, RegexRefreshInterval: 10 * time.Minute,
		SizeMax: 100, Assignors: []string{"uniform", "range"}, Upgrade: true, Downgrade: true, Classic: s.Classic,
	}
	if text, ok := overrides["consumer.session.timeout.ms"]; ok {
		var ms int
		fmt.Sscan(text, &ms)
		s.Consumer.SessionTimeout = time.Duration(ms) * time.Millisecond
	}
	return s
}

// restart replays the log into a new shard. Whoever waited is gone.
func (w *world) restart() {
	w.start()
	w.replay(w.shard)
	w.carryOut(w.shard.Loaded(w.now))
}

func (w *world) replay(s *Shard) {
	for _, l := range w.log {
		r, err := s.Decode(l.key, l.value)
		if err != nil {
			panic(err)
		}
		s.Apply(r, l.place)
	}
}

// submit hands a command in and gives what it was answered at once, or to others.
func (w *world) submit(who, group string, body any) []answered {
	return w.submitBare(who, Command{Group: group, Body: body})
}

func (w *world) submitBare(who string, cmd any) []answered {
	w.next++
	w.waiting[w.next] = who
	return w.carryOut(w.shard.Decide(w.now, w.next, cmd))
}

// answered is a reply to somebody.
type answered struct {
	who  string
	body any
	err  error
}

// carryOut writes and applies the records, sets the timers and collects the replies.
func (w *world) carryOut(out coordinator.Outcome) []answered {
	var answers []answered
	var refusal error
	switch {
	case w.batchMax > 0 && len(out.Records) > w.batchMax:
		refusal = kafka.RecordListTooLarge
	case w.diskFull && len(out.Records) > 0:
		refusal = kafka.NotCoordinator
	}
	if refusal != nil {
		for _, reply := range out.Replies {
			answers = append(answers, w.answer(coordinator.Reply{To: reply.To, Err: refusal}))
		}
		return append(answers, w.carryOut(w.shard.Refused(w.now, out.Records, refusal))...)
	}
	for _, r := range out.Records {
		place := coordinator.Place{Offset: kafka.Offset(len(w.log)), ProducerID: kafka.NoProducerID}
		value, kept := r.AppendValue([]byte{})
		if !kept {
			value = nil
		}
		w.log = append(w.log, logged{r.AppendKey(nil), value, place})
		w.shard.Apply(r, place)
	}
	if w.onRecords != nil {
		w.onRecords(out.Records)
	}
	for _, timer := range out.Timers {
		delete(w.timers, timer.Key)
		if !timer.At.IsZero() {
			w.armed++
			w.timers[timer.Key] = armed{timer.At, w.armed}
		}
	}
	for _, reply := range out.Replies {
		answers = append(answers, w.answer(reply))
	}
	return answers
}

func (w *world) answer(reply coordinator.Reply) answered {
	who, ok := w.waiting[reply.To]
	if !ok {
		panic(fmt.Sprintf("token %d is answered twice: %+v", reply.To, reply))
	}
	delete(w.waiting, reply.To)
	return answered{who, reply.Body, reply.Err}
}

// advance lets time pass, and fires the timers that are due on the way.
func (w *world) advance(by time.Duration) []answered {
	until := w.now.Add(by)
	var answers []answered
	for fired := 0; ; fired++ {
		key, at, ok := w.due()
		if !ok || at.After(until) {
			break
		}
		if fired > 100_000 {
			panic("timers fire without end")
		}
		if at.After(w.now) {
			w.now = at
		}
		delete(w.timers, key)
		answers = append(answers, w.carryOut(w.shard.Fired(w.now, key))...)
	}
	w.now = until
	return answers
}

// due is the timer that fires next.
func (w *world) due() (coordinator.TimerKey, time.Time, bool) {
	keys := slices.Collect(maps.Keys(w.timers))
	if len(keys) == 0 {
		return coordinator.TimerKey{}, time.Time{}, false
	}
	first := slices.MinFunc(keys, func(a, b coordinator.TimerKey) int {
		return cmp.Or(w.timers[a].at.Compare(w.timers[b].at), cmp.Compare(w.timers[a].order, w.timers[b].order))
	})
	return first, w.timers[first].at, true
}

// change applies records to the cluster's metadata and tells the shard.
func (w *world) change(withDelta bool, records ...metadata.Record) []answered {
	b := image.NewBuilder(w.img)
	for _, r := range records {
		if err := b.Apply(r); err != nil {
			panic(err)
		}
	}
	b.AdvanceTo(w.img.EndOffset()+kafka.Offset(len(records)), 1)
	next, delta := b.Build()
	w.img = next
	if !withDelta {
		delta = nil
	}
	return w.carryOut(w.shard.Decide(w.now, coordinator.Nobody, NewImage{next, delta}))
}

// topic makes a topic.
func (w *world) topic(name string, partitions int) {
	w.topicIDs++
	var id kafka.UUID
	id[0] = 't'
	binary.BigEndian.PutUint32(id[12:], w.topicIDs)
	records := []metadata.Record{&metadata.Topic{Name: name, ID: id}}
	for i := range partitions {
		records = append(
			records,
			&metadata.Partition{Index: kafka.PartitionIndex(i), TopicID: id, Leader: kafka.NoBroker},
		)
	}
	w.change(true, records...)
}

func (w *world) drop(name string, withDelta bool) []answered {
	return w.change(withDelta, &metadata.RemoveTopic{ID: w.img.Topic(name).ID})
}

// snapshot shows what a shard has from its log: offsets, consumer groups, and classic groups between rebalances.
func snapshot(s *Shard, skip func(id string) bool) string {
	var b strings.Builder
	for _, id := range s.ids() {
		if skip(id) {
			continue
		}
		fmt.Fprintf(&b, "%+v\n", s.listed(id))
		for _, topic := range s.offsets.Fetch(id, offsets.Fetch{All: true}).Topics {
			fmt.Fprintf(&b, "  %s %+v\n", topic.Topic, topic.Partitions)
		}
		if g := s.consumer[id]; g != nil {
			d := g.Describe(s.cluster)
			fmt.Fprintf(&b, "  epoch=%d target=%d %s\n", d.GroupEpoch, d.AssignmentEpoch, d.Assignor)
			for _, m := range d.Members {
				fmt.Fprintf(&b, "  %s epoch=%d topics=%v owns=%v target=%v classic=%v\n", m.MemberID, m.MemberEpoch,
					m.SubscribedTopics, m.Assignment, m.Target, m.Classic)
			}
		}
		if g := s.classic[id]; g != nil {
			d := g.Describe()
			fmt.Fprintf(&b, "  generation=%d since=%d protocol=%s\n", g.Generation(), g.StateTimestamp(), d.Protocol)
			for _, m := range d.Members {
				fmt.Fprintf(&b, "  %s %s %x %x\n", m.MemberID, m.ClientID, m.Metadata, m.Assignment)
			}
		}
	}
	return b.String()
}

// isRebalancing says whether a classic group is between two of its records, so that a replay shows an earlier state.
func isRebalancing(s *Shard) func(id string) bool {
	return func(id string) bool {
		g := s.classic[id]
		return g != nil && g.State() != classic.Empty && g.State() != classic.Stable
	}
}

// compareWithReplay gives a complaint if a shard made from the log, as it is or compacted, is not like the live one.
func (w *world) compareWithReplay() string {
	for name, log := range map[string][]logged{"replayed": w.log, "compacted and replayed": compacted(w.log)} {
		skip := isRebalancing(w.shard)
		if name != "replayed" {
			skip = func(id string) bool { return isRebalancing(w.shard)(id) || w.shard.isJustAName(id) }
		}
		again := NewShard(w.shard.options)
		again.options.Image = w.img
		again.cluster = consumer.NewCluster(w.img)
		(&world{log: log}).replay(again)
		if live, replayed := snapshot(w.shard, skip), snapshot(again, skip); live != replayed {
			return fmt.Sprintf("the live shard:\n%s\nthe one %s:\n%s", live, name, replayed)
		}
	}
	return ""
}

// isJustAName says whether nothing is left of a group of offsets but that there were some, which a compaction forgets.
func (s *Shard) isJustAName(id string) bool {
	fetched := s.offsets.Fetch(id, offsets.Fetch{All: true})
	return s.classic[id] == nil && s.consumer[id] == nil && len(fetched.Topics) == 0
}

// compacted is the last record of each key, in their order.
func compacted(log []logged) []logged {
	last := map[string]int{}
	for i, l := range log {
		last[string(l.key)] = i
	}
	var left []logged
	for i, l := range log {
		if last[string(l.key)] == i {
			left = append(left, l)
		}
	}
	return left
}
