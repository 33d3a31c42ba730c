package txn

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// Goal: whatever producers do, whatever is lost and whenever the coordinator crashes, a transaction has one end,
// which every partition that was added learns, and only that one; a producer that was fenced ends nothing; and all of
// it is in the log. Method: random producers of both protocols against one shard, with partitions that note the
// markers that they get; answers that are lost and come twice; crashes that lose what is not committed; clocks that
// run past timeouts.
func TestTransactionsEndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		options := testOptions()
		options.Version = rapid.SampledFrom([]int16{0, 1, 2}).Draw(t, "version")
		p := &producers{T: t, world: newWorld(options), known: map[string]*client{}, markers: map[markerKey]bool{},
			open: map[openKey]kafka.ProducerEpoch{}, ends: map[generation]bool{}, ids: map[string]Producer{},
			told: map[coordinator.Token]told{}}
		p.heard = p.hear
		p.held = rapid.Bool().Draw(t, "held")
		t.Repeat(map[string]func(*rapid.T){
			"":        p.check,
			"init":    p.init,
			"add":     p.add,
			"end":     p.end,
			"retry":   p.retry,
			"written": p.written,
			"late":    p.late,
			"commit":  func(*rapid.T) { p.commit(len(p.log)) },
			"crash":   func(*rapid.T) { p.crash() },
			"wait":    p.pass,
			"exhaust": p.exhaust,
			"version": p.version,
			"full":    func(t *rapid.T) { p.refuse = rapid.IntRange(1, 2).Draw(t, "outcomes") },
		})
		p.settle()
	})
}

// generation is one transaction, as partitions know it: a producer id and the epoch of its records.
type generation struct {
	id    kafka.ProducerID
	epoch kafka.ProducerEpoch
}

// markerKey is a marker in a partition.
type markerKey struct {
	partition kafka.TopicPartition
	producer  kafka.ProducerID
	epoch     kafka.ProducerEpoch
}

// openKey is a producer in a partition.
type openKey struct {
	partition kafka.TopicPartition
	producer  kafka.ProducerID
}

// client is a producer, as far as it knows itself. There may be several of one transactional id.
type client struct {
	id       string
	producer Producer
	isTwo    bool // speaks the newer protocol
	last     *EndTxn
}

type producers struct {
	*rapid.T
	*world
	known map[string]*client
	// open is where a producer has a transaction, as far as its answers say: the epoch of it. A marker closes it.
	open map[openKey]kafka.ProducerEpoch
	// ends are those that were acknowledged of the newer protocol, true for a commit: there each transaction has an
	// epoch of its own.
	ends    map[generation]bool
	markers map[markerKey]bool  // true for a commit: markers that partitions have
	ids     map[string]Producer // the producer that was told last of each transactional id
	answers []Markers           // that have been given, and may come again
	told    map[coordinator.Token]told
}

// told takes the answer to a command.
type told func(body any, err error)

var ids = []string{"s", "t"}

// decide submits a command and follows its answer. One that waits for a commit is lost; one that waits for the end of a
// transaction is heard when it comes.
func (p *producers) decide(id string, command func(fresh kafka.ProducerID) any, told told) {
	p.told[p.token+1] = told
	to := p.ask(id, command)
	for i := range p.parked {
		if r := p.parked[i].reply; r != nil && r.To == to {
			delete(p.told, to)
			return
		}
	}
	if t := p.shard.ids[id]; p.told[to] != nil &&
		(t == nil || !slices.ContainsFunc(t.waiters, func(w waiter) bool { return w.to == to })) {
		p.Fatalf("request %d is not answered", to)
	}
}

// hear takes an answer that is given.
func (p *producers) hear(r *coordinator.Reply) {
	if told := p.told[r.To]; told != nil {
		delete(p.told, r.To)
		told(r.Body, r.Err)
	}
}

func (p *producers) init(t *rapid.T) {
	id := rapid.SampledFrom(ids).Draw(t, "id")
	name := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "client") + id
	c := p.known[name]
	cmd := InitProducerID{TimeoutMs: 30_000, ProducerID: kafka.NoProducerID, Epoch: kafka.NoProducerEpoch}
	if c != nil && rapid.Bool().Draw(t, "goes on") {
		cmd.ProducerID, cmd.Epoch = c.producer.ID, c.producer.Epoch
	}
	isTwo := p.options.Version == 2 && rapid.Bool().Draw(t, "two")
	p.decide(id, func(fresh kafka.ProducerID) any {
		cmd.Fresh = fresh
		return cmd
	}, func(body any, err error) {
		if err != nil {
			p.allow(err, kafka.ConcurrentTransactions, kafka.ProducerFenced, kafka.NotCoordinator,
				kafka.UnknownServerError)
			return
		}
		producer := body.(Producer)
		last, known := p.ids[id]
		if known && (producer.ID < last.ID || producer.ID == last.ID && producer.Epoch < last.Epoch) {
			t.Fatalf("%s has %v after %v", id, producer, last)
		}
		p.ids[id] = producer
		p.known[name] = &client{id: id, producer: producer, isTwo: isTwo}
	})
}

func (p *producers) pick(t *rapid.T) *client {
	var names []string
	for _, id := range ids {
		for _, c := range []string{"x", "y"} {
			if p.known[c+id] != nil {
				names = append(names, c+id)
			}
		}
	}
	if len(names) == 0 {
		t.Skip("nobody is there")
	}
	return p.known[rapid.SampledFrom(names).Draw(t, "client")]
}

func (p *producers) add(t *rapid.T) {
	c := p.pick(t)
	n := kafka.PartitionIndex(rapid.Int32Range(0, 3).Draw(t, "partition"))
	cmd := AddPartitions{ProducerID: c.producer.ID, Epoch: c.producer.Epoch,
		Partitions: []kafka.TopicPartition{{Topic: "a", Partition: n}, {Topic: "b", Partition: n}}}
	if c.isTwo {
		cmd.ClientVersion = 2
		cmd.Wait = time.Duration(rapid.IntRange(0, 2).Draw(t, "seconds")) * time.Second
	}
	producer := c.producer
	p.decide(c.id, func(kafka.ProducerID) any { return cmd }, func(_ any, err error) {
		if err != nil {
			// While it waits, the version may go down.
			p.allow(err, kafka.ConcurrentTransactions, kafka.ProducerFenced, kafka.InvalidProducerIDMapping,
				kafka.NotCoordinator, kafka.UnsupportedVersion)
			return
		}
		if last := p.ids[c.id]; last != producer {
			p.Fatalf("%s: %v adds partitions, but %v has the id", c.id, producer, last)
		}
		for _, partition := range cmd.Partitions {
			p.open[openKey{partition, producer.ID}] = producer.Epoch
		}
	})
}

func (p *producers) end(t *rapid.T) {
	c := p.pick(t)
	cmd := EndTxn{ProducerID: c.producer.ID, Epoch: c.producer.Epoch, Commit: rapid.Bool().Draw(t, "commit")}
	if c.isTwo {
		cmd.ClientVersion = 2
	}
	c.last = &cmd
	p.finish(c, cmd)
}

// retry sends the last end once more, as after a lost answer.
func (p *producers) retry(t *rapid.T) {
	c := p.pick(t)
	if c.last == nil {
		t.Skip("it has ended nothing")
	}
	p.finish(c, *c.last)
}

func (p *producers) finish(c *client, cmd EndTxn) {
	before := c.producer
	p.decide(c.id, func(fresh kafka.ProducerID) any {
		cmd.Fresh = fresh
		return cmd
	}, func(body any, err error) {
		if err != nil {
			p.allow(err, kafka.ConcurrentTransactions, kafka.ProducerFenced, kafka.InvalidProducerIDMapping,
				kafka.InvalidTxnState, kafka.NotCoordinator)
			return
		}
		if !c.isTwo {
			return
		}
		c.producer = body.(Producer)
		if before == p.ids[c.id] { // else it was late, and is told what it has already
			p.ids[c.id] = c.producer
		}
		of := generation{cmd.ProducerID, cmd.Epoch}
		if ended, known := p.ends[of]; known && ended != cmd.Commit {
			p.Fatalf("the transaction of %v ends as commit=%v and as commit=%v", of, ended, cmd.Commit)
		}
		p.ends[of] = cmd.Commit
	})
}

// allow fails for an error that no such request gets.
func (p *producers) allow(err error, allowed ...*kafka.Error) {
	for _, a := range allowed {
		if errors.Is(err, a) {
			return
		}
	}
	p.Fatalf("refused with %v", err)
}

// written has a task done, for all of its partitions or for some.
func (p *producers) written(t *rapid.T) {
	if len(p.tasks) == 0 {
		t.Skip("nothing is to be done")
	}
	i := rapid.IntRange(0, len(p.tasks)-1).Draw(t, "task")
	task := p.tasks[i]
	p.tasks = slices.Delete(p.tasks, i, i+1)
	switch task := task.(type) {
	case AllocateProducerID:
		if rapid.Bool().Draw(t, "found") {
			p.fresh++
			task.Expire.Fresh = p.fresh
			p.tell(Command{ID: task.ID, Body: task.Expire})
		}
	case WriteMarkers:
		p.write(task, func() bool { return rapid.IntRange(0, 3).Draw(t, "fails") == 0 },
			rapid.Bool().Draw(t, "told"))
	}
}

// write puts markers into partitions, and may tell the shard.
func (p *producers) write(task WriteMarkers, fails func() bool, told bool) {
	errs := make([]error, len(task.Partitions))
	for i, partition := range task.Partitions {
		if fails() {
			errs[i] = kafka.NotLeaderOrFollower
			continue
		}
		key := markerKey{partition, task.ProducerID, task.Epoch}
		if commit, has := p.markers[key]; has && commit != task.Commit && task.ClientVersion == 2 {
			p.Fatalf("%v has markers of both kinds for %d/%d", partition, task.ProducerID, task.Epoch)
		}
		p.markers[key] = task.Commit
		at := openKey{partition, task.ProducerID}
		if epoch, is := p.open[at]; is && epoch <= task.Epoch {
			delete(p.open, at)
		}
		if ended, known := p.ends[generation{task.ProducerID, task.Epoch - 1}]; known && ended != task.Commit &&
			task.ClientVersion == 2 {
			p.Fatalf("the producer was told commit=%v, and %v learns of %+v", ended, partition, task)
		}
	}
	answer := Markers{Asked: task, Errs: errs}
	p.answers = append(p.answers, answer)
	if told {
		p.tell(Command{ID: task.ID, Body: answer})
	} else {
		p.tasks = append(p.tasks, task) // it is done again
	}
}

// late brings an answer once more.
func (p *producers) late(t *rapid.T) {
	if len(p.answers) == 0 {
		t.Skip("nothing was answered")
	}
	answer := rapid.SampledFrom(p.answers).Draw(t, "answer")
	p.tell(Command{ID: answer.Asked.ID, Body: answer})
}

func (p *producers) crash() {
	p.refuse = 0
	clear(p.told)
	p.load()
}

func (p *producers) pass(t *rapid.T) {
	p.wait(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
}

// exhaust brings an id close to its last epoch.
func (p *producers) exhaust(t *rapid.T) {
	id := rapid.SampledFrom(ids).Draw(t, "id")
	state := p.shard.ids[id]
	if state == nil || state.State != record.Empty || state.Epoch > 100 || len(p.parked) > 0 {
		t.Skip("not now")
	}
	next := *state.Transaction
	next.Epoch, next.LastEpoch = epochLast-2, kafka.NoProducerEpoch
	p.refuse = 0
	p.follow(coordinator.Outcome{Records: []coordinator.Record{&next}})
	p.commit(len(p.log))
	p.ids[id] = Producer{ID: next.ProducerID, Epoch: next.Epoch}
	for _, name := range []string{"x", "y"} {
		delete(p.known, name+id)
	}
}

// version has the cluster agree on another version of transactions. What its records have no place for is not asked
// for: clients look first, and those of the newer version are replaced.
func (p *producers) version(t *rapid.T) {
	p.options.Version = rapid.SampledFrom([]int16{0, 1, 2}).Draw(t, "version")
	p.tell(Version{Level: p.options.Version})
	if p.options.Version == 0 {
		maps.DeleteFunc(p.known, func(_ string, c *client) bool { return c.isTwo })
	}
}

// check holds what the shard has against the log: a shard that is built from it is the same.
func (p *producers) check(*rapid.T) {
	if got, want := p.replayed(), p.shard.state(); got != want {
		p.Fatalf("replayed:\n%s\nlive:\n%s", got, want)
	}
}

// settle lets everything come to its end, and looks at what has become of the transactions.
func (p *producers) settle() {
	p.refuse, p.held = 0, false
	p.commit(len(p.log))
	for range 100 {
		for len(p.tasks) > 0 {
			task := p.tasks[0]
			p.tasks = p.tasks[1:]
			switch task := task.(type) {
			case AllocateProducerID:
				p.fresh++
				task.Expire.Fresh = p.fresh
				p.tell(Command{ID: task.ID, Body: task.Expire})
			case WriteMarkers:
				p.write(task, func() bool { return false }, true)
			}
		}
		p.wait(15 * time.Second)
	}
	for _, id := range ids {
		if t := p.shard.ids[id]; t != nil && (t.State == record.Ongoing || t.State.IsPrepared()) {
			p.Fatalf("%s never ends: %s", id, showRecord(t.Transaction))
		}
	}
	for to := range p.told {
		p.Fatalf("request %d waits for ever", to)
	}
	for at, epoch := range p.open {
		p.Fatalf("%v never learns the end of the transaction of %d/%d", at.partition, at.producer, epoch)
	}
}
