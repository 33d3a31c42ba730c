// Package invariant holds the checks that end the process when the program itself is wrong: they are always on. Costly
// ones run where Enabled is true, under the build tag "invariants". It owns nothing; any goroutine may call it.
package invariant

import "fmt"

// Check panics with the formatted message unless ok. Use it for what only a bug can break, never for input.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("broken invariant: "+format, args...))
	}
}
