package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/proc"
	"spate/internal/task"
)

// terminal is a pseudo-terminal: what a program shows on it is collected.
type terminal struct {
	master *os.File // the side of the person
	slave  *os.File // the side of the program
	reader task.Group

	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{} // gets a value when something was shown
}

// openTerminal makes a pseudo-terminal for the time of the test.
func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{master: master, slave: slave, more: make(chan struct{}, 1)}
	p.reader.Go("terminal", func() {
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			if err != nil {
				return // the program's side is closed
			}
			p.mu.Lock()
			p.shown.Write(buffer[:n])
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(func() {
		slave.Close()
		p.reader.Wait()
		master.Close()
	})
	return p
}

// text is what was shown so far.
func (p *terminal) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shown.String()
}

// await waits until the text was shown.
func (p *terminal) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for !strings.Contains(p.text(), text) {
		select {
		case <-p.more:
		case <-deadline:
			t.Fatalf("%q was not shown:\n%s", text, p.text())
		}
	}
}

// typed sends what a person types.
func (p *terminal) typed(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// on starts the binary with the streams given; nil is the terminal.
func (p *terminal) on(t *testing.T, stdin *os.File, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = p.slave, p.slave, p.slave
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { killer.Stop() })
	return cmd
}

// TestOnATerminal types lines into produce, reads them with consume, and interrupts it with Ctrl-C.
func TestOnATerminal(t *testing.T) {
	b, _ := startBroker(t, nil)
	p := openTerminal(t)
	produce := p.on(t, nil, "produce", "typed", "--bootstrap-server", b.Bootstrap)
	p.await(t, "each line becomes a record; Ctrl-D ends\r\n")
	p.typed(t, "hello\nworld\n\x04")
	p.await(t, "produced 2 records, 10 bytes, ")
	if err := produce.Wait(); err != nil {
		t.Error(err)
	}
	consume := p.on(t, nil, "consume", "typed", "--bootstrap-server", b.Bootstrap, "--print", "offset")
	p.await(t, "0\thello\r\n1\tworld\r\n")
	p.await(t, "at the end; waiting for more (Ctrl-C ends)\r\n")
	p.typed(t, "\x03")
	if err := consume.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}

// TestProgressOnATerminal: while records are sent from a pipe, the rate is shown, and erased for the summary.
func TestProgressOnATerminal(t *testing.T) {
	b, _ := startBroker(t, nil)
	p := openTerminal(t)
	in, lines, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	produce := p.on(t, in, "produce", "piped", "--bootstrap-server", b.Bootstrap)
	in.Close()
	if _, err := lines.WriteString("a\nb\nc\n"); err != nil {
		t.Fatal(err)
	}
	p.await(t, "\r3 records, 3 bytes, ")
	lines.Close()
	p.await(t, "\r\x1b[Kproduced 3 records, 3 bytes, ")
	if err := produce.Wait(); err != nil {
		t.Error(err)
	}
}

// TestBenchGivenUp: while the broker stands still, one interrupt ends the load, and the next one the waiting: what is
// known is printed, and the status is that of a process that Ctrl-C ends.
func TestBenchGivenUp(t *testing.T) {
	b, _ := startBroker(t, nil)
	goOn := func() {
		if err := syscall.Kill(b.PID, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	p := openTerminal(t)
	run := p.on(t, nil, "bench", "produce", "--rate", "100", "--duration", "1h", "--warm-up", "0", "-b", b.Bootstrap)
	p.await(t, "  load  ")
	if err := proc.Halt(b.PID); err != nil {
		t.Fatal(err)
	}
	defer goOn()
	p.typed(t, "\x03")
	if err := run.Process.Signal(syscall.SIGTERM); err != nil { // a second SIGINT might be taken for the first
		t.Error(err)
	}
	p.await(t, "  clean-up  ")
	goOn()
	if err := run.Wait(); run.ProcessState.ExitCode() != exitGivenUp {
		t.Errorf("%v, want status %d", err, exitGivenUp)
	}
	p.await(t, ", INTERRUPTED\r\n")
	p.await(t, "verification  incomplete: ")
	p.await(t, "spate: interrupted twice: what was on its way was not waited for\r\n")
}
