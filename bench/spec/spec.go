// Package spec is what a workload is to do: its kind and its keys, read from flags or from a YAML file, whose keys are
// the names of the flags. An error names the key that is wrong, and what it may be. It is pure.
//
//tidy:pure
package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"spate/bench/dist"
	"spate/bench/verify"
	"spate/internal/spelling"
)

// Workload is a workload whose keys are checked.
type Workload struct {
	Kind string
	Name string // of the run

	Topic       string // empty: one is made up
	Topics      int    // of more than one, the names end in -0, -1, ...
	Partitions  int    // of each topic
	Replication int16  // -1: as the broker likes
	Configs     [][2]string
	KeepTopic   bool // it is not deleted afterwards
	ReuseTopic  bool // one that is there is written into, and not deleted

	Length     time.Duration // of the load, where Records does not bound it
	Records    int64         // to write; 0: as many as Length allows. Of workloads that read first: to fill with
	WarmUp     time.Duration // load that is not counted
	Rate       float64       // records a second of all producers; 0: as fast as it goes
	RampFrom   float64       // the rate grows from here to Rate; 0: it does not
	Steps      []float64     // rates, one after another
	StepLength time.Duration // of each step, and each try of a search
	Find       *Objective    // nil: nothing is searched for
	RateMax    float64       // of a search; 0: whatever is reached
	Precision  float64       // of a search, as a share

	Producers int // clients that write
	Readers   int // that read everything, each for itself
	Consumers int // clients of each reader, which share the partitions
	CatchUp   int // readers that begin at the start, beside the load
	Members   int // of the group
	Churn     time.Duration
	// GroupProtocol is classic or consumer.
	GroupProtocol string
	Idle          int // connections that do nothing
	TxnRecords    int // of a transaction
	AbortShare    float64
	Sizes         dist.Sizes // of values
	Keys          dist.Keys
	Compress      float64 // share of a value that compresses
	Compression   string
	Acks          string // all, 1, 0
	Idempotent    bool
	Linger        time.Duration
	BatchBytes    int
	InFlight      int // records of a producer
	Verify        bool
	Drain         time.Duration // how long to wait for what is on its way
	Seed          uint64

	values map[string]string
	given  map[string]bool
}

// Value is a key's value as text, and whether the user gave it.
func (w Workload) Value(key string) (text string, given bool) { return w.values[key], w.given[key] }

// Reads reports whether anybody reads beside the load.
func (w Workload) Reads() bool { return w.Readers > 0 || w.Members > 0 }

// Parse makes a workload of a kind from the keys that were given; the others have their defaults.
func Parse(kind string, given map[string]string) (Workload, error) {
	k := kindOf(kind)
	if k == nil {
		return Workload{}, fmt.Errorf("workload %q: there are %s", kind, strings.Join(Kinds(), ", "))
	}
	w := Workload{Kind: kind, values: map[string]string{}, given: map[string]bool{}}
	var wrong []error
	for _, name := range sorted(given) {
		if err := known(k, name); err != nil {
			wrong = append(wrong, err)
		}
	}
	for _, key := range Keys(kind) {
		text, is := given[key.Name]
		if !is {
			text = key.Default
		}
		w.values[key.Name], w.given[key.Name] = text, is
		if err := key.set(&w, strings.TrimSpace(text)); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", key.Name, err))
		}
	}
	if len(wrong) == 0 {
		wrong = append(wrong, w.check())
	}
	if err := errors.Join(wrong...); err != nil {
		return Workload{}, err
	}
	if w.Name == "" {
		w.Name = kind
		w.values["name"] = kind
	}
	return w, nil
}

// known says where a key that a workload does not have would be right.
func known(k *kind, name string) error {
	var others []string
	for _, key := range keys {
		if key.Name == name && key.has(k.name) {
			return nil
		}
		if key.Name == name {
			others = key.kinds
		}
	}
	if others != nil {
		return fmt.Errorf("%s: the workload %s has no such key; it is one of %s", name, k.name,
			strings.Join(others, ", "))
	}
	var names []string
	for _, key := range Keys(k.name) {
		names = append(names, key.Name)
	}
	if near := spelling.Nearest(name, names, 2); near != "" {
		return fmt.Errorf("%s: there is no such key; did you mean %s?", name, near)
	}
	return fmt.Errorf("%s: there is no such key", name)
}

// check looks at what keys say together.
func (w *Workload) check() error {
	loads := 0
	for _, asked := range []bool{w.given["ramp-from"] && w.RampFrom > 0, len(w.Steps) > 0, w.Find != nil} {
		if asked {
			loads++
		}
	}
	reads := w.Reads()
	switch {
	case loads > 1:
		return errors.New("ramp-from, steps, find: a run does one of them")
	case w.RampFrom > 0 && w.Rate == 0:
		return errors.New("rate: a ramp needs the rate at which it ends")
	case w.Find != nil && w.Rate == 0:
		return errors.New("rate: a search needs the rate at which it begins")
	case w.Find != nil && w.Find.Latency == "endToEnd" && !reads:
		return fmt.Errorf("find: the workload %s has nobody who reads; use ack %s", w.Kind, w.Find.Text())
	case (w.Records > 0 || w.given["duration"]) && (len(w.Steps) > 0 || w.Find != nil):
		return errors.New("duration, records: steps and searches go by step-length")
	case w.given["rate"] && len(w.Steps) > 0:
		return errors.New("rate: steps are the rates")
	case w.Length == 0 && w.Kind == "catch-up":
		return errors.New("duration: must be more than 0: readers begin halfway")
	case w.Length == 0 && w.Records == 0:
		return errors.New("duration, records: one of them must be more than 0")
	case w.Sizes.Max() < verify.StampBytes:
		return fmt.Errorf("record-size: must be at least %d: a value says who wrote it, and when it was due",
			verify.StampBytes)
	case w.Sizes.Max() > dist.SizeMax:
		return fmt.Errorf("record-size: must be at most %d MiB", dist.SizeMax>>20)
	case w.Idempotent && w.Acks != "all":
		return fmt.Errorf("acks: %s cannot be idempotent; add idempotent=false, or leave acks at all", w.Acks)
	case w.Acks == "0" && w.Find != nil && w.Find.Latency == "ack":
		return errors.New("find: with acks=0 nothing is acknowledged")
	}
	if err := w.idle(); err != nil {
		return err
	}
	if w.Find != nil && w.Find.Latency == "" {
		w.Find.Latency = "ack"
		if reads {
			w.Find.Latency = "endToEnd"
		}
	}
	return nil
}

// idle looks for keys that were changed and that would do nothing beside the others. One that has its default is right:
// so it stands among the settings of a run.
func (w *Workload) idle() error {
	stepped := len(w.Steps) > 0 || w.Find != nil
	for _, c := range []struct {
		key  string
		does bool
		why  string
	}{
		{"step-length", stepped, "is of steps and of a search (find), and there is neither; duration is of the load"},
		{"rate-max", w.Find != nil, "is of a search (find), and there is none"},
		{"precision", w.Find != nil, "is of a search (find), and there is none"},
		{"warm-up", w.Kind != "consume", "consume reads each record once, and all of them count"},
		{"consumers", w.Consumers <= w.Topics*w.Partitions, fmt.Sprintf("there are %d partitions in all, and a client "+
			"of a reader has one at least", w.Topics*w.Partitions)},
		{"reuse-topic", w.Topic != "", "topic says which one"},
	} {
		if !c.does && w.isChanged(c.key) {
			return fmt.Errorf("%s: %s", c.key, c.why)
		}
	}
	return nil
}

// isChanged reports whether a key has another value than by default.
func (w *Workload) isChanged(name string) bool {
	return slices.ContainsFunc(Keys(w.Kind), func(k Key) bool {
		return k.Name == name && k.Default != strings.TrimSpace(w.values[name])
	})
}

// Fills reports whether the topic is filled before the load.
func (w Workload) Fills() bool { return w.Kind == "consume" || w.Kind == "catch-up" }

// Settings are all keys with their values, in the order of the help.
func (w Workload) Settings() []Key {
	settings := Keys(w.Kind)
	for n := range settings {
		settings[n].Default = w.values[settings[n].Name]
	}
	return settings
}

func sorted(m map[string]string) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
