package compat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transformed is how many records each library copies.
const transformed = 300

// transactionLibraries are the libraries with transactions, and what a copying member of each is started with.
var transactionLibraries = map[string]func(address, id string) map[string]any{
	"java": func(address, id string) map[string]any {
		return map[string]any{"config": map[string]any{"isolation.level": "read_committed", "max.poll.records": 50},
			"producer": map[string]any{"bootstrap.servers": address, "transactional.id": id}}
	},
	"confluent": func(address, id string) map[string]any {
		return map[string]any{"config": map[string]any{},
			"producer": map[string]any{"bootstrap.servers": address, "transactional.id": id, "linger.ms": 5}}
	},
	"franz": func(_, id string) map[string]any { return map[string]any{"config": map[string]any{}, "id": id} },
}

// clientTransactions is a run of TestTransactionsOfClients.
type clientTransactions struct {
	*testing.T
	target *target
	admin  *kadm.Client
	hosts  map[string]*host

	mu    sync.Mutex
	ended int
	read  map[string][]string // values by the library that read them
}

// TestTransactionsOfClients has three libraries copy a topic, in transactions that commit the offsets of their groups
// too. As many transactions are aborted, also with offsets. Then the broker is killed. Each library reads what every
// one has committed, each record once and nothing besides, and the groups are where the commits left them.
func TestTransactionsOfClients(t *testing.T) {
	t.Parallel()
	settings := patientSettings()
	settings["transaction.state.log.num.partitions"] = "5"
	r := &clientTransactions{
		T: t, target: startTarget(t, settings), hosts: map[string]*host{}, read: map[string][]string{},
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap), kgo.DefaultProduceTopic("orders"))
	r.must(err)
	defer client.Close()
	r.admin = adminOf(client)
	_, err = r.admin.CreateTopic(t.Context(), 3, 1, nil, "orders")
	r.must(err)
	_, err = r.admin.CreateTopic(t.Context(), 3, 1, nil, "copies")
	r.must(err)
	var records []*kgo.Record
	for n := range transformed {
		records = append(records, &kgo.Record{Key: fmt.Append(nil, n), Value: fmt.Append(nil, n)})
	}
	r.must(client.ProduceSync(t.Context(), records...).FirstErr())

	r.copyAll()
	r.groupsAtEnd()
	r.must(r.target.restart())
	r.groupsAtEnd()
	r.readAll()
	r.abortedAreThere()
}

func (r *clientTransactions) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *clientTransactions) await(what string, ready func() bool) {
	r.Helper()
	deadline := time.Now().Add(awaitWithin)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		r.mu.Lock()
		isReady := ready()
		r.mu.Unlock()
		if isReady {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("waiting for %s: %d ended, read %d", what, r.ended, len(r.read))
		}
	}
}

// start runs a command in the host of a library. What is read counts for the member's name.
func (r *clientTransactions) start(name, group string, command, more map[string]any) {
	r.Helper()
	if r.hosts[name] == nil {
		cmd, err := libraryNamed(name).host()
		r.must(err)
		r.hosts[name] = startHost(r.T, cmd, r.heard)
	}
	config := libraryNamed(name).config(&memberOptions{
		bootstrap: r.target.bootstrap, group: group, protocol: "consumer", clientID: name,
	})
	for key, value := range more {
		config[key] = value
	}
	command["member"], command["config"] = name, config
	r.hosts[name].send(r.T, command)
}

func (r *clientTransactions) heard(member string, e *memberEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Name {
	case "record_data":
		r.read[member] = append(r.read[member], e.Value)
	case "shutdown_complete":
		r.ended++
	}
}

// copyAll has all libraries copy at the same time.
func (r *clientTransactions) copyAll() {
	r.Helper()
	for name, settings := range transactionLibraries {
		command := settings(r.target.bootstrap, "copies-of-"+name)
		more := command["config"].(map[string]any)
		command["op"], command["topic"], command["to"], command["count"] = "transform", "orders", "copies", transformed
		r.start(name, name, command, more)
	}
	r.await("the copies", func() bool { return r.ended == len(transactionLibraries) })
}

// groupsAtEnd looks at the offsets that the transactions have committed. What a marker is still on its way for is
// waited for.
func (r *clientTransactions) groupsAtEnd() {
	r.Helper()
	ctx, cancel := context.WithTimeout(kadm.RequireStable(r.Context()), awaitWithin)
	defer cancel()
	ends, err := r.admin.ListEndOffsets(ctx, "orders")
	r.must(err)
	for name := range transactionLibraries {
		var at kadm.OffsetResponses
		err := waitFor(ctx, func() (stable bool, err error) {
			at, err = r.admin.FetchOffsets(ctx, name)
			return !errors.Is(at.Error(), kerr.UnstableOffsetCommit), err
		})
		r.must(err)
		ends.Each(func(end kadm.ListedOffset) {
			if o, _ := at.Lookup("orders", end.Partition); o.At != end.Offset {
				r.Errorf("group %s is at %d of partition %d, which ends at %d", name, o.At, end.Partition, end.Offset)
			}
		})
	}
}

// readAll has every library read what all have committed.
func (r *clientTransactions) readAll() {
	r.Helper()
	var want []string
	for name := range transactionLibraries {
		for n := range transformed {
			want = append(want, fmt.Sprintf("committed %s %d", name, n))
		}
	}
	slices.Sort(want)
	committed := map[string]map[string]any{
		"java": {"isolation.level": "read_committed"}, "confluent": {"isolation.level": "read_committed"},
		"franz": {"committed": true},
	}
	for name := range transactionLibraries {
		r.start(name, "readers-"+name, map[string]any{"op": "start", "topic": "copies"}, committed[name])
	}
	for name := range transactionLibraries {
		r.await(name+" to read", func() bool { return len(r.read[name]) >= len(want) })
		r.hosts[name].send(r.T, map[string]any{"op": "stop", "member": name})
	}
	r.await("the readers' end", func() bool { return r.ended == 2*len(transactionLibraries) })
	for name, got := range r.read {
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			r.Errorf("what %s has read:\n%s", name, diff)
		}
	}
}

// abortedAreThere reads the records that nobody has seen, so that their absence means something.
func (r *clientTransactions) abortedAreThere() {
	r.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.target.bootstrap), kgo.ConsumeTopics("copies"))
	r.must(err)
	defer client.Close()
	counts := map[string]int{}
	all := func() bool {
		for name := range transactionLibraries {
			if counts["committed "+name] < transformed || counts["aborted "+name] < transformed {
				return false
			}
		}
		return true
	}
	for !all() {
		fetches := client.PollFetches(r.Context())
		r.must(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			value := string(record.Value)
			counts[value[:strings.LastIndexByte(value, ' ')]]++
		})
	}
	r.Logf("%v", counts)
}
