package image

import (
	"iter"
	"slices"
)

// nodeKeysMax is the fan-out. A lookup among 100,000 keys reads three or four nodes; an insertion copies as many, a
// few hundred bytes each.
const nodeKeysMax = 32

// edit is the identity of a run of changes. A node that an edit made belongs to it and is changed in place until the
// edit is over; every other node is shared with older trees and is copied first. (Not an empty struct: the addresses
// of two of those may be equal.)
type edit struct{ _ byte }

// tree is a persistent ordered map, a B+ tree: copying the struct keeps the old contents for ever. A node that loses
// its last key is taken out; sparse nodes are not merged, which costs some memory after mass deletion and spares the
// rebalancing.
type tree[K, V any] struct {
	compare func(a, b K) int
	root    *node[K, V] // nil when empty
	count   int
}

type node[K, V any] struct {
	owner *edit
	// keys are the keys of a leaf; in an inner node keys[i] is not above any key below children[i+1] and above all keys
	// below children[i].
	keys     []K
	values   []V           // of a leaf
	children []*node[K, V] // of an inner node: one more than keys
}

func (n *node[K, V]) leaf() bool { return n.children == nil }

// search gives the position of the first key that is above key, and whether the one before it is equal.
func (t *tree[K, V]) search(n *node[K, V], key K) (above int, equal bool) {
	low, high := 0, len(n.keys)
	for low < high {
		middle := int(uint(low+high) >> 1)
		c := t.compare(n.keys[middle], key)
		if c == 0 {
			return middle + 1, true
		}
		if c < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, false
}

// get looks a key up. It allocates nothing.
func (t *tree[K, V]) get(key K) (value V, ok bool) {
	n := t.root
	if n == nil {
		return value, false
	}
	for !n.leaf() {
		at, _ := t.search(n, key)
		n = n.children[at]
	}
	if above, equal := t.search(n, key); equal {
		return n.values[above-1], true
	}
	return value, false
}

// all gives the keys and values in order.
func (t tree[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if t.root != nil {
			t.root.each(yield)
		}
	}
}

func (n *node[K, V]) each(yield func(K, V) bool) bool {
	for _, child := range n.children {
		if !child.each(yield) {
			return false
		}
	}
	for i, value := range n.values {
		if !yield(n.keys[i], value) {
			return false
		}
	}
	return true
}

// from gives the keys that are not below low, and their values, in order.
func (t tree[K, V]) from(low K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if t.root != nil {
			t.eachFrom(t.root, low, yield)
		}
	}
}

func (t *tree[K, V]) eachFrom(n *node[K, V], low K, yield func(K, V) bool) bool {
	at, equal := t.search(n, low)
	if !n.leaf() {
		if !t.eachFrom(n.children[at], low, yield) {
			return false
		}
		for _, child := range n.children[at+1:] {
			if !child.each(yield) {
				return false
			}
		}
		return true
	}
	if equal {
		at--
	}
	for i := at; i < len(n.keys); i++ {
		if !yield(n.keys[i], n.values[i]) {
			return false
		}
	}
	return true
}

// own gives n itself if it belongs to e, else a copy that does.
func (n *node[K, V]) own(e *edit) *node[K, V] {
	if n.owner == e {
		return n
	}
	return &node[K, V]{owner: e, keys: slices.Clone(n.keys), values: slices.Clone(n.values),
		children: slices.Clone(n.children)}
}

// set adds or replaces a key.
func (t *tree[K, V]) set(e *edit, key K, value V) {
	if t.root == nil {
		t.root = &node[K, V]{owner: e, keys: []K{key}, values: []V{value}}
		t.count = 1
		return
	}
	t.root = t.root.own(e)
	if separator, right := t.insert(e, t.root, key, value); right != nil {
		t.root = &node[K, V]{owner: e, keys: []K{separator}, children: []*node[K, V]{t.root, right}}
	}
}

// insert sets a key below n, which e owns. If n grew too large it is split: right is its upper half.
func (t *tree[K, V]) insert(e *edit, n *node[K, V], key K, value V) (separator K, right *node[K, V]) {
	at, equal := t.search(n, key)
	switch {
	case !n.leaf():
		child := n.children[at].own(e)
		n.children[at] = child
		if up, upper := t.insert(e, child, key, value); upper != nil {
			n.keys = slices.Insert(n.keys, at, up)
			n.children = slices.Insert(n.children, at+1, upper)
		}
	case equal:
		n.values[at-1] = value
	default:
		n.keys = slices.Insert(n.keys, at, key)
		n.values = slices.Insert(n.values, at, value)
		t.count++
	}
	if len(n.keys) <= nodeKeysMax {
		return separator, nil
	}
	return n.split(e)
}

// split moves the upper half of n to a new node.
func (n *node[K, V]) split(e *edit) (separator K, right *node[K, V]) {
	half := len(n.keys) / 2
	separator = n.keys[half]
	if n.leaf() {
		right = &node[K, V]{owner: e, keys: slices.Clone(n.keys[half:]), values: slices.Clone(n.values[half:])}
		clear(n.values[half:]) // so that the lower half does not hold on to what moved
		n.values = n.values[:half]
	} else {
		right = &node[K, V]{owner: e, keys: slices.Clone(n.keys[half+1:]), children: slices.Clone(n.children[half+1:])}
		clear(n.children[half+1:])
		n.children = n.children[:half+1]
	}
	clear(n.keys[half:])
	n.keys = n.keys[:half]
	return separator, right
}

// remove takes a key out and reports whether it was there.
func (t *tree[K, V]) remove(e *edit, key K) bool {
	if _, ok := t.get(key); !ok {
		return false
	}
	t.count--
	t.root = t.root.own(e)
	t.take(e, t.root, key)
	for t.root != nil && !t.root.leaf() && len(t.root.children) == 1 {
		t.root = t.root.children[0]
	}
	if t.count == 0 {
		t.root = nil
	}
	return true
}

// take removes a key that is there from below n, which e owns; n may be left without keys, then its parent drops it.
func (t *tree[K, V]) take(e *edit, n *node[K, V], key K) {
	at, _ := t.search(n, key)
	if n.leaf() {
		n.keys = slices.Delete(n.keys, at-1, at)
		n.values = slices.Delete(n.values, at-1, at)
		return
	}
	child := n.children[at].own(e)
	n.children[at] = child
	t.take(e, child, key)
	if len(child.keys) > 0 || len(child.children) == 1 {
		return
	}
	n.children = slices.Delete(n.children, at, at+1)
	// The separator that goes is the one beside the child: what lies between its neighbours has no key any more.
	if at > 0 {
		at--
	}
	if len(n.keys) > 0 {
		n.keys = slices.Delete(n.keys, at, at+1)
	}
}
