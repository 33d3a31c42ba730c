package netpoll

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBudget: the rules of the budget, without sockets.
func TestBudget(t *testing.T) {
	b := &budget{max: 100}
	step := func(what string, ok bool) {
		t.Helper()
		if !ok {
			t.Fatalf("%s: %d used, overdrawn %v, %d wait", what, b.used.Load(), b.overdrawn, len(b.line))
		}
	}
	one, two, three := &conn{}, &conn{}, &conn{}
	step("what fits is charged", b.try(60))
	step("what does not fit is not", !b.try(41) && b.used.Load() == 60)
	granted, overdraw := b.await(one, 40)
	step("what fits needs no overdraft", granted && !overdraw && b.exhausted())
	granted, overdraw = b.await(two, 1)
	step("the first that does not fit may overdraw", granted && overdraw && b.used.Load() == 101)
	granted, _ = b.await(three, 50)
	step("the second waits", !granted && len(b.line) == 1)
	b.force(5)
	step("what has arrived is charged all the same", b.used.Load() == 106)
	step("who leaves the line was in it", b.leave(three) && !b.leave(three))
	b.release(106, true)
	step("all is back", b.used.Load() == 0 && !b.overdrawn)

	b.force(math.MaxInt32)
	step("nothing is left", b.exhausted() && !b.try(1))
	b.release(math.MaxInt32, false)
}

// holder is a frame in the budget's model: what it has been charged and whether it may overdraw.
type holder struct {
	conn     *conn
	charged  int64
	overdraw bool
}

// TestBudgetModel: whatever connections ask for and give back in whatever order, the count is that of what they hold,
// there is one overdraft at most, somebody waits only while it is out, first come is first served, and who waits is
// served once the others have given back what they hold.
func TestBudgetModel(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 3))
		b := &budget{max: 1000}
		l := &loop{}
		l.mailbox.running.Store(true) // nobody is to be woken
		var holding, waiting []*holder
		collect := func() {
			for _, m := range l.mailbox.collect() {
				c := (*conn)(m.task.(*grant))
				if len(waiting) == 0 || waiting[0].conn != c {
					t.Fatalf("seed %d: a grant out of turn", seed)
				}
				waiting[0].charged, waiting[0].overdraw = c.loan.bytes, c.loan.overdraw
				holding, waiting = append(holding, waiting[0]), waiting[1:]
			}
		}
		check := func() {
			var sum int64
			overdrafts := 0
			for _, h := range holding {
				sum += h.charged
				if h.overdraw {
					overdrafts++
				}
			}
			if sum != b.used.Load() || len(b.line) != len(waiting) {
				t.Fatalf("%d: %d of %d counted, %d of %d wait", seed, b.used.Load(), sum, len(b.line), len(waiting))
			}
			if overdrafts > 1 || (overdrafts == 1) != b.overdrawn {
				t.Fatalf("seed %d: %d overdrafts", seed, overdrafts)
			}
			if len(waiting) > 0 && !b.overdrawn {
				t.Fatalf("seed %d: somebody waits although one could overdraw", seed)
			}
		}
		release := func() {
			i := random.IntN(len(holding))
			h := holding[i]
			holding = append(holding[:i], holding[i+1:]...)
			b.release(h.charged, h.overdraw)
		}
		for range 300 {
			n := 1 + random.Int64N(400)
			switch h := (&holder{conn: &conn{loop: l}, charged: n}); random.IntN(5) {
			case 0:
				if b.try(n) {
					holding = append(holding, h)
				}
			case 1, 2:
				granted := false
				if granted, h.overdraw = b.await(h.conn, n); granted {
					holding = append(holding, h)
				} else {
					waiting = append(waiting, h)
				}
			case 3:
				if len(holding) > 0 {
					release()
				}
			case 4:
				if len(waiting) > 0 && random.IntN(4) == 0 {
					i := random.IntN(len(waiting))
					if !b.leave(waiting[i].conn) {
						t.Fatalf("seed %d: not in the line", seed)
					}
					waiting = append(waiting[:i], waiting[i+1:]...)
				}
			}
			collect()
			check()
		}
		for len(holding) > 0 {
			release()
			collect()
			check()
		}
		if len(waiting) > 0 || b.used.Load() != 0 {
			t.Fatalf("seed %d: %d wait for ever", seed, len(waiting))
		}
	}
}

// TestFrameMisuse: what only a bug can do to a frame is noticed.
func TestFrameMisuse(t *testing.T) {
	arena := newArena(1 << 20)
	lend := func() *Frame {
		taken := false
		return &Frame{arena: arena, body: []byte("frame"), taken: &taken}
	}
	expectPanic(t, "a second Take", func() {
		f := lend()
		f.Take()
		defer f.Release()
		f.Take()
	})
	expectPanic(t, "a Release without Take", func() { lend().Release() })
	expectPanic(t, "a Take after Handler.Frame", func() { (&Frame{arena: arena}).Take() })
	if arena.lent() != 0 || arena.budget.used.Load() != 0 {
		t.Fatalf("%d buffers and %d bytes were kept", arena.lent(), arena.budget.used.Load())
	}
}

func expectPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s went unnoticed", what)
		}
	}()
	f()
}
