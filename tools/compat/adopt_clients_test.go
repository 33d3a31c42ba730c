package compat

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

// adoptedGroups are groups of other people's clients that read on Kafka, and go on on Spate.
var adoptedGroups = []struct {
	name     string
	library  library
	protocol string
	assignor string
}{
	{"java-classic", javaHost{}, "classic", "range"},
	{"java-consumer", javaHost{}, "consumer", ""},
	{"librdkafka-classic", confluentHost{}, "classic", "roundrobin"},
	{"librdkafka-consumer", confluentHost{}, "consumer", ""},
	{"franz-classic", franzHost{}, "classic", "sticky"},
	{"franz-consumer", franzHost{}, "consumer", ""},
}

// groupReading is what the members of the groups have read.
type groupReading struct {
	mu        sync.Mutex
	records   map[string][]string        // of each group: partition and offset, in the order they came
	committed map[string]map[int32]int64 // of each group
	ended     map[string]bool
}

func (r *groupReading) heard(group string, e *memberEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Name {
	case "record_data":
		r.records[group] = append(r.records[group], fmt.Sprintf("%d:%d %s", e.Partition, e.Offset, e.Value))
	case "offsets_committed":
		for _, o := range e.Offsets {
			if r.committed[group] == nil {
				r.committed[group] = map[int32]int64{}
			}
			r.committed[group][o.Partition] = o.Offset
		}
	case "shutdown_complete":
		r.ended[group] = true
	}
}

// read has one member of each group read until it has committed the end of each partition of the topic, and stop.
func (a *adoption) read(topic string, end int64) map[string][]string {
	a.Helper()
	r := &groupReading{
		records:   map[string][]string{},
		committed: map[string]map[int32]int64{},
		ended:     map[string]bool{},
	}
	hosts := map[library]*host{}
	for _, g := range adoptedGroups {
		if hosts[g.library] == nil {
			cmd, err := g.library.host()
			a.must(err)
			hosts[g.library] = startHost(a.T, cmd, r.heard)
		}
		o := &memberOptions{bootstrap: a.address(), group: g.name, protocol: g.protocol, assignor: g.assignor,
			clientID: g.name, patient: true}
		hosts[g.library].send(a.T, map[string]any{"op": "start", "member": g.name, "topic": topic,
			"config": g.library.config(o)})
	}
	all := func(done func(group string) bool) func() (bool, error) {
		return func() (bool, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, g := range adoptedGroups {
				if !done(g.name) {
					return false, nil
				}
			}
			return true, nil
		}
	}
	err := waitFor(a.ctx, all(func(group string) bool {
		for p := range int32(3) {
			if r.committed[group][p] < end {
				return false
			}
		}
		return true
	}))
	if err == nil {
		for _, g := range adoptedGroups {
			hosts[g.library].send(a.T, map[string]any{"op": "stop", "member": g.name})
		}
		err = waitFor(a.ctx, all(func(group string) bool { return r.ended[group] }))
	}
	for _, h := range hosts {
		h.kill()
	}
	if err != nil {
		a.Fatalf("%v: committed so far: %v", err, r.committed)
	}
	return r.records
}

// adoptedEach is how many records a partition gets before the groups read, and again after it.
const adoptedEach = 400

// write writes to the three partitions of a topic in turn.
func (a *adoption) write(topic string, from int) {
	a.Helper()
	records := make([]*kgo.Record, 3*adoptedEach)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Partition: int32(i % 3), Key: fmt.Appendf(nil, "key-%d", i),
			Value: fmt.Appendf(nil, "value-%d", from+i/3)}
	}
	a.must(a.client.ProduceSync(a.ctx, records...).FirstErr())
}

// sorted is a copy in order.
func sorted(texts []string) []string { return slices.Sorted(slices.Values(texts)) }

// cleaned waits until everything but the active segment of the topic "compacted" has been cleaned.
func (a *adoption) cleaned() {
	a.Helper()
	err := waitFor(a.ctx, func() (bool, error) {
		for _, dir := range a.dirs() {
			logs, err := filepath.Glob(filepath.Join(dir, "compacted-0", "*.log"))
			if err != nil || len(logs) == 0 {
				continue
			}
			slices.Sort(logs)
			active := strings.TrimLeft(strings.TrimSuffix(filepath.Base(logs[len(logs)-1]), ".log"), "0")
			text, err := os.ReadFile(filepath.Join(dir, "cleaner-offset-checkpoint"))
			if err == nil && strings.Contains(string(text), "\ncompacted 0 "+active+"\n") {
				return true, nil
			}
		}
		return false, nil
	})
	a.must(err)
}

// compactedRecords reads what is left of the compacted log: offsets, keys and values.
func (a *adoption) compactedRecords() string {
	a.Helper()
	return a.mustSpate("consume", "compacted", "--to-end", "--print", "offset,timestamp,key", "-q", "-b", a.address())
}

// TestAdoptClients has groups of three libraries, in both protocols, read on Kafka; a topic is compacted there. Kafka
// is stopped or killed, Spate takes its place, with the metadata in a directory of its own in one case. The groups go
// on where they were, and miss nothing and read nothing twice; what compaction left is the same, is compacted further
// by Spate, and Kafka takes the directories back.
func TestAdoptClients(t *testing.T) {
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			more := map[string]string{"log.cleaner.backoff.ms": "50"}
			if end == "killed" {
				more["metadata.log.dir"] = filepath.Join(t.TempDir(), "metadata")
			}
			a := startAdoption(t, more)
			a.topic("read", 3, nil)
			want := a.fillCompacted()
			a.write("read", 0)
			before := a.read("read", adoptedEach)
			a.write("read", adoptedEach)
			part := a.mustSpate(
				"consume",
				"compacted",
				"--group",
				"halfway",
				"--count",
				"20",
				"--print",
				"offset",
				"-q",
				"-b",
				a.address(),
			)
			left, ids := a.compactedRecords(), a.ids()
			if end == "killed" {
				a.kafka.Kill()
			} else {
				a.must(a.kafka.Stop())
			}
			out, err := a.adopt()
			if err != nil {
				t.Fatal(out)
			}
			b := a.startSpate()
			if diff := cmp.Diff(ids, a.ids()); diff != "" {
				t.Errorf("topics and cluster, before and after:\n%s", diff)
			}
			if diff := cmp.Diff(left, a.compactedRecords()); diff != "" {
				t.Errorf("the compacted log, before and after:\n%.2000s", diff)
			}
			rest := a.mustSpate(
				"consume",
				"compacted",
				"--group",
				"halfway",
				"--to-end",
				"--print",
				"offset",
				"-q",
				"-b",
				a.address(),
			)
			if n, all := strings.Count(part+rest, "\n"), strings.Count(left, "\n"); n != all {
				t.Errorf("the group that was halfway has read %d records of %d", n, all)
			}
			after := a.read("read", 2*adoptedEach)
			var all []string
			for p := range 3 {
				for i := range 2 * adoptedEach {
					all = append(all, fmt.Sprintf("%d:%d value-%d", p, i, i))
				}
			}
			for _, g := range adoptedGroups {
				if diff := cmp.Diff(sorted(all), sorted(append(before[g.name], after[g.name]...))); diff != "" {
					t.Errorf("%s has read, of what there is (-):\n%.1000s", g.name, diff)
				}
			}
			a.compactedFurther(b, want)
		})
	}
}

// fillCompacted writes keys over and over in each codec, and tombstones, and waits until Kafka has compacted them.
func (a *adoption) fillCompacted() map[string]string {
	a.Helper()
	c, err := dial(a.address())
	a.must(err)
	defer c.Close()
	a.must(createTopic(a.ctx, c, "compacted", 1, map[string]string{"segment.bytes": "1048576",
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "file.delete.delay.ms": "0"}))
	want := map[string]string{}
	for _, codec := range allCodecs {
		produceAlone(a.ctx, a.T, a.address(), "deleted with "+codec, "", want)
		produceKeys(a.ctx, a.T, a.address(), codec, want)
	}
	a.cleaned()
	return want
}

// compactedFurther writes to the compacted topic on Spate until that has compacted it, and gives the directories back
// to Kafka, which finds the same.
func (a *adoption) compactedFurther(b interface{ Stop() error }, want map[string]string) {
	a.Helper()
	more := maps.Clone(want)
	produceKeys(a.ctx, a.T, a.address(), "zstd", more)
	a.cleaned()
	var groups []string
	for _, g := range adoptedGroups {
		groups = append(groups, g.name)
	}
	left, offsets := a.compactedRecords(), a.committed(groups...)
	a.must(b.Stop())
	a.wayBack()
	if diff := cmp.Diff(offsets, a.committed(groups...)); diff != "" {
		a.Errorf("committed offsets, in Spate and back in Kafka:\n%s", diff)
	}
	if diff := cmp.Diff(left, a.compactedRecords()); diff != "" {
		a.Errorf("the compacted log, in Spate and back in Kafka:\n%.2000s", diff)
	}
	last := map[string]string{}
	for line := range strings.Lines(left) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		if len(fields) == 4 {
			last[fields[2]] = fields[3]
		}
	}
	for key, value := range more {
		if got := last[key]; got != value && !(value == "" && got == "null") {
			a.Errorf("the last value of %s is %.40q, not %.40q", key, got, value)
		}
	}
	a.must(a.kafka.Stop())
}
