package txn

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"spate/coordinator"
	"spate/coordinator/txn/record"
	"spate/kafka"
)

// Goal: what each command and timer does can be read aloud. Method: stories in testdata, run with -rewrite after a
// change that is meant. A story is the life of one shard; each step prints records, replies and tasks.
//
//	version 0                                     of transactions, in the cluster: 2 at first
//	init t [timeout=1m] [producer=1000/0]
//	add t producer=1000/0 a-0 a-1 [client=2] [verify] [wait=100ms]
//	commit t producer=1000/0 [client=2]           or abort
//	written t [a-0=NOT_LEADER_OR_FOLLOWER]        markers are written, but for those named; or a producer id is there
//	late                                          the last answer about markers comes once more
//	epoch t 32766                                 as if so many had been used
//	describe t | list [state=Empty] [producer=1000] [duration=1s] [match=t]
//	wait 10s                                      timers fire
//	full 1                                        so many outcomes are refused for want of room
//	restart                                       the shard is built from its records
func TestStories(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		s := &story{world: newWorld(testOptions())}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.step(t, d)
			if got, want := s.replayed(), s.shard.state(); got != want {
				t.Errorf("%s: replayed:\n%s\nlive:\n%s", d.Pos, got, want)
			}
			return s.take()
		})
	}
}

type story struct {
	*world
	late Markers
}

// words splits the arguments of a step into those with a value and the others.
func words(d *datadriven.TestData) (plain []string, named map[string]string) {
	named = map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			plain = append(plain, a.Key)
		} else {
			named[a.Key] = a.Vals[0]
		}
	}
	return plain, named
}

func (s *story) step(t *testing.T, d *datadriven.TestData) {
	plain, named := words(d)
	id := ""
	if len(plain) > 0 {
		id, plain = strings.Trim(plain[0], `"`), plain[1:]
	}
	switch d.Cmd {
	case "version":
		s.options.Version = int16(number(t, id))
		s.tell(Version{Level: s.options.Version})
	case "init":
		s.init(t, id, named)
	case "add":
		s.add(t, id, plain, named)
	case "commit", "abort":
		producer, epoch := producerOf(t, named)
		s.ask(id, func(fresh kafka.ProducerID) any {
			return EndTxn{ProducerID: producer, Epoch: epoch, Commit: d.Cmd == "commit", Fresh: fresh,
				ClientVersion: int16(number(t, named["client"]))}
		})
	case "written":
		s.written(t, id, named)
	case "late":
		s.tell(Command{ID: s.late.Asked.ID, Body: s.late})
	case "epoch":
		next := *s.shard.ids[id].Transaction
		next.Epoch, next.LastEpoch = kafka.ProducerEpoch(number(t, plain[0])), kafka.NoProducerEpoch
		s.follow(coordinator.Outcome{Records: []coordinator.Record{&next}})
	case "describe":
		s.ask(id, func(kafka.ProducerID) any { return Describe{} })
	case "list":
		s.list(t, named)
	case "wait":
		d, err := time.ParseDuration(id)
		if err != nil {
			t.Fatal(err)
		}
		s.wait(d)
	case "full":
		s.refuse = number(t, id)
	case "restart":
		s.load()
	default:
		t.Fatalf("%s: unknown step %q", d.Pos, d.Cmd)
	}
}

func (s *story) init(t *testing.T, id string, named map[string]string) {
	cmd := InitProducerID{TimeoutMs: 60_000}
	if text := named["timeout"]; text != "" {
		timeout, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		cmd.TimeoutMs = int32(timeout.Milliseconds())
	}
	cmd.ProducerID, cmd.Epoch = producerOf(t, named)
	s.ask(id, func(fresh kafka.ProducerID) any {
		cmd.Fresh = fresh
		return cmd
	})
}

func (s *story) add(t *testing.T, id string, plain []string, named map[string]string) {
	cmd := AddPartitions{ClientVersion: int16(number(t, named["client"]))}
	cmd.ProducerID, cmd.Epoch = producerOf(t, named)
	if text := named["wait"]; text != "" {
		wait, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Wait = wait
	}
	for _, word := range plain {
		if word == "verify" {
			cmd.VerifyOnly = true
			continue
		}
		at := strings.LastIndexByte(word, '-')
		p := kafka.PartitionIndex(number(t, word[at+1:]))
		cmd.Partitions = append(cmd.Partitions, kafka.TopicPartition{Topic: word[:at], Partition: p})
	}
	s.ask(id, func(kafka.ProducerID) any { return cmd })
}

func (s *story) written(t *testing.T, id string, named map[string]string) {
	failed := map[string]error{}
	for p, name := range named {
		for code := int16(-1); code < 200; code++ {
			if err := kafka.ErrorOf(code); err != nil && nameOf(err) == name {
				failed[p] = err
			}
		}
	}
	for _, task := range s.tasks {
		if asked, ok := task.(WriteMarkers); ok && asked.ID == id {
			s.late = Markers{Asked: asked, Errs: make([]error, len(asked.Partitions))}
			break
		}
	}
	if !s.answer(id, failed) {
		t.Fatalf("nothing is to be done for %s", id)
	}
}

func (s *story) list(t *testing.T, named map[string]string) {
	list := List{AllStates: true, DurationMs: -1}
	for key, value := range named {
		switch key {
		case "state":
			state, ok := record.StateNamed(value)
			list.AllStates = false
			if ok {
				list.States = append(list.States, state)
			}
		case "producer":
			list.ProducerIDs = append(list.ProducerIDs, kafka.ProducerID(number(t, value)))
		case "duration":
			d, _ := time.ParseDuration(value)
			list.DurationMs = d.Milliseconds()
		case "match":
			list.Matches = func(id string) bool { return id == value }
		}
	}
	s.token++
	s.follow(s.shard.Decide(s.now, s.token, list))
}

func producerOf(t *testing.T, named map[string]string) (kafka.ProducerID, kafka.ProducerEpoch) {
	text := named["producer"]
	if text == "" {
		return kafka.NoProducerID, kafka.NoProducerEpoch
	}
	id, epoch, _ := strings.Cut(text, "/")
	return kafka.ProducerID(number(t, id)), kafka.ProducerEpoch(number(t, epoch))
}

func number(t *testing.T, text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
