package proc

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"spate/internal/task"
)

// child runs a command in a process group of its own until the test ends.
func child(t *testing.T, name string, args ...string) (cmd *exec.Cmd, exited chan struct{}) {
	t.Helper()
	cmd, exited = exec.Command(name, args...), make(chan struct{})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is ready when it has said something
		t.Fatal(err)
	}
	var waiting task.Group
	waiting.Go("wait", func() {
		_ = cmd.Wait()
		close(exited)
	})
	t.Cleanup(func() {
		killGroup(cmd.Process.Pid, exited)
		waiting.Wait()
	})
	return cmd, exited
}

// TestWhatHasEndedIsLeftAlone: the number of a process that has ended may be another's by now.
func TestWhatHasEndedIsLeftAlone(t *testing.T) {
	other, exited := child(t, "sh", "-c", "echo; exec sleep 600")
	ended := make(chan struct{})
	close(ended)
	b := &Broker{PID: other.Process.Pid, cmd: other, exited: ended, tail: &tail{}}
	k := &Kafka{PID: other.Process.Pid, cmd: other, exited: ended, log: &tail{}}
	b.Kill()
	k.Kill()
	if b.Stop() != nil || k.Stop() != nil {
		t.Error("what has ended is stopped")
	}
	select {
	case <-exited:
		t.Error("another process was ended")
	case <-time.After(100 * time.Millisecond):
	}
}

// TestKafkaThatDoesNotStop: it is killed in the end, and the caller is told.
func TestKafkaThatDoesNotStop(t *testing.T) {
	cmd, exited := child(t, "sh", "-c", "trap '' TERM; echo; sleep 600 & wait; wait")
	k := &Kafka{PID: cmd.Process.Pid, cmd: cmd, exited: exited, log: &tail{data: []byte("last words")}}
	err := k.stop(50 * time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "last words") {
		t.Error(err)
	}
	select {
	case <-exited:
	default:
		t.Error("it goes on")
	}
}
