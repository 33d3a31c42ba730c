package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spate/internal/proc"
)

// connectJars gives the class path of Kafka Connect, and the configuration of its log.
var connectJars = sync.OnceValues(func() (string, error) {
	if err := proc.Install("java", "default-jre-headless"); err != nil {
		return "", err
	}
	if err := proc.Install("mvn", "maven"); err != nil {
		return "", err
	}
	return cached("connect", []string{"clients/connect/pom.xml", "clients/connect/log4j2.xml"}, func(dir string) error {
		_, err := run(exec.Command("mvn", "-q", "-B", "-f", filepath.Join(dir, "pom.xml"),
			"dependency:copy-dependencies", "-DincludeScope=runtime",
			"-DoutputDirectory="+filepath.Join(dir, "libs")), nil)
		return err
	})
})

// connectProgram prepares a run of one of Connect's classes.
func connectProgram(class string, args ...string) (*exec.Cmd, error) {
	dir, err := connectJars()
	if err != nil {
		return nil, err
	}
	// The quick compiler alone: a short run on a busy machine is mostly start-up.
	flags := []string{"-Xmx384M", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.xml"), "-cp", filepath.Join(dir, "libs", "*"), class}
	return exec.Command("java", append(flags, args...)...), nil
}

// writeProperties writes a file of Java properties.
func writeProperties(file string, settings map[string]string) error {
	var text bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", key, settings[key])
	}
	return os.WriteFile(file, text.Bytes(), 0o644)
}

// connectProcess is one JVM of Connect, whose output goes to a file that outlives kill -9.
type connectProcess struct {
	class, properties, log string

	began int // bytes of the log before the process that runs now
	cmd   *exec.Cmd
	ended chan struct{}
}

func (p *connectProcess) start() error {
	cmd, err := connectProgram(p.class, p.properties)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return err
	}
	p.began = int(info.Size())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		_ = cmd.Wait()
		close(ended)
	}(p.ended)
	return nil
}

// signal sends a signal to the process.
func (p *connectProcess) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// kill sends SIGKILL and waits.
func (p *connectProcess) kill() {
	if p.cmd != nil {
		p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

// said counts the lines of the log that contain a text.
func (p *connectProcess) said(text string) int {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return 0
	}
	return bytes.Count(log, []byte(text))
}

// fenced counts what the process has logged of producers that were fenced.
func (p *connectProcess) fenced() int {
	n := 0
	for _, name := range fencings {
		n += p.said(name)
	}
	return n
}

// lostItsPlace says whether the process has said that its group went on without it: another one has its tasks then, and
// fences the producers with which it goes on.
func (p *connectProcess) lostItsPlace() bool {
	log, err := os.ReadFile(p.log)
	return err == nil && bytes.Contains(log[min(p.began, len(log)):], []byte("Resetting generation and member id"))
}

// complaints are the last lines of the log that are no good news.
func (p *connectProcess) complaints() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(log)) {
		isNews := strings.HasPrefix(line, "{") || strings.Contains(line, "] INFO ") ||
			strings.Contains(line, "] DEBUG ")
		if !isNews && strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-80):], "")
}

// connectCluster is a group of workers in distributed mode.
type connectCluster struct {
	*testing.T
	group   string
	workers []*connectProcess
	rest    map[*connectProcess]string // host:port, as the workers name each other
	down    map[*connectProcess]bool   // killed or halted
	client  http.Client

	restarts    int    // of tasks, by REST
	lastStatus  []byte // of a connector that was asked for
	unexplained string // how a task was fenced whose worker does not say that it has lost its place
}

// connectTimeoutMs is how long the transaction of a killed task may keep the workers that start from reading their
// topic of offsets, where no other worker fences it: long enough for a task on a busy machine.
const connectTimeoutMs = "30000"

// connectSettings are those of a worker, with a group and three internal topics of its own.
func connectSettings(bootstrap, group, rest string) map[string]string {
	settings := map[string]string{
		"bootstrap.servers": bootstrap, "group.id": group, "listeners": "http://" + rest,
		"key.converter":                  "org.apache.kafka.connect.json.JsonConverter",
		"value.converter":                "org.apache.kafka.connect.json.JsonConverter",
		"key.converter.schemas.enable":   "false",
		"value.converter.schemas.enable": "false",
		"exactly.once.source.support":    "enabled",
		"offset.storage.partitions":      "3",
		"status.storage.partitions":      "2",
		"plugin.discovery":               "service_load",
		// The values that a test would otherwise have to wait for.
		"session.timeout.ms": strconv.Itoa(sessionMs), "heartbeat.interval.ms": strconv.Itoa(heartbeatMs),
		"scheduled.rebalance.max.delay.ms": "500", "offset.flush.interval.ms": "1000",
		"task.shutdown.graceful.timeout.ms": "2000",
		"producer.transaction.timeout.ms":   connectTimeoutMs,
		// Else a worker leaves its group when it cannot read for 3 s, for a broker that is away or a slow machine.
		"worker.sync.timeout.ms": connectTimeoutMs,
	}
	for _, topic := range []string{"config", "offset", "status"} {
		settings[topic+".storage.topic"] = group + "-" + topic
		settings[topic+".storage.replication.factor"] = "1"
		// Compaction goes on while workers write and are started again.
		settings[topic+".storage.segment.ms"] = "2000"
		settings[topic+".storage.min.cleanable.dirty.ratio"] = "0.01"
	}
	return settings
}

// startConnect starts two workers of one group.
func startConnect(t *testing.T, bootstrap string) *connectCluster {
	t.Helper()
	c := &connectCluster{T: t, group: "connect-" + runID(), rest: map[*connectProcess]string{},
		down: map[*connectProcess]bool{}, client: http.Client{Timeout: 30 * time.Second}}
	dir := t.TempDir()
	port := freePort(t)
	for i := range 2 {
		w := &connectProcess{class: "org.apache.kafka.connect.cli.ConnectDistributed",
			properties: filepath.Join(dir, fmt.Sprintf("worker-%d.properties", i)),
			log:        filepath.Join(dir, fmt.Sprintf("worker-%d.log", i))}
		c.rest[w] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port+i))
		c.must(writeProperties(w.properties, connectSettings(bootstrap, c.group, c.rest[w])))
		c.workers = append(c.workers, w)
		c.must(w.start())
		t.Cleanup(func() {
			w.kill()
			if t.Failed() {
				t.Logf("worker %s complained:\n%s", c.rest[w], w.complaints())
			}
		})
	}
	return c
}

func (c *connectCluster) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// kill ends a worker.
func (c *connectCluster) kill(w *connectProcess) {
	w.kill()
	c.down[w] = true
}

// start starts a killed worker again.
func (c *connectCluster) start(w *connectProcess) {
	c.Helper()
	c.must(w.start())
	delete(c.down, w)
}

// awaitReady waits until every worker answers.
func (c *connectCluster) awaitReady() {
	c.Helper()
	for _, w := range c.workers {
		c.await("worker "+c.rest[w]+" to be ready", func() bool {
			status, _, _ := c.askOf(w, http.MethodGet, "/connectors", nil)
			return status == http.StatusOK
		})
	}
}

// await waits for a condition, and ends the test early if a worker has ended by itself.
func (c *connectCluster) await(what string, reached func() bool) {
	c.Helper()
	deadline := time.Now().Add(2 * awaitWithin)
	for tick := time.NewTicker(100 * time.Millisecond); !reached(); <-tick.C {
		for _, w := range c.workers {
			select {
			case <-w.ended:
				if !c.down[w] {
					c.Fatalf("waiting for %s: worker %s has ended by itself", what, c.rest[w])
				}
			default:
			}
		}
		if time.Now().After(deadline) {
			c.Fatalf("waiting for %s; the last status was %s; %s", what, c.lastStatus, c.unexplained)
		}
	}
}

// askOf sends one request to one worker.
func (c *connectCluster) askOf(w *connectProcess, method, path string, body any) (int, []byte, error) {
	text, err := json.Marshal(body)
	c.must(err)
	if body == nil {
		text = nil
	}
	request, err := http.NewRequestWithContext(c.Context(), method, "http://"+c.rest[w]+path, bytes.NewReader(text))
	c.must(err)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// ask sends a request until one of the workers that run answers with a wanted status: while they rebalance or look for
// the broker, they refuse.
func (c *connectCluster) ask(method, path string, body any, want ...int) []byte {
	c.Helper()
	var answer []byte
	var last string
	done := false
	defer func() {
		if !done {
			c.Logf("the last answer to %s %s: %s", method, path, last)
		}
	}()
	c.await(method+" "+path, func() bool {
		for _, w := range c.workers {
			if c.down[w] {
				continue
			}
			status, text, err := c.askOf(w, method, path, body)
			if slices.Contains(want, status) {
				answer, done = text, true
				return true
			}
			last = fmt.Sprintf("%d %.2000s %v", status, text, err)
			if status/100 == 4 && status != http.StatusConflict && status != http.StatusNotFound {
				c.Fatalf("%s %s: %s", method, path, last)
			}
		}
		return false
	})
	return answer
}

// put makes or changes a connector.
func (c *connectCluster) put(name string, config map[string]string) {
	c.Helper()
	c.ask(http.MethodPut, "/connectors/"+name+"/config", config, http.StatusOK, http.StatusCreated)
}

// connectStatus is the answer to GET /connectors/NAME/status.
type connectStatus struct {
	Connector struct{ State, WorkerID string }
	Tasks     []connectTask
}

type connectTask struct {
	ID       int
	State    string
	WorkerID string `json:"worker_id"`
	Trace    string
}

func (c *connectCluster) status(name string) (s connectStatus) {
	c.Helper()
	c.lastStatus = c.ask(http.MethodGet, "/connectors/"+name+"/status", nil, http.StatusOK)
	c.must(json.Unmarshal(c.lastStatus, &s))
	return s
}

// awaitRunning waits until all tasks of a connector run, on workers that do. A task that has failed by a hand-over,
// or with which a zombie has gone on, is started again, as an operator would.
func (c *connectCluster) awaitRunning(name string, tasks int) {
	c.Helper()
	c.await(fmt.Sprintf("%d running tasks of %s", tasks, name), func() bool {
		s := c.status(name)
		running := s.Connector.State == "RUNNING" && len(s.Tasks) == tasks
		for _, task := range s.Tasks {
			if task.State == "FAILED" {
				c.restart(name, &task)
			}
			w := c.workerAt(task.WorkerID)
			running = running && task.State == "RUNNING" && w != nil && !c.down[w]
		}
		return running
	})
}

// restartFailed starts the failed tasks of a connector again, if a worker can say which.
func (c *connectCluster) restartFailed(name string) {
	c.Helper()
	for _, w := range c.workers {
		if c.down[w] {
			continue
		}
		var s connectStatus
		status, text, err := c.askOf(w, http.MethodGet, "/connectors/"+name+"/status", nil)
		if err != nil || status != http.StatusOK || json.Unmarshal(text, &s) != nil {
			continue
		}
		for _, task := range s.Tasks {
			if task.State == "FAILED" {
				c.restart(name, &task)
			}
		}
		return
	}
}

// restart starts a failed task again, if what has failed is known. A fenced one on a worker that does not say yet that
// it has lost its place is not: either it will say so, or the task was to start anew anyway, as when the leader fences
// for a new configuration of which its worker has not read.
func (c *connectCluster) restart(name string, task *connectTask) {
	c.Helper()
	says := func(text string) bool { return strings.Contains(task.Trace, text) }
	w := c.workerAt(task.WorkerID)
	failed := fmt.Sprintf("task %d of %s on %s has failed: %s", task.ID, name, task.WorkerID, task.Trace)
	switch isFenced := slices.ContainsFunc(fencings, says); {
	case !isFenced && !slices.ContainsFunc(handOvers, says):
		c.Fatal(failed)
	case isFenced && (w == nil || !w.lostItsPlace()):
		c.unexplained = failed
		return
	}
	c.restarts++
	path := fmt.Sprintf("/connectors/%s/tasks/%d/restart", name, task.ID)
	c.ask(http.MethodPost, path, nil, http.StatusNoContent, http.StatusNotFound)
}

// handOvers are what a task fails of by races of Connect's own, between two workers: each takes the other one for the
// leader, and they hand a request on between them; or the leader does not serve such requests yet, or no more.
var handOvers = []string{"Internal request missing required signature", "trying to forward REST request"}

// fencings are what a producer is told, and logs, that another one has fenced.
var fencings = []string{"InvalidProducerEpochException", "ProducerFencedException"}

// workerAt is the worker with an address, nil if there is none.
func (c *connectCluster) workerAt(rest string) *connectProcess {
	for w, at := range c.rest {
		if at == rest {
			return w
		}
	}
	return nil
}

// workerOf is the worker that runs the first task of a connector.
func (c *connectCluster) workerOf(name string) *connectProcess {
	c.Helper()
	var w *connectProcess
	c.await("the task of "+name, func() bool {
		s := c.status(name)
		if len(s.Tasks) > 0 && s.Tasks[0].State == "RUNNING" { // else it may be on its way to another one
			w = c.workerAt(s.Tasks[0].WorkerID)
		}
		return w != nil
	})
	return w
}

// said counts the lines of all workers' logs that contain a text.
func (c *connectCluster) said(text string) (n int) {
	for _, w := range c.workers {
		n += w.said(text)
	}
	return n
}
