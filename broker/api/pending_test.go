package api

import "testing"

// used counts how often an operation was made ready for another request.
type used struct{ times int }

func (u *used) Run()     {}
func (u *used) Wake()    {}
func (u *used) Release() {}
func (u *used) recycle() { u.times++ }

// An operation that left purgatory for a worker while a wake-up was on its way is used again when both the wake-up and
// the end of its reply have come, in any order, and not while the worker has it.
func TestOperationIsUsedAgainOnlyWhenNobodyHasIt(t *testing.T) {
	wakeUp := func(p *parked) { p.arrived() }
	back := func(p *parked) { p.working, p.sending = false, true } // the worker is done, and there is a reply
	gone := func(p *parked) { p.sent() }
	for _, c := range []struct {
		name  string
		steps []func(*parked)
	}{
		{"the wake-up comes while the worker reads", []func(*parked){wakeUp, back, gone}},
		{"the wake-up comes while the reply is sent", []func(*parked){back, wakeUp, gone}},
		{"the wake-up comes last", []func(*parked){back, gone, wakeUp}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &used{}
			p := &parked{self: u, working: true, straggler: true}
			for i, step := range c.steps {
				if u.times != 0 {
					t.Fatalf("it is used again before step %d", i)
				}
				step(p)
			}
			if u.times != 1 {
				t.Fatalf("it is used again %d times", u.times)
			}
		})
	}
}
