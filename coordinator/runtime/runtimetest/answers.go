package runtimetest

import (
	"fmt"
	"sync"

	"spate/kafka"
)

// Answers notes the answers to commands, in the order in which they come. Any goroutine may use it.
type Answers struct {
	mu    sync.Mutex
	lines []string
	count map[string]int
}

// For takes the answer to the command of that name.
func (a *Answers) For(name string) *Answer { return &Answer{answers: a, name: name} }

// Take gives the answers so far, as "name: body" or "name: ERROR", and forgets them.
func (a *Answers) Take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := a.lines
	a.lines = nil
	return lines
}

// Count is how often a command was answered.
func (a *Answers) Count(name string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count[name]
}

// Answer is a runtime.Done.
type Answer struct {
	answers *Answers
	name    string
}

// Done notes the answer.
func (a *Answer) Done(body any, err error) {
	a.answers.mu.Lock()
	defer a.answers.mu.Unlock()
	if a.answers.count == nil {
		a.answers.count = map[string]int{}
	}
	a.answers.count[a.name]++
	text := fmt.Sprint(body)
	if err != nil {
		text = kafka.ErrorOf(kafka.CodeOf(err)).Error()
	}
	a.answers.lines = append(a.answers.lines, a.name+": "+text)
}
