package bufpool

import (
	"errors"
	"testing"
)

// Goal: memory outside the heap is zero, is all there, and goes once, however often it is freed.
func TestOffHeap(t *testing.T) {
	for _, n := range []int{1, 4096, 3<<20 + 5} {
		o, err := NewOffHeap(n)
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Bytes) != n || o.Bytes[0] != 0 || o.Bytes[n-1] != 0 {
			t.Errorf("%d bytes of %d", len(o.Bytes), n)
		}
		o.Bytes[n-1] = 1
		o.Free()
		o.Free()
		if o.Bytes != nil {
			t.Error("freed memory is still in reach")
		}
	}
	if _, err := NewOffHeap(1 << 62); !errors.Is(err, ErrNoMemory) {
		t.Errorf("more than there is: %v", err)
	}
}
