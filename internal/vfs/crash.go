package vfs

import (
	"math/rand/v2"
)

// CrashClone gives a disk as a power cut at this moment might leave it, drawn from random: what was synced is there,
// and of the rest any part. Writes survive, are lost or are torn between sectors; names made, changed or removed since
// their directory was synced are as before, as after, or in between. The disk itself goes on untouched.
//
// Call it while no operation runs, or the clone holds the operations that were done by then.
func (m *Mem) CrashClone(random *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	clone := NewMem()
	clone.capacity = m.capacity
	c := crash{random: random, clone: clone, made: map[*memNode]*memNode{}}
	clone.root = c.node(m.root)
	return clone
}

// crash is one power cut in the making.
type crash struct {
	random *rand.Rand
	clone  *Mem
	made   map[*memNode]*memNode // a node that two names survived for is still one node
}

// fate says what happens to a list of changes that were not synced.
type fate int

const (
	fateLost   fate = iota // none survives
	fateKept               // all survive
	fatePrefix             // the first few survive, in order
	fateTorn               // each, or each sector of each, decides for itself
	fateCount
)

func (c *crash) node(n *memNode) *memNode {
	if made := c.made[n]; made != nil {
		return made
	}
	var made *memNode
	if n.isDir() {
		made = newMemDir()
		c.made[n] = made
		c.fillDir(made, n)
	} else {
		made = &memNode{}
		c.made[n] = made
		c.fillFile(made, n)
	}
	return made
}

func (c *crash) fillDir(made, n *memNode) {
	survived := make(map[string]*memNode, len(n.durableEntries))
	for name, node := range n.durableEntries {
		survived[name] = node
	}
	fate := fate(c.random.IntN(int(fateCount)))
	prefix := c.random.IntN(len(n.changes) + 1)
	for i, change := range n.changes {
		switch {
		case fate == fateKept, fate == fatePrefix && i < prefix, fate == fateTorn && c.random.IntN(2) == 0:
			change.apply(survived)
		}
	}
	for _, name := range sortedNames(survived) { // sorted: the draws below must not follow map order
		node := c.node(survived[name])
		made.entries[name], made.durableEntries[name] = node, node
	}
}

func (c *crash) fillFile(made, n *memNode) {
	content := append([]byte(nil), n.durable...)
	fate := fate(c.random.IntN(int(fateCount)))
	switch fate {
	case fateLost:
	case fateKept:
		for _, w := range n.pending {
			content = w.apply(content)
		}
	case fatePrefix:
		for _, w := range n.pending[:c.random.IntN(len(n.pending)+1)] {
			content = w.apply(content)
		}
	case fateTorn:
		content = c.tear(content, n.pending)
	}
	made.data = content
	made.durable = append([]byte(nil), content...)
	c.clone.charge(made, int64(len(content)))
}

// tear lets each sector keep the writes up to a point of its own, and the size those up to another point.
func (c *crash) tear(content []byte, pending []memWrite) []byte {
	size := int64(len(content))
	sizeAfter := make([]int64, 0, len(pending)+1)
	sizeAfter = append(sizeAfter, size)
	longest := size
	for _, w := range pending {
		if end := w.off + int64(len(w.data)); w.truncate || end > size {
			size = end
		}
		sizeAfter = append(sizeAfter, size)
		longest = max(longest, size)
	}
	content = resized(content, longest)
	keeps := make([]int, (longest+sectorBytes-1)/sectorBytes)
	for i := range keeps {
		keeps[i] = c.random.IntN(len(pending) + 1)
	}
	for i, w := range pending {
		from, to := w.off, w.off+int64(len(w.data))
		if w.truncate {
			to = longest
		}
		for from < to {
			sector := from / sectorBytes
			end := min(to, (sector+1)*sectorBytes)
			switch {
			case i >= keeps[sector]:
			case w.truncate:
				clear(content[from:end])
			default:
				copy(content[from:end], w.data[from-w.off:])
			}
			from = end
		}
	}
	return content[:sizeAfter[c.random.IntN(len(sizeAfter))]]
}
