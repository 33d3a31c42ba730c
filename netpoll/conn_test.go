package netpoll

import (
	"testing"
)

// TestEcho: frames go in and come out, on two loops at once.
func TestEcho(t *testing.T) {
	w := newWorld(t, Options{Loops: 2}, echoer())
	first, second := w.dial(), w.dial()
	for _, body := range []string{"a", "two", "the third"} {
		first.send([]byte(body))
		second.send([]byte(body), []byte("more"))
		first.expect(body)
		second.expect(body)
		second.expect("more")
	}
}
