package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kversion"
	"golang.org/x/sys/unix"

	"spate/bench/result"
)

// makeTopics makes the topics of the run, and waits until they can be written. made: there is something to delete.
func (r *run) makeTopics() (made bool, err error) {
	base := r.w.Topic
	if base == "" {
		base = fmt.Sprintf("spate-bench-%08x", r.id)
	}
	r.topicIndex = map[string]int{}
	for n := range r.w.Topics {
		name := base
		if r.w.Topics > 1 {
			name = fmt.Sprintf("%s-%d", base, n)
		}
		r.topics = append(r.topics, name)
		r.topicIndex[name] = n
	}
	configs := map[string]*string{}
	for _, pair := range r.w.Configs {
		configs[pair[0]] = &pair[1]
	}
	admin := kadm.NewClient(r.admin)
	admin.SetTimeoutMillis(int32(makeWithin.Milliseconds()))
	// An interruption does not hide whether there is something to delete.
	responses, err := admin.CreateTopics(r.sending, int32(r.w.Partitions), r.w.Replication, configs, r.topics...)
	if err != nil {
		return false, fmt.Errorf("create the topic: %w", err)
	}
	var failed []error
	for _, name := range r.topics {
		t := responses[name]
		switch {
		case t.Err == nil:
			made = true
		case errors.Is(t.Err, kerr.TopicAlreadyExists) && r.w.ReuseTopic:
			if len(r.w.Configs) > 0 || r.w.Replication != -1 {
				r.note("The topic %s was there and stays as it is: --topic-config and --replication-factor are for "+
					"topics that are made.", name)
			}
		default:
			failed = append(failed, r.explainTopic(name, t))
		}
	}
	if len(failed) > 0 {
		for name, t := range responses { // what is there of somebody else stays
			if t.Err == nil && !r.w.KeepTopic {
				_, _ = admin.DeleteTopics(r.hard, name) // it is empty
			}
		}
		return false, failed[0]
	}
	if err := r.awaitTopics(); err != nil {
		return made, err
	}
	r.starts = make([]int64, r.partitions)
	if r.w.ReuseTopic {
		if r.starts, err = r.ends(); err != nil {
			return made, err
		}
	}
	return made && !r.w.ReuseTopic, nil
}

// makeWithin bounds the creation of topics: thousands of partitions take their time.
const makeWithin = 2 * time.Minute

// explainTopic says why a topic could not be made, and what to do.
func (r *run) explainTopic(name string, t kadm.CreateTopicResponse) error {
	switch {
	case errors.Is(t.Err, kerr.TopicAlreadyExists):
		return fmt.Errorf("topic %s exists already: leave --topic away, choose another one, or write into it with "+
			"--reuse-topic", name)
	case errors.Is(t.Err, kerr.InvalidReplicationFactor):
		return fmt.Errorf("topic %s: the cluster has too few brokers for --replication-factor %d", name,
			r.w.Replication)
	case errors.Is(t.Err, kerr.TopicAuthorizationFailed), errors.Is(t.Err, kerr.ClusterAuthorizationFailed):
		return fmt.Errorf("topic %s: the cluster does not let this user create it: have it created, and use "+
			"--reuse-topic", name)
	}
	return fmt.Errorf("create topic %s: %w: %s", name, t.Err, t.ErrMessage)
}

// awaitTopics returns when every partition has a leader, or the run is interrupted; the number of partitions must be
// the right one.
func (r *run) awaitTopics() error {
	admin := kadm.NewClient(r.admin)
	deadline := time.Now().Add(makeWithin)
	for {
		topics, err := admin.ListTopics(r.soft, r.topics...)
		if r.soft.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("ask for the topic: %w", err)
		}
		ready := 0
		for name, t := range topics {
			for _, p := range t.Partitions {
				if p.Err == nil && p.Leader >= 0 {
					ready++
				}
			}
			if t.Err == nil && len(t.Partitions) != r.w.Partitions && r.w.ReuseTopic {
				return fmt.Errorf("topic %s has %d partitions, not %d: say --partitions %d", name, len(t.Partitions),
					r.w.Partitions, len(t.Partitions))
			}
		}
		if ready == r.partitions {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d partitions have a leader after %v: see what the broker logs", ready,
				r.partitions, makeWithin)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// deleteTopics deletes what was made, also after an interruption.
func (r *run) deleteTopics() {
	r.progress.enter(result.PhaseCleanUp, 0)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.hard), makeWithin)
	defer cancel()
	responses, err := kadm.NewClient(r.admin).DeleteTopics(ctx, r.topics...)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		r.note("The topic %s could not be deleted (%v): delete it yourself.", r.topics[0], err)
	}
}

// note adds a sentence to the result.
func (r *run) note(format string, args ...any) {
	r.result.Notes = append(r.result.Notes, fmt.Sprintf(format, args...))
}

// Environment is what is known of this machine.
func Environment(t Target, tool string) result.Environment {
	e := result.Environment{Tool: tool, Go: runtime.Version(), CPUs: runtime.GOMAXPROCS(0), Bootstrap: t.Bootstrap,
		BrokerPID: t.PID}
	e.Host, _ = os.Hostname() // what is not known is left out
	var uname unix.Utsname
	if unix.Uname(&uname) == nil {
		e.Kernel = unix.ByteSliceToString(uname.Release[:])
	}
	e.CPU = fieldOf("/proc/cpuinfo", "model name")
	memory := strings.TrimSuffix(fieldOf("/proc/meminfo", "MemTotal"), " kB")
	if kib, err := strconv.ParseInt(memory, 10, 64); err == nil {
		e.MemoryBytes = kib << 10
	}
	host, _, _ := net.SplitHostPort(strings.Split(t.Bootstrap, ",")[0])
	ip := net.ParseIP(host)
	e.BrokerIsSameMachine = t.PID != 0 || host == "localhost" || ip != nil && ip.IsLoopback()
	return e
}

// fieldOf is the value of a line "name : value" of a file, or empty.
func fieldOf(path, name string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// describe asks the cluster what it is. What it does not tell is left out.
func (r *run) describe() {
	ctx, cancel := context.WithTimeout(r.hard, dialWithin)
	defer cancel()
	e := &r.result.Environment
	admin := kadm.NewClient(r.admin)
	metadata, err := admin.BrokerMetadata(ctx)
	if err != nil {
		return
	}
	e.ClusterID, e.Brokers = metadata.Cluster, len(metadata.Brokers)
	if versions, err := admin.ApiVersions(ctx); err == nil {
		versions.Each(func(v kadm.BrokerApiVersions) {
			all := &kversion.Versions{}
			v.EachKeySorted(func(key, _, top int16) { all.SetMaxKeyVersion(key, top) })
			e.Software = "Apache Kafka " + all.VersionGuess()
		})
	}
	var ids []int32
	for _, b := range metadata.Brokers {
		ids = append(ids, b.NodeID)
	}
	durability := "" // as long as nobody tells
	if len(ids) > 0 {
		if configs, err := admin.DescribeBrokerConfigs(ctx, ids[0]); err == nil && len(configs) == 1 {
			for _, c := range configs[0].Configs {
				if c.Key == "spate.ack.durability" {
					e.Software, durability = "Spate", c.MaybeValue()
				}
			}
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, r.topics[0])
	if err == nil && len(configs) == 1 && configs[0].Err == nil {
		if durability == "" {
			durability = "page-cache"
		}
		own := map[string]string{}
		for _, c := range configs[0].Configs {
			if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
				own[c.Key] = c.MaybeValue()
			}
			switch {
			case c.Key == "spate.ack.durability":
				durability = c.MaybeValue()
			case c.Key == "flush.messages" && c.MaybeValue() == "1":
				durability = "flush"
			}
		}
		for _, key := range slices.Sorted(maps.Keys(own)) {
			e.Topics = append(e.Topics, result.Setting{Key: key, Value: own[key], Given: true})
		}
	}
	e.Durability = durability
}
