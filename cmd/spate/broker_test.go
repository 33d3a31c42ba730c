package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"spate/internal/metrics"
)

// TestBadConfig: one line on standard error, status 2, and nothing opened or created.
func TestBadConfig(t *testing.T) {
	for _, c := range []struct {
		name, file string
		args, env  []string
		want       string
	}{
		{name: "a wrong value", args: []string{"--set", "num.partitions=0"},
			want: `spate: Invalid value 0 for configuration num.partitions: Value must be at least 1`},
		{name: "a wrong value in the file", file: "num.io.threads=some\n",
			want: `spate: Invalid value some for configuration num.io.threads: Not a number of type INT`},
		{name: "a wrong value in the environment", env: []string{"KAFKA_NUM_IO_THREADS=-1"},
			want: `spate: Invalid value -1 for configuration num.io.threads: Value must be at least 1`},
		{name: "a listener that is not served", args: []string{"--set", "listeners=SSL://127.0.0.1:0"},
			want: `spate: Invalid value SSL://127.0.0.1:0 for configuration listeners: SSL has protocol SSL, ` +
				`which is not served yet; only PLAINTEXT is`},
		{name: "no pair", args: []string{"--set", "x"}, want: `spate: --set "x": must be key=value`},
		{name: "no file", args: []string{"--config", "none.properties"},
			want: "spate: open none.properties: no such file or directory"},
		{name: "a file that is none", file: "a=\\uqqqq\n", want: "spate: server.properties: "},
	} {
		dir := t.TempDir()
		args := append([]string{"broker"}, c.args...)
		if c.file != "" {
			if err := os.WriteFile(filepath.Join(dir, "server.properties"), []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--config", "server.properties")
		}
		r := spateIn(t, dir, c.env, "", args...)
		if r.code != 2 || r.out != "" || !strings.HasPrefix(r.err, c.want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: status %d\n%s%s", c.name, r.code, r.out, r.err)
		}
		if _, err := os.Stat(filepath.Join(dir, "data")); !os.IsNotExist(err) {
			t.Errorf("%s: the data directory is there: %v", c.name, err)
		}
	}
}

// running is a broker that a test reads line by line.
type running struct {
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr *strings.Builder
}

// launch starts a broker in dir and gives its ready line. The broker is killed if the test does not end it.
func launch(t *testing.T, dir string, environ []string, args ...string) (*running, string) {
	t.Helper()
	r := &running{cmd: exec.Command(binary, append([]string{"broker"}, args...)...), stderr: new(strings.Builder)}
	r.cmd.Dir, r.cmd.Env, r.cmd.Stderr = dir, append(os.Environ(), environ...), r.stderr
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		r.stdout = bufio.NewReader(out)
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	t.Cleanup(func() {
		killer.Stop()
		_ = r.cmd.Process.Kill()
	})
	line, err := r.stdout.ReadString('\n')
	if err != nil {
		_ = r.cmd.Wait()
		t.Fatalf("no ready line: %v\n%s", err, r.stderr)
	}
	return r, line
}

// end sends a signal and gives the exit status and what else was on standard output.
func (r *running) end(t *testing.T, signal os.Signal) (int, string) {
	t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r.stdout)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait() // the status is what counts
	return r.cmd.ProcessState.ExitCode(), string(rest)
}

// TestReadyLineAndCleanEnd: the ready line has the contract's form, a client can connect to what it says, and SIGTERM
// or SIGINT end the broker cleanly.
func TestReadyLineAndCleanEnd(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		dir := t.TempDir()
		r, line := launch(t, dir, []string{"KAFKA_NODE_ID=7"}, "--set", "listeners=PLAINTEXT://127.0.0.1:0")
		fields := readyPattern.FindStringSubmatch(line)
		if fields == nil {
			t.Fatalf("ready line %q", line)
		}
		if fields[1] != "7" || fields[3] != fmt.Sprint(r.cmd.Process.Pid) {
			t.Errorf("ready line %q: another node or pid", line)
		}
		conn, err := net.Dial("tcp", fields[2])
		if err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
		code, rest := r.end(t, signal)
		if code != 0 || rest != "" {
			t.Errorf("%v: status %d, output %q\n%s", signal, code, rest, r.stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "data", ".kafka_cleanshutdown")); err != nil {
			t.Error(err)
		}
	}
}

// TestASecondBrokerIsRefused: one process a data directory, and the line says so.
func TestASecondBrokerIsRefused(t *testing.T) {
	_, dir := startBroker(t, nil)
	r := spate(t, "", "broker", "--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", "log.dirs="+dir)
	if r.code != 1 || r.out != "" || !strings.Contains(r.err, dir) || !strings.Contains(r.err, "lock") {
		t.Errorf("status %d\n%s%s", r.code, r.out, r.err)
	}
}

// TestAPortInUse ends the start with the address in the message.
func TestAPortInUse(t *testing.T) {
	b, _ := startBroker(t, nil)
	for key, value := range map[string]string{
		"listeners":              "PLAINTEXT://" + b.Bootstrap,
		"spate.metrics.listener": b.Bootstrap,
	} {
		args := []string{"broker", "--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set", "log.dirs=" + t.TempDir(),
			"--set", key + "=" + value}
		r := spate(t, "", args...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, b.Bootstrap) {
			t.Errorf("%s: status %d\n%s%s", key, r.code, r.out, r.err)
		}
	}
}

// TestStockFile starts with the file that Kafka's distribution has, but for paths and ports: each key that is not
// served is one warning in JSON on standard error.
func TestStockFile(t *testing.T) {
	dir := t.TempDir()
	content, err := os.ReadFile("../../internal/config/testdata/server.properties")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.properties"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	r, line := launch(t, dir, nil, "--config", "server.properties", "--set", "log.dirs=logs", "--set",
		"spate.log.format=json",
		"--set", "listeners=PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0")
	if !strings.Contains(line, " listeners=PLAINTEXT://127.0.0.1:") || strings.Contains(line, "CONTROLLER") {
		t.Errorf("ready line %q", line)
	}
	if code, _ := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("status %d", code)
	}
	warned := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSpace(r.stderr.String()), "\n") {
		var entry struct{ Level, Msg, Key, Note string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if entry.Level == "WARN" && entry.Msg == "config" {
			warned[entry.Key] = entry.Note
		}
	}
	const isLater = "known to Kafka, not served yet; ignored"
	if len(warned) != 3 || warned["share.coordinator.state.topic.min.isr"] != isLater {
		t.Errorf("warnings: %q", warned)
	}
}

// TestMetricsEndpoint: the ready line says where, what a produce did can be read there, and so can every metric.
func TestMetricsEndpoint(t *testing.T) {
	dir := t.TempDir()
	r, line := launch(t, dir, nil, "--set", "listeners=PLAINTEXT://127.0.0.1:0", "--set",
		"spate.metrics.listener=127.0.0.1:0")
	_, url, ok := strings.Cut(strings.TrimSpace(line), " metrics=")
	if !ok {
		t.Fatalf("ready line %q", line)
	}
	_, rest, _ := strings.Cut(line, "PLAINTEXT://")
	bootstrap, _, _ := strings.Cut(rest, " ")
	must(t, "a\nb\n", "produce", "metered", "--linger", "1m", "--bootstrap-server", bootstrap) // in one request
	must(t, "", "consume", "metered", "--to-end", "--bootstrap-server", bootstrap)
	spate(t, "", "topic", "create", "metered", "--bootstrap-server", bootstrap) // an error to count
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, err)
	}
	for _, row := range metrics.Table {
		if !strings.Contains(string(body), "\n"+string(row.Name)) {
			t.Errorf("%s is in the table, and nothing feeds it", row.Name)
		}
	}
	for _, want := range []string{`spate_requests_total{api="Produce"} 1`, "spate_appended_records_total 2",
		`spate_partition_log_end_offset{partition="0",topic="metered"} 2`, "go_goroutines "} {
		if !strings.Contains(string(body), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if code, _ := r.end(t, syscall.SIGTERM); code != 0 {
		t.Errorf("status %d\n%s", code, r.stderr)
	}
}
