package compat

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	numberTasks  = 3
	progressOf   = 200             // lines and numbers that must come after each fault
	connectChaos = 4 * time.Minute // of the long run
)

// connectRun is a run of TestConnect.
type connectRun struct {
	*connectCluster
	target  *target
	admin   *kadm.Client
	writer  *lineWriter
	seen    *committed
	in, out string // the files of the source and of the sink
	topic   string // of the lines
	round   int    // of the source's configuration
	faults  map[string]int
}

// Goal: Kafka Connect in distributed mode, unmodified, with sources that are exactly once, on internal topics that it
// makes itself.
// Method: two workers run a source that reads a file, one of three tasks that counts, and a sink that writes a file.
// Workers are killed and halted, the broker is killed, connectors are changed, paused, stopped and reset by REST. A
// consumer under read_committed sees each line and number once and in order; the sink's file has each line.
func TestConnect(t *testing.T) {
	t.Parallel()
	r := startConnectRun(t)
	r.internalTopics()
	r.killWorker()
	r.haltWorker()
	r.killBroker()
	r.reconfigure()
	for began := time.Now(); *long && time.Since(began) < connectChaos; {
		faults := []func(){r.killWorker, r.haltWorker, r.killBroker, r.killAll, r.reconfigure, r.pause}
		faults[rand.IntN(len(faults))]()
	}
	r.killAll()
	r.pause()
	r.stopAndCheck()
	r.changeOffsets()
	r.changeSinkOffsets()
	r.delete()
}

func startConnectRun(t *testing.T) *connectRun {
	t.Helper()
	settings := groupSettings()
	settings["transaction.state.log.num.partitions"] = "5"
	settings["transaction.abort.timed.out.transaction.cleanup.interval.ms"] = "1000"
	settings["log.cleaner.backoff.ms"] = "500"
	r := &connectRun{target: startTarget(t, settings), topic: "lines", faults: map[string]int{}}
	r.connectCluster = startConnect(t, r.target.bootstrap)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap))
	r.must(err)
	t.Cleanup(client.Close)
	r.admin = adminOf(client)
	dir := t.TempDir()
	r.in, r.out = filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.txt")
	r.awaitReady()
	r.configureLines()
	r.configureNumbers(numberTasks)
	r.put("sink", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "tasks.max": "1",
		"topics": r.topic, "file": r.out,
		"transforms": "line", "transforms.line.type": "org.apache.kafka.connect.transforms.ExtractField$Value",
		"transforms.line.field":                   "line",
		"consumer.override.isolation.level":       "read_committed",
		"consumer.override.session.timeout.ms":    fmt.Sprint(sessionMs),
		"consumer.override.heartbeat.interval.ms": fmt.Sprint(heartbeatMs),
	})
	r.awaitRunning("lines", 1)
	r.awaitRunning("numbers", numberTasks)
	r.awaitRunning("sink", 1)
	r.writer = startLineWriter(t, r.in)
	r.await("the topics of the sources", func() bool {
		topics, err := r.admin.ListTopics(t.Context())
		return err == nil && topics.Has(r.topic) && topics.Has("numbers")
	})
	r.seen = startCommitted(t, r.target.bootstrap, r.topic, "numbers")
	r.progress("the start")
	return r
}

// configureLines makes or changes the source of lines: its records name the round.
func (r *connectRun) configureLines() {
	r.Helper()
	r.round++
	r.put("lines", map[string]string{
		"connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector", "tasks.max": "1",
		"exactly.once.support": "required", "file": r.in, "topic": r.topic,
		"batch.size": "1000000", // or its task keeps a rest until the file grows
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
		"transforms":                    "hoist,round",
		"transforms.hoist.type":         "org.apache.kafka.connect.transforms.HoistField$Value",
		"transforms.hoist.field":        "line",
		"transforms.round.type":         "org.apache.kafka.connect.transforms.InsertField$Value",
		"transforms.round.static.field": "round", "transforms.round.static.value": fmt.Sprint(r.round),
	})
}

// configureNumbers makes or changes the source that counts, in transactions longer than one of its batches.
func (r *connectRun) configureNumbers(tasks int) {
	r.Helper()
	r.put("numbers", map[string]string{
		"connector.class": "org.apache.kafka.connect.tools.VerifiableSourceConnector", "tasks.max": fmt.Sprint(tasks),
		"exactly.once.support": "requested", "topic": "numbers", "throughput": "100",
		"transaction.boundary": "interval", "transaction.boundary.interval.ms": "300",
		"topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "3",
	})
}

// progress waits until more lines and numbers have been committed.
func (r *connectRun) progress(after string) {
	r.Helper()
	lines, numbers, _ := r.seen.counts()
	var nowLines, nowNumbers, tasks int
	defer func() {
		if r.Failed() {
			r.Logf("had %d lines, %d numbers; then %d, and %d of %d tasks", lines, numbers, nowLines, nowNumbers, tasks)
		}
	}()
	began := time.Now()
	r.await("lines and numbers after "+after, func() bool {
		nowLines, nowNumbers, tasks = r.seen.counts()
		r.restartFailed("lines")
		r.restartFailed("numbers")
		return nowLines >= lines+progressOf && nowNumbers >= numbers+progressOf && tasks == numberTasks
	})
	r.Logf("%s: goes on after %v, with %d lines and %d numbers", after, time.Since(began).Round(10*time.Millisecond),
		lines, numbers)
	r.faults[after]++
}

// internalTopics looks at the topics that the workers have made.
func (r *connectRun) internalTopics() {
	r.Helper()
	names := []string{r.group + "-config", r.group + "-offset", r.group + "-status"}
	topics, err := r.admin.ListTopics(r.Context(), names...)
	r.must(err)
	configs, err := r.admin.DescribeTopicConfigs(r.Context(), names...)
	r.must(err)
	for i, partitions := range []int{1, 3, 2} {
		if got := len(topics[names[i]].Partitions); got != partitions {
			r.Errorf("%s has %d partitions, want %d", names[i], got, partitions)
		}
		config, err := configs.On(names[i], nil)
		r.must(err)
		for _, c := range config.Configs {
			if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
				r.Errorf("%s has cleanup.policy %s", names[i], c.MaybeValue())
			}
		}
	}
}

// killWorker kills the worker that reads the file. The other one takes over.
func (r *connectRun) killWorker() {
	r.Helper()
	w := r.workerOf("lines")
	r.kill(w)
	r.awaitRunning("lines", 1)
	r.progress("kill -9 of a worker")
	r.start(w)
}

// haltWorker stops the worker that reads the file until the other one has taken over. Then it is a zombie, with a
// transaction that it may still want to commit.
func (r *connectRun) haltWorker() {
	r.Helper()
	r.awaitReady()
	w := r.workerOf("lines")
	w.signal(syscall.SIGSTOP)
	r.down[w] = true
	r.awaitRunning("lines", 1)
	r.progress("a halt of a worker")
	before := w.fenced()
	w.signal(syscall.SIGCONT)
	delete(r.down, w)
	r.await("the zombie to be fenced", func() bool { return w.fenced() > before })
	r.progress("the end of the halt")
}

func (r *connectRun) killBroker() {
	r.Helper()
	r.must(r.target.restart())
	r.progress("kill -9 of the broker")
}

// killAll leaves nothing but what is on disk.
func (r *connectRun) killAll() {
	r.Helper()
	for _, w := range r.workers {
		r.kill(w)
	}
	r.must(r.target.restart())
	for _, w := range r.workers {
		r.start(w)
	}
	r.awaitReady()
	r.progress("kill -9 of all")
}

// reconfigure changes both sources. The leader fences the producers of the earlier tasks, where there was more than
// one, before the new ones start.
func (r *connectRun) reconfigure() {
	r.Helper()
	r.awaitReady()
	r.configureLines()
	r.await("lines of the new configuration", func() bool {
		r.restartFailed("lines")
		r.seen.mu.Lock()
		defer r.seen.mu.Unlock()
		return r.seen.lines[len(r.seen.lines)-1].Round == fmt.Sprint(r.round)
	})
	const fenced = "Finished fencing out 3 task producers for source connector numbers"
	before, epochs := r.said(fenced), r.epochs()
	r.configureNumbers(numberTasks - 1)
	r.awaitRunning("numbers", numberTasks-1)
	r.await("the leader to fence the producers", func() bool { return r.said(fenced) > before })
	for id, epoch := range r.epochs() {
		if epochs[id] == epoch {
			r.Errorf("%s still has %v", id, epoch)
		}
	}
	r.configureNumbers(numberTasks)
	r.awaitRunning("numbers", numberTasks)
	r.progress("new configurations")
}

// epochs are the producers of the source that counts, by transactional id.
func (r *connectRun) epochs() map[string][2]int64 {
	r.Helper()
	ids := make([]string, numberTasks)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-numbers-%d", r.group, i)
	}
	epochs := map[string][2]int64{}
	r.await("a description of the transactions", func() bool {
		described, err := r.admin.DescribeTransactions(r.Context(), ids...)
		for _, d := range described.Sorted() {
			err = errors.Join(err, d.Err)
			epochs[d.TxnID] = [2]int64{d.ProducerID, int64(d.ProducerEpoch)}
		}
		return err == nil
	})
	return epochs
}

// pause holds the source of lines and lets it go on.
func (r *connectRun) pause() {
	r.Helper()
	r.awaitReady()
	r.ask(http.MethodPut, "/connectors/lines/pause", nil, http.StatusAccepted)
	r.awaitState("lines", "PAUSED", 1)
	r.ask(http.MethodPut, "/connectors/lines/resume", nil, http.StatusAccepted)
	r.awaitRunning("lines", 1)
	r.progress("a pause")
}

// awaitState waits until a connector and its tasks are in a state.
func (r *connectRun) awaitState(name, state string, tasks int) {
	r.Helper()
	r.await(name+" to be "+state, func() bool {
		s := r.status(name)
		for _, task := range s.Tasks {
			if task.State != state {
				return false
			}
		}
		return s.Connector.State == state && len(s.Tasks) == tasks
	})
}

func (r *connectRun) stop(name string) {
	r.Helper()
	r.ask(http.MethodPut, "/connectors/"+name+"/stop", nil, http.StatusNoContent)
	r.awaitState(name, "STOPPED", 0)
}

func (r *connectRun) resume(name string, tasks int) {
	r.Helper()
	r.ask(http.MethodPut, "/connectors/"+name+"/resume", nil, http.StatusAccepted)
	r.awaitRunning(name, tasks)
}

// stopAndCheck stops the sources, and compares all that was ever committed with what they have read.
func (r *connectRun) stopAndCheck() {
	r.Helper()
	lines := r.writer.end()
	r.must(r.writer.err)
	r.await("all lines", func() bool { n, _, _ := r.seen.counts(); return n >= lines })
	r.await("all lines in the sink's file", func() bool {
		_, distinct := sunk(r.T, r.out, lines)
		return distinct == lines
	})
	r.stop("lines")
	r.stop("numbers")
	r.seen.check(r.T, allLines(lines, 0))
	r.awaitOffset("lines", r.fileBytes())
	r.awaitCompaction()
	total, _ := sunk(r.T, r.out, lines)
	_, numbers, tasks := r.seen.counts()
	stored := r.stored()
	said := fmt.Sprintf("%d lines and %d numbers of %d tasks under read_committed, each once and in order, in topics\n"+
		"of %d and %d offsets; %d lines in the sink's file, none missing",
		lines, numbers, tasks, stored[r.topic], stored["numbers"], total)
	r.Logf("%s\nfaults: %v; tasks started again by REST: %d", said, r.faults, r.restarts)
	noteConnect(r.T, said)
}

// awaitCompaction waits until few of the sources' offsets are left: one is written with each transaction. It was from
// such topics that the workers came up again.
func (r *connectRun) awaitCompaction() {
	r.Helper()
	r.await("compaction of the sources' offsets", func() bool {
		records, end, err := readTopic(r.Context(), r.target.bootstrap, r.group+"-offset", kgo.ReadCommitted())
		r.must(err)
		if int64(len(records)) > end/4 {
			return false
		}
		r.Logf("the topic of the sources' offsets has %d records left, of %d", len(records), end)
		return true
	})
}

func allLines(lines, from int) (all []string) {
	for n := from; n < lines; n++ {
		all = append(all, line(n))
	}
	return all
}

func (r *connectRun) fileBytes() int64 {
	r.Helper()
	info, err := os.Stat(r.in)
	r.must(err)
	return info.Size()
}

// stored are the offsets of the topics' ends, which aborted records and markers take too.
func (r *connectRun) stored() map[string]int64 {
	r.Helper()
	ends, err := r.admin.ListEndOffsets(r.Context(), r.topic, "numbers")
	r.must(err)
	stored := map[string]int64{}
	ends.Each(func(o kadm.ListedOffset) { stored[o.Topic] += o.Offset })
	return stored
}

// connectOffsets is what /connectors/NAME/offsets answers and takes.
type connectOffsets struct {
	Offsets []connectOffset `json:"offsets"`
}

type connectOffset struct {
	Partition map[string]any   `json:"partition"`
	Offset    map[string]int64 `json:"offset"`
}

// awaitOffset waits until a connector has one offset, of a value.
func (r *connectRun) awaitOffset(name string, want int64) {
	r.Helper()
	var o connectOffsets
	r.await(fmt.Sprintf("%s to be at offset %d", name, want), func() bool {
		o = connectOffsets{}
		answer := r.ask(http.MethodGet, "/connectors/"+name+"/offsets", nil, http.StatusOK)
		r.must(json.Unmarshal(answer, &o))
		if want < 0 {
			return len(o.Offsets) == 0
		}
		return len(o.Offsets) == 1 && o.Offsets[0].Offset["position"]+o.Offsets[0].Offset["kafka_offset"] == want
	})
}

// changeOffsets sets the stopped source of lines back to half of its file, and then to its begin.
func (r *connectRun) changeOffsets() {
	r.Helper()
	lines := r.writer.end()
	var position int64
	for _, l := range allLines(lines/2, 0) {
		position += int64(len(l)) + 1
	}
	r.ask(http.MethodPatch, "/connectors/lines/offsets", connectOffsets{[]connectOffset{{
		Partition: map[string]any{"filename": r.in}, Offset: map[string]int64{"position": position},
	}}}, http.StatusOK)
	r.awaitOffset("lines", position)
	want := append(allLines(lines, 0), allLines(lines, lines/2)...)
	r.readsAgain(want)
	r.ask(http.MethodDelete, "/connectors/lines/offsets", nil, http.StatusOK)
	r.awaitOffset("lines", -1)
	r.readsAgain(append(want, allLines(lines, 0)...))
	r.Logf("offsets were set and reset: %d lines in all, each as often as wanted, and in order", len(r.seen.lines))
}

// readsAgain lets the source of lines go on, to its file's end, and stops it.
func (r *connectRun) readsAgain(want []string) {
	r.Helper()
	r.resume("lines", 1)
	r.await("the lines again", func() bool { n, _, _ := r.seen.counts(); return n >= len(want) })
	r.awaitOffset("lines", r.fileBytes())
	r.stop("lines")
	r.seen.check(r.T, want)
}

// changeSinkOffsets lets the sink write some lines again: its offsets are those of a consumer group.
func (r *connectRun) changeSinkOffsets() {
	r.Helper()
	lines := r.writer.end()
	end := r.stored()[r.topic]
	r.await("the sink to be at the end", func() bool { return r.sinkTotal() >= len(r.seen.lines) })
	r.stop("sink")
	before := r.sinkTotal()
	partition := map[string]any{"kafka_topic": r.topic, "kafka_partition": 0}
	r.ask(http.MethodPatch, "/connectors/sink/offsets", connectOffsets{[]connectOffset{{
		Partition: partition, Offset: map[string]int64{"kafka_offset": end - 100},
	}}}, http.StatusOK)
	r.awaitOffset("sink", end-100)
	r.resume("sink", 1)
	r.await("the last lines again", func() bool { return r.sinkTotal() > before })
	r.stop("sink")
	r.ask(http.MethodDelete, "/connectors/sink/offsets", nil, http.StatusOK)
	r.awaitOffset("sink", -1)
	before = r.sinkTotal()
	r.resume("sink", 1)
	r.await("all lines again", func() bool { return r.sinkTotal() >= before+len(r.seen.lines) })
	total, distinct := sunk(r.T, r.out, lines)
	r.Logf("the sink's file has %d lines after its offsets were set and reset, %d of them distinct", total, distinct)
}

func (r *connectRun) sinkTotal() int {
	r.Helper()
	total, _ := sunk(r.T, r.out, r.writer.end())
	return total
}

// delete takes the connectors away; nothing of them runs any more.
func (r *connectRun) delete() {
	r.Helper()
	for _, name := range []string{"lines", "numbers", "sink"} {
		r.ask(http.MethodDelete, "/connectors/"+name, nil, http.StatusNoContent, http.StatusNotFound)
	}
	r.await("no connectors", func() bool {
		return string(r.ask(http.MethodGet, "/connectors", nil, http.StatusOK)) == "[]"
	})
	r.must(r.target.stop())
}
