// Package task starts goroutines that have a name and an owner who joins them. A Group owns its goroutines from Go to
// Wait; it holds no other state. Any goroutine may call Go; the owner calls Wait once.
package task

import (
	"context"
	"runtime/pprof"
	"sync"
)

// Group is a set of named goroutines with one owner. The zero value is ready.
type Group struct {
	running sync.WaitGroup
}

// Go runs f on a new goroutine. The name shows in CPU profiles as the label "task".
func (g *Group) Go(name string, f func()) {
	g.running.Add(1)
	go func() {
		defer g.running.Done()
		pprof.Do(context.Background(), pprof.Labels("task", name), func(context.Context) { f() })
	}()
}

// Wait returns when every goroutine of the group has ended.
func (g *Group) Wait() { g.running.Wait() }
