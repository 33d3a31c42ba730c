package compat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spate/internal/proc"
)

// host is a process that runs group members of one library: kill -9 of it is the death of its members.
type host struct {
	cmd   *exec.Cmd
	input io.WriteCloser
	errs  *complaints
	ended chan struct{}
}

// memberEvent is one line of a host, in the words of Kafka's VerifiableConsumer.
type memberEvent struct {
	Timestamp  int64
	Name       string
	Partitions []struct{ Partition int32 }
	Generation *int
	Key, Value string
	Partition  int32
	Offset     int64
	Offsets    []struct {
		Partition int32
		Offset    int64
	}
	Success bool
	Error   *string

	// Of a step of a chain.
	From, To, Records, Outputs int64

	// Of a tool's result.
	Status   int
	Out, Err string
}

// startHost runs a host and gives its lines to heard, in their order, on a goroutine of the host's.
func startHost(t *testing.T, cmd *exec.Cmd, heard func(member string, e *memberEvent)) *host {
	t.Helper()
	h, err := launchHost(cmd, heard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.kill()
		if t.Failed() {
			t.Logf("%s complained:\n%s", filepath.Base(cmd.Path), h.errs)
		}
	})
	return h
}

// launchHost is startHost for a process whose end the caller sees to.
func launchHost(cmd *exec.Cmd, heard func(member string, e *memberEvent)) (*host, error) {
	h := &host{cmd: cmd, errs: &complaints{}, ended: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = h.errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		h.input, err = cmd.StdinPipe()
	}
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break // a line that was cut by the end of the process is none
			}
			member, text, _ := strings.Cut(line, " ")
			var e memberEvent
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				fmt.Fprintf(h.errs, "not an event: %q: %v\n", line, err)
				continue
			}
			heard(member, &e)
		}
		_ = cmd.Wait()
		close(h.ended)
	}()
	return h, nil
}

// send gives the host a command.
func (h *host) send(t *testing.T, command map[string]any) {
	t.Helper()
	if err := h.tell(command); err != nil {
		t.Fatalf("%s: %v\n%s", h.cmd.Path, err, h.errs)
	}
}

func (h *host) tell(command map[string]any) error {
	line, err := json.Marshal(command)
	if err == nil {
		_, err = h.input.Write(append(line, '\n'))
	}
	return err
}

// kill sends SIGKILL, and returns when all that the host had said is heard.
func (h *host) kill() {
	select {
	case <-h.ended:
		return // its number may be another's by now
	default:
	}
	_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
	<-h.ended
}

// pause stops the process for a while, as if its machine were somewhere else. false means that it had ended by itself.
func (h *host) pause(ctx context.Context, lasting time.Duration) (bool, error) {
	switch err := syscall.Kill(-h.cmd.Process.Pid, syscall.SIGSTOP); {
	case errors.Is(err, syscall.ESRCH):
		return false, nil
	case err != nil:
		return false, err
	}
	select {
	case <-h.ended:
		return false, nil
	case <-time.After(lasting):
	case <-ctx.Done():
	}
	err := syscall.Kill(-h.cmd.Process.Pid, syscall.SIGCONT)
	if ctx.Err() != nil {
		err = ctx.Err() // who ends all kills it, too
	}
	return err == nil, err
}

// complaints keeps the end of what a host writes to standard error.
type complaints struct {
	mu   sync.Mutex
	text []byte
}

func (c *complaints) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	if extra := len(c.text) - 8<<10; extra > 0 {
		c.text = append(c.text[:0], c.text[extra:]...)
	}
	return len(p), nil
}

func (c *complaints) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(bytes.TrimSpace(c.text))
}

// library is a client library whose members a host runs.
type library interface {
	// host prepares a process for members.
	host() (*exec.Cmd, error)
	// config is the library's own configuration of a member.
	config(m *memberOptions) map[string]any
}

// memberOptions are what a test wants of a member, for all libraries alike.
type memberOptions struct {
	bootstrap string
	group     string
	protocol  string // classic or consumer
	assignor  string // of the classic protocol
	instance  string // of a static member
	clientID  string
	patient   bool // its session is patientMs long; in the consumer protocol that is the broker's affair
}

// session is the session timeout in the classic protocol.
func (m *memberOptions) session() int {
	if m.patient {
		return patientMs
	}
	return sessionMs
}

// javaHost is Kafka's VerifiableConsumer.
type javaHost struct{}

// javaClasses gives the directory of the compiled programs of clients/java.
var javaClasses = sync.OnceValues(func() (string, error) { return compileJava("java") })

// compileJava gives the directory of the compiled programs of a directory of clients/. They are compiled against
// Kafka's jars, and those that the pom.xml beside them names, which lie in lib.
func compileJava(programs string) (string, error) {
	jars, err := proc.Jars()
	if err != nil {
		return "", err
	}
	if err := proc.Install("mvn", "maven"); err != nil {
		return "", err
	}
	pom := filepath.Join("clients", programs, "pom.xml")
	sources, err := filepath.Glob(filepath.Join("clients", programs, "*.java"))
	if err != nil {
		return "", err
	}
	return cached(programs+"-host", append(sources, pom), func(dir string) error {
		_, err := run(exec.Command("mvn", "-q", "-B", "-f", filepath.Join(dir, "pom.xml"),
			"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib")), nil)
		if err != nil {
			return err
		}
		compilers, err := filepath.Glob(filepath.Join(dir, "lib", "ecj-*.jar"))
		own, err2 := filepath.Glob(filepath.Join(dir, "lib", "*.jar"))
		libs, err3 := filepath.Glob(jars + ".jar")
		if err := errors.Join(err, err2, err3); err != nil || len(compilers) != 1 {
			return fmt.Errorf("one compiler in %v: %w", compilers, err)
		}
		args := []string{"-jar", compilers[0], "-source", "17", "-target", "17", "-nowarn",
			"-cp", strings.Join(append(own, libs...), ":"), "-d", dir}
		_, err = run(exec.Command("java", append(args, sources...)...), nil)
		return err
	})
}

func (javaHost) host() (*exec.Cmd, error) { return javaProgram("Host") }

// javaProgram prepares a run of one of our programs in Java.
func javaProgram(class string) (*exec.Cmd, error) {
	classes, err := javaClasses()
	if err != nil {
		return nil, err
	}
	// The quick compiler alone: a short run on a busy machine is mostly start-up.
	flags := []string{"-Xmx256M", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}
	return proc.JavaProgram(context.Background(), flags, classes, class)
}

func (javaHost) config(m *memberOptions) map[string]any {
	c := map[string]any{"bootstrap.servers": m.bootstrap, "group.id": m.group, "group.protocol": m.protocol,
		"client.id": m.clientID, "enable.auto.commit": "false", "auto.offset.reset": "earliest",
		"reconnect.backoff.max.ms": "500", "retry.backoff.max.ms": "500", "metadata.max.age.ms": "5000"}
	if m.instance != "" {
		c["group.instance.id"] = m.instance
	}
	if m.protocol == "classic" {
		c["session.timeout.ms"], c["heartbeat.interval.ms"] = m.session(), heartbeatMs
		c["partition.assignment.strategy"] = map[string]string{
			"range":              "org.apache.kafka.clients.consumer.RangeAssignor",
			"roundrobin":         "org.apache.kafka.clients.consumer.RoundRobinAssignor",
			"sticky":             "org.apache.kafka.clients.consumer.StickyAssignor",
			"cooperative-sticky": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
		}[m.assignor]
	}
	return c
}

// confluentHost is confluent-kafka.
type confluentHost struct{}

func (confluentHost) host() (*exec.Cmd, error) { return confluentProgram("host.py") }

// confluentProgram prepares a run of one of our programs with confluent-kafka.
func confluentProgram(file string) (*exec.Cmd, error) {
	c := &confluent{}
	if _, err := c.install(); err != nil {
		return nil, err
	}
	cmd := exec.Command("python3", filepath.Join("clients", "confluent", file))
	cmd.Env = append(os.Environ(), c.env...)
	return cmd, nil
}

func (confluentHost) config(m *memberOptions) map[string]any {
	c := map[string]any{"bootstrap.servers": m.bootstrap, "group.id": m.group, "group.protocol": m.protocol,
		"client.id": m.clientID, "auto.offset.reset": "earliest", "reconnect.backoff.max.ms": 500,
		"fetch.wait.max.ms": 200}
	if m.instance != "" {
		c["group.instance.id"] = m.instance
	}
	if m.protocol == "classic" {
		c["session.timeout.ms"], c["heartbeat.interval.ms"] = m.session(), heartbeatMs
		c["partition.assignment.strategy"] = m.assignor
	}
	return c
}

// kafkajsHost is kafkajs's consumer.
type kafkajsHost struct{}

func (kafkajsHost) host() (*exec.Cmd, error) {
	c := &kafkajs{}
	if _, err := c.install(); err != nil {
		return nil, err
	}
	cmd := exec.Command("node", "clients/kafkajs/host.js")
	cmd.Env = append(os.Environ(), c.env...)
	return cmd, nil
}

func (kafkajsHost) config(m *memberOptions) map[string]any {
	return map[string]any{"bootstrap": m.bootstrap, "group": m.group, "assignor": m.assignor,
		"sessionTimeout": m.session()}
}

// aiokafkaHost is aiokafka.
type aiokafkaHost struct{}

// aiokafkaDir gives the directory that aiokafka is installed in.
var aiokafkaDir = sync.OnceValues(func() (string, error) { return pipInstall("aiokafka") })

func (aiokafkaHost) host() (*exec.Cmd, error) {
	dir, err := aiokafkaDir()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("python3", "clients/aiokafka/host.py")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir)
	return cmd, nil
}

func (aiokafkaHost) config(m *memberOptions) map[string]any {
	c := map[string]any{"bootstrap_servers": m.bootstrap, "group_id": m.group, "client_id": m.clientID,
		"session_timeout_ms": m.session(), "heartbeat_interval_ms": heartbeatMs, "metadata_max_age_ms": 5000,
		"rebalance_timeout_ms": 20000, "partition_assignment_strategy": m.assignor}
	if m.instance != "" {
		c["group_instance_id"] = m.instance
	}
	return c
}

// franzHost is franz-go, in another process of this test's binary.
type franzHost struct{}

func (franzHost) host() (*exec.Cmd, error) { return franzProgram("host") }

func franzProgram(what string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), franzHostEnv+"="+what)
	return cmd, nil
}

func (franzHost) config(m *memberOptions) map[string]any {
	return map[string]any{"bootstrap": m.bootstrap, "group": m.group, "protocol": m.protocol, "assignor": m.assignor,
		"instance": m.instance, "client": m.clientID, "session": m.session()}
}
