// Package limit compares a broker with the least that any program needs for the same requests: a small one in C, which
// receives and stores, or sends, the same bytes, and does nothing else. A load is the same for both, as raw requests
// over one connection, and every answer is checked. Package limit owns the C program from Start to Kill, and never
// starts or stops a broker. A load is run by the goroutine that calls it, and has ended when that returns.
package limit

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"spate/bench"
	"spate/internal/proc"
)

//go:embed server/limit.c
var source []byte

// Program is the C program, compiled.
type Program struct{ path string }

// Compile makes the program in a directory. It installs a C compiler with apt where there is none.
func Compile(dir string) (Program, error) {
	if err := proc.Install("gcc", "gcc", "libc6-dev"); err != nil {
		return Program{}, fmt.Errorf("a C compiler is needed, of the packages gcc and libc6-dev: %w", err)
	}
	p := Program{path: filepath.Join(dir, "limit")}
	text := p.path + ".c"
	if err := os.WriteFile(text, source, 0o600); err != nil {
		return p, err
	}
	cmd := exec.Command("gcc", "-O2", "-msse4.2", "-Wall", "-Wextra", "-Werror", "-o", p.path, text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return p, fmt.Errorf("compile the C program (packages gcc and libc6-dev, on x86-64): %w\n%s", err, out)
	}
	return p, nil
}

// Server is the C program while it runs.
type Server struct {
	bench.Target
	sums   bool // it computes checksums
	cmd    *exec.Cmd
	errors bytes.Buffer
}

// start runs the program, and returns when it listens.
func (p Program) start(args ...string) (*Server, error) {
	s := &Server{cmd: exec.Command(p.path, args...)}
	s.cmd.Stderr = &s.errors
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	port, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.Kill()
		return nil, fmt.Errorf("the C program did not start: %w\n%s", err, &s.errors)
	}
	s.Target = bench.Target{Bootstrap: net.JoinHostPort("127.0.0.1", strings.TrimSpace(port)), PID: s.cmd.Process.Pid}
	return s, nil
}

// Kill ends the program.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()
}
