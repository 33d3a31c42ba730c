// Package logtest holds what a program under test logs.
package logtest

import (
	"bytes"
	"sync"
)

// Buffer is what was logged so far. Any goroutine may write to it and read it.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends a part of the log.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is the whole log.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
