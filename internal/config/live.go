package config

import (
	"sync"
	"sync/atomic"
)

// Live is the configuration in force while the broker runs. What it gives never changes; a change is a new Config.
type Live struct {
	current atomic.Pointer[Config]

	mu        sync.Mutex
	followers []func(old, next *Config)
}

// NewLive begins with c.
func NewLive(c *Config) *Live {
	l := &Live{}
	l.current.Store(c)
	return l
}

// Get is the configuration in force. It allocates nothing and takes no lock: whoever needs a value now and then asks
// for it each time.
func (l *Live) Get() *Config { return l.current.Load() }

// Follow has f called with every change from now on, in order, by the goroutine that calls Replace, and gives the
// configuration from which the first change goes on. f must not wait for the metadata.
func (l *Live) Follow(f func(old, next *Config)) *Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followers = append(l.followers[:len(l.followers):len(l.followers)], f)
	return l.current.Load()
}

// Replace puts next in force and tells those who follow. One goroutine calls it.
func (l *Live) Replace(next *Config) {
	l.mu.Lock()
	old := l.current.Swap(next)
	followers := l.followers
	l.mu.Unlock()
	for _, f := range followers {
		f(old, next)
	}
}
