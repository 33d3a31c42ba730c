package image

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Goal: a tree is an ordered map, and a copy of it never changes. Method: random edits beside a plain map; every
// version made on the way is checked again at the end.

func newTree() tree[int, string] { return tree[int, string]{compare: cmp.Compare[int]} }

// version is a tree and what it should hold.
type version struct {
	tree tree[int, string]
	want map[int]string
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (v version) check(t failer) {
	t.Helper()
	want := slices.Sorted(maps.Keys(v.want))
	var got []int
	for key, value := range v.tree.all() {
		got = append(got, key)
		if value != v.want[key] {
			t.Fatalf("key %d has %q, want %q", key, value, v.want[key])
		}
	}
	if !slices.Equal(got, want) || v.tree.count != len(want) {
		t.Fatalf("the tree of %d holds %v, want %v", v.tree.count, got, want)
	}
	for key, value := range v.want {
		if found, ok := v.tree.get(key); !ok || found != value {
			t.Fatalf("get(%d) gives %q, %v, want %q", key, found, ok, value)
		}
	}
}

func (v version) checkFrom(t failer, low int) {
	t.Helper()
	want := slices.DeleteFunc(slices.Sorted(maps.Keys(v.want)), func(key int) bool { return key < low })
	var got []int
	for key := range v.tree.from(low) {
		got = append(got, key)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("from(%d) gives %v, want %v", low, got, want)
	}
}

func TestTreeIsAPersistentOrderedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.IntRange(0, rapid.SampledFrom([]int{10, 200, 5000}).Draw(t, "key range"))
		now := version{tree: newTree(), want: map[int]string{}}
		var past []version
		e := new(edit)
		for step := range rapid.IntRange(1, 400).Draw(t, "steps") {
			key := keys.Draw(t, "key")
			switch action := rapid.IntRange(0, 9).Draw(t, "action"); {
			case action == 0: // the edit is over: what is there now must stay
				past = append(past, version{tree: now.tree, want: maps.Clone(now.want)})
				e = new(edit)
			case action < 6:
				value := fmt.Sprint(step)
				now.tree.set(e, key, value)
				now.want[key] = value
			default:
				_, want := now.want[key]
				if got := now.tree.remove(e, key); got != want {
					t.Fatalf("remove(%d) gives %v, want %v", key, got, want)
				}
				delete(now.want, key)
			}
		}
		now.checkFrom(t, keys.Draw(t, "low"))
		for _, v := range append(past, now) {
			v.check(t)
		}
	})
}

func TestTreeGrowsAndEmptiesInEveryOrder(t *testing.T) {
	const n = 5000
	rising := make([]int, n)
	for i := range rising {
		rising[i] = i
	}
	falling := slices.Clone(rising)
	slices.Reverse(falling)
	scattered := make([]int, n)
	for i := range scattered {
		scattered[i] = i * 3163 % n // 3163 is a prime that does not divide n
	}
	orders := map[string][]int{"rising": rising, "falling": falling, "scattered": scattered}
	for in, insert := range orders {
		for out, remove := range orders {
			v := version{tree: newTree(), want: map[int]string{}}
			for _, key := range insert {
				v.tree.set(new(edit), key, "x")
				v.want[key] = "x"
			}
			v.check(t)
			for i, key := range remove {
				if !v.tree.remove(new(edit), key) {
					t.Fatalf("%s, %s: key %d is gone", in, out, key)
				}
				delete(v.want, key)
				if i%977 == 0 {
					v.check(t)
					v.checkFrom(t, key)
				}
			}
			if v.tree.root != nil || v.tree.count != 0 {
				t.Errorf("%s, %s: a tree without keys has a node", in, out)
			}
		}
	}
}

func TestIterationStopsWhenAsked(t *testing.T) {
	v := newTree()
	e := new(edit)
	for key := range 1000 {
		v.set(e, key, "x")
	}
	for name, all := range map[string]func(func(int, string) bool){"all": v.all(), "from": v.from(0)} {
		seen := 0
		for range all {
			if seen++; seen == 333 {
				break
			}
		}
		if seen != 333 {
			t.Errorf("%s went on to %d", name, seen)
		}
	}
}

func TestTreeLookupDoesNotAllocate(t *testing.T) {
	v := newTree()
	e := new(edit)
	for key := range 10_000 {
		v.set(e, key, "x")
	}
	if n := testing.AllocsPerRun(100, func() { v.get(7777) }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}

func BenchmarkTreeGet(b *testing.B) {
	v := newTree()
	e := new(edit)
	for key := range 10_000 {
		v.set(e, key, "x")
	}
	for i := 0; b.Loop(); i++ {
		v.get(i * 7919 % 10_000)
	}
}
