package compat

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"spate/internal/proc"
)

// client is someone else's Kafka client.
type client interface {
	name() string
	// install makes it ready to run, quickly if it is already, and gives its version.
	install() (string, error)
	features() features
	// codecs are the compression types that it can produce.
	codecs() []string
	// produce writes records to partition 0 in their order and returns when all are sent.
	produce(ctx context.Context, j *job) error
	// consume reads count records of a partition from offset 0, without a group.
	consume(ctx context.Context, topic string, partition, count int) ([]record, error)
}

// job is one run of a producer.
type job struct {
	topic      string
	codec      string
	acks       string // 0, 1 or all
	idempotent bool
	records    []record
}

func (j *job) String() string {
	return fmt.Sprintf("%s acks=%s idempotent=%v", j.codec, j.acks, j.idempotent)
}

var allCodecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// clientTimeout bounds one run of a client: long enough for a JVM on a busy machine.
const clientTimeout = 3 * time.Minute

// run runs a command with the given standard input and gives its standard output; standard error goes into the error.
func run(cmd *exec.Cmd, input []byte) ([]byte, error) {
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out.Bytes(), nil
}

// cached gives the cache directory of what is installed from the given files, after running the installer in it if
// that has not been done. Other contents of the files make another directory.
func cached(name string, files []string, installer func(dir string) error) (string, error) {
	installing.Lock()
	defer installing.Unlock()
	sum := sha256.New()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		sum.Write(text)
	}
	dir, err := proc.CacheDir(fmt.Sprintf("%s-%x", name, sum.Sum(nil)[:6]))
	if err != nil {
		return "", err
	}
	done := filepath.Join(dir, "done")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	// Of an installer that was killed some files may be there in part, and no installer writes over them.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return "", err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o644)
		}
		if err != nil {
			return "", err
		}
	}
	if err := installer(dir); err != nil {
		return "", err
	}
	return dir, os.WriteFile(done, nil, 0o644)
}

// program is a client that a small program of ours drives, which reads and writes records as JSON.
type program struct {
	command []string // with the program's own path
	env     []string
}

func (p *program) cmd(ctx context.Context, args ...string) *exec.Cmd {
	all := append(append([]string{}, p.command[1:]...), args...)
	cmd := exec.CommandContext(ctx, p.command[0], all...)
	cmd.Env = append(os.Environ(), p.env...)
	return cmd
}

func (p *program) version() (string, error) {
	out, err := run(p.cmd(context.Background(), "version"), nil)
	return strings.TrimSpace(string(out)), err
}

func (p *program) produce(ctx context.Context, j *job) error {
	input, err := encodeRecords(j.records)
	if err != nil {
		return err
	}
	_, err = run(p.cmd(ctx, "produce", underTest.bootstrap, j.topic, j.codec, j.acks,
		strconv.FormatBool(j.idempotent)), input)
	return err
}

func (p *program) consume(ctx context.Context, topic string, partition, count int) ([]record, error) {
	out, err := run(p.cmd(ctx, "consume", underTest.bootstrap, topic, strconv.Itoa(partition),
		strconv.Itoa(count)), nil)
	if err != nil {
		return nil, err
	}
	return decodeRecords(out)
}

// confluent is confluent-kafka for Python, which is librdkafka.
type confluent struct{ program }

func (*confluent) name() string { return "confluent-kafka" }

func (*confluent) features() features {
	return features{binary: true, nullHeader: true, nullAndNone: true, manyHeaders: true}
}

func (*confluent) codecs() []string { return allCodecs }

func (c *confluent) install() (string, error) {
	dir, err := pipInstall("confluent")
	if err != nil {
		return "", err
	}
	c.program = program{[]string{"python3", "clients/confluent/client.py"}, []string{"PYTHONPATH=" + dir}}
	return c.version()
}

// pipInstall gives the directory with what clients/NAME/requirements.txt names.
func pipInstall(name string) (string, error) {
	if err := proc.Install("pip3", "python3", "python3-pip"); err != nil {
		return "", err
	}
	return cached(name, []string{filepath.Join("clients", name, "requirements.txt")}, func(dir string) error {
		_, err := run(exec.Command("pip3", "install", "-q", "--disable-pip-version-check", "--target", dir,
			"-r", filepath.Join(dir, "requirements.txt")), nil)
		return err
	})
}

// kafkajs is the JavaScript client.
type kafkajs struct{ program }

func (*kafkajs) name() string { return "kafkajs" }

func (*kafkajs) features() features { return features{binary: true, nullAndNone: true} }

func (*kafkajs) codecs() []string { return allCodecs }

func (c *kafkajs) install() (string, error) {
	if err := proc.Install("node", "nodejs"); err != nil {
		return "", err
	}
	if err := proc.Install("npm", "npm"); err != nil {
		return "", err
	}
	files := []string{"clients/kafkajs/package.json", "clients/kafkajs/package-lock.json"}
	dir, err := cached("kafkajs", files, func(dir string) error {
		npm := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		npm.Dir = dir
		_, err := run(npm, nil)
		return err
	})
	if err != nil {
		return "", err
	}
	c.program = program{[]string{"node", "clients/kafkajs/client.js"},
		[]string{"NODE_PATH=" + filepath.Join(dir, "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING=1"}}
	return c.version()
}

// installing keeps two tests from installing one client at a time.
var installing sync.Mutex

// installed are all clients and their versions, once they are installed.
var installed = sync.OnceValues(func() ([]installedClient, error) {
	var all []installedClient
	// In the order of the table of results.
	for _, c := range []client{&kcat{}, &javaConsole{}, &confluent{}, &kafkajs{}, &franz{}} {
		version, err := c.install()
		if err != nil {
			return nil, fmt.Errorf("install %s: %w", c.name(), err)
		}
		all = append(all, installedClient{c, version})
	}
	return all, nil
})

type installedClient struct {
	client
	version string
}
