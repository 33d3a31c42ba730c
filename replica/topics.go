package replica

import (
	"hash/maphash"
	"maps"
	"sync/atomic"

	"spate/kafka"
)

// Topic is the replicas of one topic that this broker hosts.
type Topic struct {
	Name      string
	NameBytes []byte // Name, for encoders that take bytes; never changed
	ID        kafka.UUID
	Internal  bool // clients may not write to it

	// replicas is indexed by partition; nil where this broker has none. Written by the metadata goroutine, which
	// publishes a new slice; a reader may miss a partition that was added this moment.
	replicas atomic.Pointer[[]*Replica]
}

func newTopic(name string, id kafka.UUID) *Topic {
	t := &Topic{Name: name, NameBytes: []byte(name), ID: id, Internal: kafka.IsInternalTopic(name)}
	t.replicas.Store(&[]*Replica{})
	return t
}

// Partition is this broker's replica of a partition, or nil.
func (t *Topic) Partition(index kafka.PartitionIndex) *Replica {
	replicas := *t.replicas.Load()
	if index < 0 || int(index) >= len(replicas) {
		return nil
	}
	return replicas[index]
}

// Replicas is this broker's replicas by partition, with nil for those it does not have. It is not to be changed.
func (t *Topic) Replicas() []*Replica { return *t.replicas.Load() }

// put publishes r as the replica of its partition.
func (t *Topic) put(r *Replica) {
	old := *t.replicas.Load()
	next := make([]*Replica, max(len(old), int(r.tp.Partition)+1))
	copy(next, old)
	next[r.tp.Partition] = r
	t.replicas.Store(&next)
}

// shardCount divides the directory: a new topic copies one shard of it, so that creating n topics costs n²/shardCount
// small steps.
const shardCount = 256

// directory finds topics by name and by id, without locks. One goroutine writes.
type directory struct {
	seed  maphash.Seed
	names [shardCount]atomic.Pointer[map[string]*Topic]
	ids   [shardCount]atomic.Pointer[map[kafka.UUID]*Topic]
}

func newDirectory() *directory {
	d := &directory{seed: maphash.MakeSeed()}
	noNames, noIDs := map[string]*Topic{}, map[kafka.UUID]*Topic{} // never changed: a shard gets a copy
	for i := range shardCount {
		d.names[i].Store(&noNames)
		d.ids[i].Store(&noIDs)
	}
	return d
}

func (d *directory) byName(name []byte) *Topic {
	return (*d.names[maphash.Bytes(d.seed, name)%shardCount].Load())[string(name)]
}

func (d *directory) byString(name string) *Topic {
	return (*d.names[maphash.String(d.seed, name)%shardCount].Load())[name]
}

// byID spreads ids by their first byte, which is random.
func (d *directory) byID(id kafka.UUID) *Topic {
	return (*d.ids[id[0]].Load())[id]
}

func (d *directory) add(t *Topic) {
	name := &d.names[maphash.String(d.seed, t.Name)%shardCount]
	names := maps.Clone(*name.Load())
	names[t.Name] = t
	name.Store(&names)
	id := &d.ids[t.ID[0]]
	ids := maps.Clone(*id.Load())
	ids[t.ID] = t
	id.Store(&ids)
}

func (d *directory) remove(t *Topic) {
	name := &d.names[maphash.String(d.seed, t.Name)%shardCount]
	names := maps.Clone(*name.Load())
	delete(names, t.Name)
	name.Store(&names)
	id := &d.ids[t.ID[0]]
	ids := maps.Clone(*id.Load())
	delete(ids, t.ID)
	id.Store(&ids)
}

// each calls visit for every topic, in no order.
func (d *directory) each(visit func(*Topic)) {
	for i := range d.ids {
		for _, t := range *d.ids[i].Load() {
			visit(t)
		}
	}
}
