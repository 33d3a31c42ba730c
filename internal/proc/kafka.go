package proc

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"spate/internal/task"
)

// KafkaVersion is the Apache Kafka that tests and benchmarks compare with; pom.xml names the same.
const KafkaVersion = "4.3.1"

// kafkaReadyWithin bounds the wait for Kafka: it looks at 10,000 logs for minutes after kill -9.
const kafkaReadyWithin = 10 * time.Minute

//go:embed pom.xml
var kafkaPom []byte

// The loggers of Kafka's tools and broker: warnings to standard error, and the broker's own words, which say when it
// has started, to standard output.
const log4jConfig = `Configuration:
  Appenders:
    Console: [
      { name: STDERR, target: SYSTEM_ERR, PatternLayout: { pattern: "[%d] %p %m (%c)%n" } },
      { name: STDOUT, target: SYSTEM_OUT, PatternLayout: { pattern: "[%d] %p %m (%c)%n" } }
    ]
  Loggers:
    Root: { level: WARN, AppenderRef: { ref: STDERR } }
    Logger:
      - { name: kafka.server.KafkaRaftServer, level: INFO, additivity: false, AppenderRef: { ref: STDOUT } }
      - { name: org.apache.kafka.common.utils.AppInfoParser, level: ERROR }
`

// Jars gives the class path of Apache Kafka's broker and tools. It installs Java and Maven with apt where they are
// missing, and fetches the jars from Maven Central into the user's cache directory once.
func Jars() (string, error) {
	fetching.Lock()
	defer fetching.Unlock()
	if err := Install("java", "default-jre-headless"); err != nil {
		return "", err
	}
	cache, err := CacheDir("kafka-" + KafkaVersion)
	if err != nil {
		return "", err
	}
	libs, done := filepath.Join(cache, "libs"), filepath.Join(cache, "done")
	if _, err := os.Stat(done); err == nil {
		return filepath.Join(libs, "*"), nil
	}
	if err := Install("mvn", "maven"); err != nil {
		return "", err
	}
	pom := filepath.Join(cache, "pom.xml")
	log4j := filepath.Join(cache, "log4j2.yaml")
	// Of a Maven that was killed a jar may be there in part, and it does not write over one.
	err = errors.Join(os.RemoveAll(libs), os.WriteFile(pom, kafkaPom, 0o644),
		os.WriteFile(log4j, []byte(log4jConfig), 0o644))
	if err != nil {
		return "", err
	}
	mvn := exec.Command(
		"mvn",
		"-q",
		"-B",
		"-f",
		pom,
		"dependency:copy-dependencies",
		"-DoutputDirectory="+libs,
		"-DincludeScope=runtime",
	)
	if out, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetch Kafka's jars: %w\n%s", err, out)
	}
	return filepath.Join(libs, "*"), os.WriteFile(done, nil, 0o644)
}

// fetching keeps two goroutines from installing one thing at a time.
var fetching sync.Mutex

// CacheDir makes and names a directory for downloads that tests may keep between runs: below the user's cache
// directory.
func CacheDir(name string) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "spate-test", name)
	return dir, os.MkdirAll(dir, 0o755)
}

// installing keeps two goroutines from installing at a time: apt-get update fails while another one runs, and what is
// on the PATH may still be without its libraries.
var installing sync.Mutex

// Install makes sure that command is on the PATH, with apt-get install of the Debian packages where it is not.
func Install(command string, packages ...string) error {
	installing.Lock()
	defer installing.Unlock()
	if _, err := exec.LookPath(command); err == nil {
		return nil
	}
	// A machine that has just booted may be upgrading itself: its lock is waited for.
	install := []string{"apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}
	var failed []error
	// An update that fails for one source leaves the lists of the others: what counts is the command in the end.
	for _, step := range [][]string{{"apt-get", "update", "-q"}, append(install, packages...)} {
		if os.Geteuid() != 0 {
			step = append([]string{"sudo", "-n"}, step...)
		}
		cmd := exec.Command(step[0], step[1:]...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w\n%s", strings.Join(step, " "), err, out))
		}
	}
	if _, err := exec.LookPath(command); err != nil {
		return fmt.Errorf("%s is missing: %w", command, errors.Join(append(failed, err)...))
	}
	return nil
}

// KafkaTool prepares a run of one of Kafka's command-line classes; a name without a package is one of
// org.apache.kafka.tools.
func KafkaTool(ctx context.Context, class string, args ...string) (*exec.Cmd, error) {
	if !strings.HasPrefix(class, "org.") && !strings.HasPrefix(class, "kafka.") {
		class = "org.apache.kafka.tools." + class
	}
	return JavaProgram(ctx, []string{"-Xmx512M", "-XX:+UseG1GC"}, "", class, args...)
}

// JavaProgram prepares a run of a class with Kafka's jars, and with a directory of further classes if that is not "".
func JavaProgram(ctx context.Context, flags []string, classes, class string, args ...string) (*exec.Cmd, error) {
	jars, err := Jars()
	if err != nil {
		return nil, err
	}
	path := jars
	if classes != "" {
		path = classes + ":" + jars
	}
	all := append(slices.Clone(flags), "-Dlog4j2.configurationFile="+log4jFile(jars), "-cp", path, class)
	return exec.CommandContext(ctx, "java", append(all, args...)...), nil
}

func log4jFile(jars string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(jars)), "log4j2.yaml")
}

// Kafka is one running Apache Kafka node, broker and controller in one process, with the stock settings.
type Kafka struct {
	Bootstrap string
	PID       int
	Startup   time.Duration // from the start of the process to its own word that it has started

	cmd    *exec.Cmd
	exited chan struct{}
	reader task.Group // of its standard output; ends with the process
	log    *tail
}

// given are the ports that FreePortPair has found: what listens there may be down for a while, to be started again.
var given struct {
	sync.Mutex
	ports map[int]bool
}

// FreePortPair finds a loopback port that nothing listens on, as nothing does on the one after it: what StartKafka
// needs. It gives each pair once.
func FreePortPair() (int, error) {
	given.Lock()
	defer given.Unlock()
	err := errors.New("all are given away")
	for range 100 {
		// Below the ports that the kernel gives away by itself, which others take while Kafka starts.
		port := 15000 + 2*rand.IntN(8000)
		if given.ports[port] {
			continue
		}
		if err = errors.Join(listenOnce(port), listenOnce(port+1)); err == nil {
			if given.ports == nil {
				given.ports = map[int]bool{}
			}
			given.ports[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("no two free ports: %w", err)
}

// FreeAddress is a loopback address that nothing listens on, and that nobody else gets while a broker is started again.
func FreeAddress() (string, error) {
	port, err := FreePortPair()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// listenOnce finds out whether a loopback port can be had.
func listenOnce(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// StartKafka formats dir on first use and starts a node on the given loopback port and the one after it. The
// properties come on top of the stock ones.
func StartKafka(dir string, port int, properties map[string]string) (*Kafka, error) {
	jars, err := Jars()
	if err != nil {
		return nil, err
	}
	broker, controller := net.JoinHostPort(
		"127.0.0.1",
		strconv.Itoa(port),
	), net.JoinHostPort(
		"127.0.0.1",
		strconv.Itoa(port+1),
	)
	config := filepath.Join(dir, "server.properties")
	text := stockProperties(dir, broker, controller, properties)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(config, text, 0o644)); err != nil {
		return nil, err
	}
	java := func(flags []string, class string, args ...string) *exec.Cmd {
		all := append(
			flags,
			"-Dlog4j2.configurationFile="+log4jFile(jars),
			"-Dkafka.logs.dir="+dir,
			"-cp",
			jars,
			class,
		)
		return exec.Command("java", append(all, args...)...)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "meta.properties")); err != nil {
		format := java(
			nil,
			"kafka.tools.StorageTool",
			"format",
			"--standalone",
			"-t",
			"MkU3OEVBNTcwNTJENDM2Qg",
			"-c",
			config,
		)
		if out, err := format.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("format Kafka's storage: %w\n%s", err, out)
		}
	}
	// The flags are those of Kafka's own start script.
	k := &Kafka{Bootstrap: broker, exited: make(chan struct{}), log: &tail{}}
	k.cmd = java([]string{"-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15",
		"-Djava.awt.headless=true"}, "kafka.Kafka", config)
	k.cmd.Stderr = k.log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := k.cmd.Start(); err != nil {
		return nil, err
	}
	k.PID = k.cmd.Process.Pid
	started := make(chan struct{}, 1)
	k.reader.Go("kafka output", func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), "Kafka Server started") {
				started <- struct{}{}
			}
		}
		_ = k.cmd.Wait()
		close(k.exited)
	})
	select {
	case <-started:
		k.Startup = time.Since(began)
		return k, nil
	case <-k.exited:
		return nil, fmt.Errorf("Kafka ended before it had started: %s", k.log)
	case <-time.After(kafkaReadyWithin):
		k.Kill()
		return nil, fmt.Errorf("Kafka had not started after %v: %s", kafkaReadyWithin, k.log)
	}
}

// Kill sends SIGKILL and waits.
func (k *Kafka) Kill() { killGroup(k.PID, k.exited) }

// Stop sends SIGTERM and waits for the end; Kafka that does not end in good time is killed.
func (k *Kafka) Stop() error { return k.stop(kafkaReadyWithin) }

func (k *Kafka) stop(within time.Duration) error {
	ended, err := terminate(k.PID, k.exited, within)
	if err == nil && !ended {
		k.Kill()
		err = fmt.Errorf("Kafka did not end on SIGTERM within %v: %s", within, k.log)
	}
	return err
}

// stockProperties are the values of Kafka's own config/server.properties for one node, but for addresses and paths.
func stockProperties(dir, broker, controller string, more map[string]string) []byte {
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=%[2]s
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
advertised.listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=%[3]s
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
`, broker, controller, filepath.Join(dir, "data"))
	for key, value := range more {
		text += key + "=" + value + "\n"
	}
	return []byte(text)
}
