package spec

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"spate/bench/dist"
)

// Key is a key of a workload: a flag, and a key of a YAML file.
type Key struct {
	Name    string
	Default string // of the kind that was asked for
	Help    string
	kinds   []string // that have it; empty: all
	set     func(*Workload, string) error
}

func (k Key) has(kind string) bool { return len(k.kinds) == 0 || slices.Contains(k.kinds, kind) }

// kind is a kind of workload.
type kind struct {
	name     string
	short    string
	defaults map[string]string // where they differ from those of the keys
}

var kinds = []kind{
	{"produce", "writes as fast as the broker takes it, or at a rate", map[string]string{"linger": "5ms"}},
	{"consume", "fills a topic, then reads it as fast as the broker gives it", map[string]string{"records": "1000000",
		"duration": "0s", "linger": "5ms", "warm-up": "0s", "readers": "1"}},
	{"e2e", "writes at a fixed rate and times each record until a consumer has it", map[string]string{"rate": "1000",
		"readers": "1"}},
	{"mixed", "writes and reads at the same time, as fast as it goes or at a rate", map[string]string{"producers": "2",
		"readers": "1", "consumers": "2", "linger": "5ms"}},
	{"fan-out", "writes at a rate what many readers read, each all of it", map[string]string{"rate": "5000",
		"readers": "8"}},
	{"catch-up", "writes and reads at a rate, and halfway lets readers catch up from the start of a filled topic",
		map[string]string{"rate": "5000", "readers": "1", "records": "1000000"}},
	{"partitions", "writes and reads at a rate over many partitions", map[string]string{"rate": "5000", "topics": "10",
		"partitions": "100", "readers": "1"}},
	{"connections", "writes and reads at a rate over many connections", map[string]string{"rate": "5000",
		"producers": "200", "idle-connections": "1000", "readers": "1"}},
	{"groups", "writes at a rate what a consumer group reads, whose members come and go", map[string]string{
		"rate": "5000", "partitions": "12", "members": "6"}},
	{"transactions", "writes in transactions, of which some are aborted, for readers of what is committed",
		map[string]string{"readers": "1"}},
}

// Kinds are the names of the kinds.
func Kinds() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// Short says in a line what a kind of workload does.
func Short(name string) string {
	if k := kindOf(name); k != nil {
		return k.short
	}
	return ""
}

func kindOf(name string) *kind {
	for n := range kinds {
		if kinds[n].name == name {
			return &kinds[n]
		}
	}
	return nil
}

// Keys are the keys that a kind of workload has, with their defaults.
func Keys(name string) []Key {
	k := kindOf(name)
	var all []Key
	for _, key := range keys {
		if k != nil && key.has(name) {
			if text, is := k.defaults[key.Name]; is {
				key.Default = text
			}
			all = append(all, key)
		}
	}
	return all
}

var (
	reading = []string{"consume", "e2e", "mixed", "fan-out", "catch-up", "partitions", "connections", "transactions"}
	loading = []string{"produce", "e2e", "mixed", "fan-out", "catch-up", "partitions", "connections", "groups",
		"transactions"}
	stepping = []string{"produce", "e2e", "mixed", "fan-out", "partitions", "connections"}
)

var keys = []Key{
	{Name: "name", Help: "what to call the run in results and reports",
		set: func(w *Workload, s string) error { w.Name = s; return nil }},
	{Name: "duration", Default: "20s", Help: "how long the load lasts, without the warm-up; 0s: until --records are " +
		"written", set: duration(0, func(w *Workload) *time.Duration { return &w.Length })},
	{Name: "records", Default: "0", Help: "how many records to write, or of consume and catch-up, to fill the topic " +
		"with; 0: as many as the duration allows", set: setRecords},
	{Name: "rate", Default: "0", Help: "records a second of all producers together; 0: as fast as it goes",
		kinds: loading, set: func(w *Workload, s string) (err error) { w.Rate, err = parseRate(s); return err }},
	{Name: "warm-up", Default: "2s", Help: "load before it, which is verified and not counted",
		set: duration(0, func(w *Workload) *time.Duration { return &w.WarmUp })},
	{Name: "ramp-from", Default: "0", Help: "let the rate grow from this one to --rate over the duration",
		kinds: stepping, set: func(w *Workload, s string) (err error) { w.RampFrom, err = parseRate(s); return err }},
	{Name: "steps", Help: "rates to run one after another, such as 1000,5000,20000", kinds: stepping, set: setSteps},
	{Name: "find", Help: "search for the highest rate within a latency, such as p99<5ms or ack p99.9<20ms; begins at " +
		"--rate", kinds: stepping, set: setFind},
	{Name: "step-length", Default: "5s", Help: "how long each step, and each try of a search lasts, instead of " +
		"--duration", kinds: stepping,
		set: duration(time.Millisecond, func(w *Workload) *time.Duration { return &w.StepLength })},
	{Name: "rate-max", Default: "0", Help: "the highest rate that a search tries; 0: whatever it reaches",
		kinds: stepping, set: func(w *Workload, s string) (err error) { w.RateMax, err = parseRate(s); return err }},
	{Name: "precision", Default: "5%", Help: "how close a search comes to the answer", kinds: stepping,
		set: func(w *Workload, s string) (err error) { w.Precision, err = parseShare(s, 0.001, 1); return err }},

	{Name: "producers", Default: "1", Help: "clients that write",
		set: number(1, 10_000, func(w *Workload) *int { return &w.Producers })},
	{Name: "readers", Default: "0", Help: "how often everything is read, by each reader for itself", kinds: reading,
		set: number(1, 1000, func(w *Workload) *int { return &w.Readers })},
	{Name: "consumers", Default: "1", Help: "clients of each reader, which share the partitions", kinds: reading,
		set: number(1, 1000, func(w *Workload) *int { return &w.Consumers })},
	{Name: "catch-up-readers", Default: "1", Help: "readers that read the filled topic beside the load",
		kinds: []string{"catch-up"}, set: number(1, 100, func(w *Workload) *int { return &w.CatchUp })},
	{Name: "members", Default: "0", Help: "members of the group", kinds: []string{"groups"},
		set: number(1, 1000, func(w *Workload) *int { return &w.Members })},
	{Name: "churn", Default: "3s", Help: "how often the oldest member leaves and another one joins; 0s: never",
		kinds: []string{"groups"}, set: duration(0, func(w *Workload) *time.Duration { return &w.Churn })},
	{Name: "group-protocol", Default: "classic", Help: "classic, whose members assign, or consumer (KIP-848)",
		kinds: []string{"groups"},
		set:   oneOf(func(w *Workload) *string { return &w.GroupProtocol }, "classic", "consumer")},
	{Name: "idle-connections", Default: "0", Help: "further connections that do nothing",
		kinds: []string{"connections"}, set: number(0, 1_000_000, func(w *Workload) *int { return &w.Idle })},
	{Name: "txn-records", Default: "100", Help: "records of a transaction", kinds: []string{"transactions"},
		set: number(1, 1_000_000, func(w *Workload) *int { return &w.TxnRecords })},
	{Name: "abort", Default: "10%", Help: "share of the transactions that is aborted", kinds: []string{"transactions"},
		set: func(w *Workload, s string) (err error) { w.AbortShare, err = parseShare(s, 0, 0.99); return err }},

	{Name: "record-size", Default: "1KiB", Help: "bytes of a value: 1KiB, uniform:100-2000, normal:1000,200, " +
		"lognormal:1000,0.5 or 90%:100,10%:64KiB",
		set: func(w *Workload, s string) (err error) { w.Sizes, err = dist.ParseSizes(s); return err }},
	{Name: "keys", Default: "none", Help: "keys of records: none, 1000 (each as often), zipf:1000,1.1 or " +
		"hot:1000,1%,90%; a key decides the partition",
		set: func(w *Workload, s string) (err error) { w.Keys, err = dist.ParseKeys(s); return err }},
	{Name: "compression", Default: "none", Help: "none, gzip, snappy, lz4 or zstd",
		set: oneOf(func(w *Workload) *string { return &w.Compression }, "none", "gzip", "snappy", "lz4", "zstd")},
	{Name: "compressible", Default: "0%", Help: "share of a value that repeats itself, for compression",
		set: func(w *Workload, s string) (err error) { w.Compress, err = parseShare(s, 0, 1); return err }},
	{Name: "acks", Default: "all", Help: "all, 1 or 0",
		kinds: slices.DeleteFunc(Kinds(), func(k string) bool { return k == "transactions" }),
		set:   oneOf(func(w *Workload) *string { return &w.Acks }, "all", "1", "0")},
	{Name: "idempotent", Default: "true", Help: "producers write each record once, also when they send it again",
		kinds: slices.DeleteFunc(Kinds(), func(k string) bool { return k == "transactions" }),
		set:   truth(func(w *Workload) *bool { return &w.Idempotent })},
	{Name: "linger", Default: "0s", Help: "how long a producer waits for a batch to fill",
		set: duration(0, func(w *Workload) *time.Duration { return &w.Linger })},
	{Name: "in-flight", Default: "65536", Help: "records that a producer has on their way at most; 1: it waits for " +
		"each acknowledgement", kinds: slices.DeleteFunc(Kinds(), func(k string) bool { return k == "transactions" }),
		set: number(1, 10_000_000, func(w *Workload) *int { return &w.InFlight })},
	{Name: "batch-size", Default: "1MB", Help: "the largest batch, before compression", set: setBatch},

	{Name: "topic", Help: "its name; by default one is made up. It is made before the run and deleted afterwards",
		set: setTopic},
	{Name: "topics", Default: "1", Help: "how many topics; the names end in -0, -1, ...",
		set: number(1, 10_000, func(w *Workload) *int { return &w.Topics })},
	{Name: "partitions", Default: "6", Help: "partitions of each topic",
		set: number(1, 100_000, func(w *Workload) *int { return &w.Partitions })},
	{Name: "replication-factor", Default: "-1", Help: "replicas of each partition; -1: the broker's default",
		set: setReplication},
	{Name: "topic-config", Help: "configs of the topic, such as segment.bytes=104857600,flush.messages=1",
		set: setConfigs},
	{Name: "keep-topic", Default: "false", Help: "do not delete the topic afterwards",
		set: truth(func(w *Workload) *bool { return &w.KeepTopic })},
	{Name: "reuse-topic", Default: "false", Help: "write into a topic that is there, and do not delete it",
		set: truth(func(w *Workload) *bool { return &w.ReuseTopic })},
	{Name: "verify", Default: "true", Help: "check that everything arrives once, in order and unchanged",
		set: truth(func(w *Workload) *bool { return &w.Verify })},
	{Name: "drain", Default: "30s", Help: "how long to wait at the end for records that are on their way",
		set: duration(0, func(w *Workload) *time.Duration { return &w.Drain })},
	{Name: "seed", Default: "1", Help: "of sizes, keys and bytes: the same seed draws the same records",
		set: func(w *Workload, s string) (err error) {
			if w.Seed, err = strconv.ParseUint(s, 10, 64); err != nil {
				err = fmt.Errorf("%q is no number of at least 0", s)
			}
			return err
		}},
}

// rateMax bounds a rate: two records a nanosecond are nonsense.
const rateMax = 1e9

func parseRate(text string) (float64, error) {
	number, factor := text, 1.0
	if cut, is := strings.CutSuffix(text, "k"); is {
		number, factor = cut, 1000
	}
	if text == "max" {
		return 0, nil
	}
	rate, err := strconv.ParseFloat(strings.TrimSuffix(number, "/s"), 64)
	if err != nil || !(rate >= 0) || rate*factor > rateMax {
		return 0, fmt.Errorf("%q is no rate, such as 5000 or 20k records a second", text)
	}
	return rate * factor, nil
}

func parseShare(text string, low, high float64) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= low) || share > high {
		return 0, fmt.Errorf("%q must be a share from %g%% to %g%%", text, low*100, high*100)
	}
	return share, nil
}

func setRecords(w *Workload, text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number of at least 0", text)
	}
	if w.Records = n; n == 0 && w.Fills() {
		return errors.New("there must be something to read")
	}
	return nil
}

func setSteps(w *Workload, text string) error {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		rate, err := parseRate(strings.TrimSpace(part))
		if err != nil {
			return err
		}
		if rate == 0 {
			return fmt.Errorf("%q: a step has a rate of more than 0", part)
		}
		w.Steps = append(w.Steps, rate)
	}
	return nil
}

func setFind(w *Workload, text string) (err error) {
	if text != "" {
		w.Find, err = ParseObjective(text)
	}
	return err
}

func setBatch(w *Workload, text string) (err error) {
	if w.BatchBytes, err = dist.ParseBytes(text); err == nil && w.BatchBytes < 1 {
		err = errors.New("must be more than 0")
	}
	return err
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func setTopic(w *Workload, text string) error {
	if w.Topic = text; text != "" && (!topicName.MatchString(text) || text == "." || text == "..") {
		return fmt.Errorf("%q is no name of a topic: up to 249 of a-z, A-Z, 0-9, '.', '_' and '-'", text)
	}
	return nil
}

func setReplication(w *Workload, text string) error {
	n, err := strconv.ParseInt(text, 10, 16)
	if err != nil || n < -1 || n == 0 {
		return fmt.Errorf("%q must be a number of at least 1, or -1", text)
	}
	w.Replication = int16(n)
	return nil
}

// setConfigs reads pairs; a comma without a pair behind it is part of a value, such as compact,delete.
func setConfigs(w *Workload, text string) error {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, pair := strings.Cut(part, "=")
		last := len(w.Configs) - 1
		switch {
		case pair:
			w.Configs = append(w.Configs, [2]string{strings.TrimSpace(key), strings.TrimSpace(value)})
		case last >= 0:
			w.Configs[last][1] += "," + strings.TrimSpace(part)
		default:
			return fmt.Errorf("%q: want name=value", part)
		}
	}
	return nil
}

func duration(least time.Duration, field func(*Workload) *time.Duration) func(*Workload, string) error {
	return func(w *Workload, text string) error {
		d, err := time.ParseDuration(text)
		if text == "0" {
			d, err = 0, nil
		}
		if err != nil || d < least || d > math.MaxInt64/4 {
			return fmt.Errorf("%q is no duration, such as 500ms, 30s or 5m", text)
		}
		*field(w) = d
		return nil
	}
}

func number(low, high int, field func(*Workload) *int) func(*Workload, string) error {
	return func(w *Workload, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q must be a number from %d to %d", text, low, high)
		}
		*field(w) = n
		return nil
	}
}

func truth(field func(*Workload) *bool) func(*Workload, string) error {
	return func(w *Workload, text string) error {
		if text != "true" && text != "false" {
			return fmt.Errorf("%q must be true or false", text)
		}
		*field(w) = text == "true"
		return nil
	}
}

func oneOf(field func(*Workload) *string, values ...string) func(*Workload, string) error {
	return func(w *Workload, text string) error {
		if !slices.Contains(values, text) {
			return fmt.Errorf("%q must be %s or %s", text, strings.Join(values[:len(values)-1], ", "),
				values[len(values)-1])
		}
		*field(w) = text
		return nil
	}
}
