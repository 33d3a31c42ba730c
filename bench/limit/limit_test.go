package limit

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func compile(t *testing.T) Program {
	t.Helper()
	program, err := Compile(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func start(t *testing.T, program Program, l Load, sums bool) (s *Server, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "file")
	s, err := l.Start(program, file, sums)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s, file
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Goal: what the broker is compared with does the work that it is said to do. Method: requests of sizes around those of
// its chunks and of the lanes of its checksum; its checksums are those of Go's library, and its file has every byte.
func TestServerStores(t *testing.T) {
	program := compile(t)
	for _, size := range []int{2100, 3072, 65_537, 256 << 10, 1 << 20} {
		for _, sums := range []bool{true, false} {
			p, err := NewProduce("t", size)
			if err != nil {
				t.Fatal(err)
			}
			if p.Bytes() != size {
				t.Fatalf("a batch of %d bytes, not %d", p.Bytes(), size)
			}
			s, file := start(t, program, p, sums)
			const requests = 2*InFlight + 1
			if _, err := p.Server(within(t), s, requests); err != nil {
				t.Fatalf("%d bytes, sums %t: %v", size, sums, err)
			}
			var want []byte
			for n := range requests {
				want = append(want, p.frames[n%InFlight]...)
			}
			got, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, sums %t: the file has %d bytes, not the %d that were sent: %v", size, sums,
					len(got), len(want), err)
			}
			s.sums = !s.sums
			if _, err := p.Server(within(t), s, 1); err == nil {
				t.Errorf("%d bytes, sums %t: a wrong checksum is not noticed", size, sums)
			}
		}
	}
}

// Goal: answers that are wrong end the run. Method: the program sends a log that something is wrong with.
func TestServerSends(t *testing.T) {
	f, err := NewFetch("t", 2*logBatchBytes, 6*logBatchBytes)
	if err != nil {
		t.Fatal(err)
	}
	s, file := start(t, compile(t), f, true)
	const requests = 10 // three times through the log, and on
	if _, err := f.Server(within(t), s, requests); err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	const second = 2 * logBatchBytes // where the second answer begins
	for _, c := range []struct {
		name, want string
		at         int64
	}{
		{"another offset", "offset", second + 7},
		{"a byte that the checksum covers", "corrupt", second + 1000},
		{"a length", "are here", second + 8},
	} {
		flip(t, log, c.at)
		_, err := f.Server(within(t), s, requests)
		flip(t, log, c.at)
		if err == nil || !strings.Contains(err.Error(), "answer 1: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// flip makes a byte of a file wrong, or right again. The file stays as long as it is: it may be on its way to a client
// that has gone.
func flip(t *testing.T, file *os.File, at int64) {
	t.Helper()
	var b [1]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := file.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// TestSizes: what cannot be compared is refused.
func TestSizes(t *testing.T) {
	if _, err := NewProduce("t", 60); err == nil {
		t.Error("a batch that is smaller than its header")
	}
	const whole = logBatchBytes
	for _, c := range [][2]int{{0, whole}, {1000, 10_000}, {whole, 0}, {2 * whole, whole}} {
		if _, err := NewFetch("t", c[0], c[1]); err == nil {
			t.Errorf("answers of %d bytes from a log of %d", c[0], c[1])
		}
	}
	if _, err := compile(t).start("write"); err == nil || !strings.Contains(err.Error(), "arguments") {
		t.Errorf("the program started without arguments: %v", err)
	}
}
