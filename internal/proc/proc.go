// Package proc runs the real broker binary for tests and benchmarks: it starts it, reads the ready line, and stops or
// kills it. It owns the child process from Start to Stop or Kill, and never touches the data directory.
package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/task"
)

// readyWithin bounds the wait for the ready line: recovery of a large log on a noisy machine fits in it many times.
const readyWithin = 2 * time.Minute

// Options say how to start a broker.
type Options struct {
	DataDir string            // log.dirs
	Set     map[string]string // further --set key=value
	Listen  string            // host:port; "" is 127.0.0.1:0
	Log     io.Writer         // a copy of standard error; nil keeps only the tail for error messages
	Wrap    []string          // a command to run the binary under, such as strace with its flags
}

// Broker is one running broker process.
type Broker struct {
	Bootstrap string        // host:port of its first listener
	PID       int           // of the broker, also when it runs under a wrapper
	Startup   time.Duration // as the ready line says

	cmd    *exec.Cmd
	exited chan struct{}
	err    error      // of Wait; read after exited is closed
	reader task.Group // of its standard output; ends with the process
	tail   *tail
}

// Binary is the path of bin/spate: $SPATE_BIN, or that of the checkout this module lies in.
func Binary() (string, error) {
	if path := os.Getenv("SPATE_BIN"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "bin", "spate")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("bin/spate is not there: run make build first")
}

// Build compiles the command to a file, from any directory of the checkout.
func Build(path string, flags ...string) error {
	args := append([]string{"build", "-buildvcs=false", "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "spate/cmd/spate")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the broker: %w\n%s", err, out)
	}
	return nil
}

// Start runs a broker and returns when it has printed its ready line.
func Start(o Options) (*Broker, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	args := []string{binary, "broker", "--set", "listeners=PLAINTEXT://" + listen, "--set", "log.dirs=" + o.DataDir}
	for key, value := range o.Set {
		args = append(args, "--set", key+"="+value)
	}
	args = append(append([]string{}, o.Wrap...), args...)
	b := &Broker{cmd: exec.Command(args[0], args[1:]...), exited: make(chan struct{}), tail: &tail{copy: o.Log}}
	b.cmd.Stderr = b.tail
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	ready := make(chan string, 1)
	b.reader.Go("broker output", func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "ready ") {
				ready <- lines.Text()
			}
		}
		b.err = b.cmd.Wait()
		close(b.exited)
	})
	select {
	case line := <-ready:
		if err := b.readReady(line); err != nil {
			b.Kill()
			return nil, err
		}
		return b, nil
	case <-b.exited:
		return nil, fmt.Errorf("the broker ended before it was ready (%v): %s", b.err, b.tail.String())
	case <-time.After(readyWithin):
		b.Kill()
		return nil, fmt.Errorf("the broker was not ready after %v: %s", readyWithin, b.tail.String())
	}
}

func (b *Broker) readReady(line string) error {
	fields := map[string]string{}
	for _, field := range strings.Fields(line)[1:] {
		key, value, _ := strings.Cut(field, "=")
		fields[key] = value
	}
	first, _, _ := strings.Cut(fields["listeners"], ",")
	_, b.Bootstrap, _ = strings.Cut(first, "://")
	pid, err := strconv.Atoi(fields["pid"])
	ms, err2 := strconv.Atoi(fields["startup_ms"])
	if err := errors.Join(err, err2); err != nil || b.Bootstrap == "" {
		return fmt.Errorf("ready line %q: want listeners=, pid= and startup_ms= (%v)", line, err)
	}
	b.PID, b.Startup = pid, time.Duration(ms)*time.Millisecond
	return nil
}

// Kill sends SIGKILL to the broker and everything that runs with it, and waits.
func (b *Broker) Kill() { killGroup(b.cmd.Process.Pid, b.exited) }

// killGroup kills a process with its group, and waits for its end. When it has ended, its number may be another's.
func killGroup(pid int, exited <-chan struct{}) {
	select {
	case <-exited:
		return
	default:
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-exited
}

// terminate sends SIGTERM to a process that has not ended, and waits for a while. It reports whether it has ended.
func terminate(pid int, exited <-chan struct{}, within time.Duration) (ended bool, err error) {
	select {
	case <-exited:
		return true, nil
	default:
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, err
	}
	select {
	case <-exited:
		return true, nil
	case <-time.After(within):
		return false, nil
	}
}

// Stop sends SIGTERM and waits for a clean end; exit status other than 0 is an error.
func (b *Broker) Stop() error {
	ended, err := terminate(b.PID, b.exited, readyWithin)
	switch {
	case err != nil:
		return err
	case !ended:
		b.Kill()
		return fmt.Errorf("the broker did not end on SIGTERM: %s", b.tail.String())
	}
	if b.err != nil {
		return fmt.Errorf("the broker ended with %w: %s", b.err, b.tail.String())
	}
	return nil
}

// Halt stops a child of this process with SIGSTOP, and waits until all its threads stand still: on a busy machine they
// go on for milliseconds after the signal was sent. SIGCONT has it go on.
func Halt(pid int) error {
	err := syscall.Kill(pid, syscall.SIGSTOP)
	if err != nil {
		return err
	}
	for err = unix.EINTR; err == unix.EINTR; {
		err = unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil)
	}
	return err
}

// Exited is closed when the process has ended.
func (b *Broker) Exited() <-chan struct{} { return b.exited }

// LogTail is the end of what the broker wrote to standard error.
func (b *Broker) LogTail() string { return b.tail.String() }

// tail keeps the last tailBytes of a stream.
type tail struct {
	copy io.Writer

	mu   sync.Mutex
	data []byte
}

const tailBytes = 16 << 10 // enough for the last hundred log lines

func (t *tail) Write(p []byte) (int, error) {
	if t.copy != nil {
		if _, err := t.copy.Write(p); err != nil {
			return 0, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if extra := len(t.data) - tailBytes; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.data))
}
