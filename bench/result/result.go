// Package result is what a run of a workload found out: one Result a run, written as JSON and read back by whatever
// makes a report of it or compares it with others. It holds values only: it measures nothing, and opens no file and no
// socket. A field that was not measured is left out of the JSON. Names end in their unit.
package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Format is the version of the JSON. It grows when a field changes its meaning or goes; new fields leave it as it is.
const Format = 1

// Result is one run of one workload against one cluster.
type Result struct {
	Format   int    `json:"format"`
	Name     string `json:"name"`     // of the run, as the user calls it; by default that of the workload
	Workload string `json:"workload"` // produce, e2e, ...: a kind of package bench/spec
	// Began is when the load began, after the preparations and before the warm-up.
	Began       time.Time `json:"began"`
	LoadSeconds float64   `json:"loadSeconds"`           // of what is counted, without the warm-up
	Interrupted bool      `json:"interrupted,omitempty"` // by Ctrl-C: what follows is what was found until then

	Settings    []Setting   `json:"settings"` // of the workload: every key that it has, in the order of its help
	Environment Environment `json:"environment"`
	Totals      Totals      `json:"totals"`
	// Latencies are those of the whole run, without the warm-up. See the constants that name them.
	Latencies map[string]*Histogram `json:"latencies,omitempty"`
	// Steps are the parts of a run at different rates, in the order in which they ran: of a search, ramp or steps.
	Steps        []Step       `json:"steps,omitempty"`
	Search       *Search      `json:"search,omitempty"`
	Verification Verification `json:"verification"`
	Errors       []ErrorCount `json:"errors,omitempty"` // by what they say, the most frequent ones first
	Seconds      []Second     `json:"seconds"`
	// Notes are what a reader should know before believing the numbers, such as a load generator that ran out of
	// processor time, or a rate that was not reached. Whole sentences.
	Notes []string `json:"notes,omitempty"`
}

// The latencies that a result may have.
const (
	// LatencyAck is from the moment a record was due to be sent, or of a load without a rate was handed to the client,
	// until its acknowledgement.
	LatencyAck = "ack"
	// LatencyEndToEnd is from that same moment until a consumer has the record.
	LatencyEndToEnd = "endToEnd"
	// LatencyCommit is that of the end of a transaction: from the call until it is committed.
	LatencyCommit = "commit"
	// LatencyRebalance is how long a partition had no owner when members of a group came and went: from the moment
	// that it was taken from one until another one has it.
	LatencyRebalance = "rebalance"
)

// LatencyNames are the latencies in the order in which they are shown.
var LatencyNames = []string{LatencyAck, LatencyEndToEnd, LatencyCommit, LatencyRebalance}

// Setting is a key of the workload and its value, as a flag or a YAML file would have it.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Given bool   `json:"given,omitempty"` // by the user; the others are defaults
}

// Environment is where a run took place.
type Environment struct {
	Tool        string `json:"tool"` // version of spate
	Go          string `json:"go"`
	Host        string `json:"host,omitempty"`
	Kernel      string `json:"kernel,omitempty"`
	CPU         string `json:"cpu,omitempty"` // model
	CPUs        int    `json:"cpus"`          // that the tool may use
	MemoryBytes int64  `json:"memoryBytes,omitempty"`
	// Bootstrap is the address as it was given.
	Bootstrap string `json:"bootstrap"`
	ClusterID string `json:"clusterId,omitempty"`
	Brokers   int    `json:"brokers,omitempty"`
	// Software is what the broker seems to be, such as "Spate v1.2" or "Apache Kafka v4.0" (guessed from its APIs).
	Software string `json:"software,omitempty"`
	// Durability is what an acknowledgement means, as far as the cluster tells: flush (to disk) or page-cache.
	Durability string `json:"durability,omitempty"`
	// BrokerPID is the broker's process, where it runs on this machine: its processor time and memory are measured.
	BrokerPID int `json:"brokerPid,omitempty"`
	// BrokerIsSameMachine: the load generator takes processor time from the broker that it measures.
	BrokerIsSameMachine bool      `json:"brokerIsSameMachine,omitempty"`
	Topics              []Setting `json:"topicConfigs,omitempty"` // configs of the topics that are not the default
}

// Totals are the sums over all that is counted, without the warm-up.
type Totals struct {
	Produced Flow `json:"produced"` // acknowledged
	Consumed Flow `json:"consumed"` // by all consumers together
	// Errors are records that could not be written and polls that failed.
	Errors int64 `json:"errors"`
	// RateTarget is the rate asked for, records a second; 0: as fast as it goes.
	RateTarget float64 `json:"rateTarget,omitempty"`
	// BehindSeconds is how late records were sent at worst, as the broker or this tool did not keep up with the rate.
	BehindSeconds float64 `json:"behindSeconds"`
	// Transactions were committed and aborted, in workloads that have them.
	Committed int64 `json:"transactionsCommitted,omitempty"`
	Aborted   int64 `json:"transactionsAborted,omitempty"`
	// Rebalances are how often a member left a group and another one joined; PartitionMoves how often a partition was
	// given to a member.
	Rebalances     int64   `json:"rebalances,omitempty"`
	PartitionMoves int64   `json:"partitionMoves,omitempty"`
	Broker         *Usage  `json:"broker,omitempty"` // with the process id of a broker on this machine
	Client         *Usage  `json:"client,omitempty"` // this tool itself
	Elapsed        float64 `json:"elapsedSeconds"`   // from the start of what is counted until the last record was done
}

// Flow is how much went one way. Its rates are those until the last record was acknowledged or read; what is produced
// at a given rate counts until the last record was sent, as the time that it took from there is in the latencies.
type Flow struct {
	Records          int64   `json:"records"`
	Bytes            int64   `json:"bytes"` // of record keys and values, before compression
	RecordsPerSecond float64 `json:"recordsPerSecond"`
	BytesPerSecond   float64 `json:"bytesPerSecond"`
}

// Usage is what a process used.
type Usage struct {
	UserSeconds   float64 `json:"userSeconds"`
	SystemSeconds float64 `json:"systemSeconds"`
	// CPUSecondsPerGB is for each 10^9 bytes that were produced or, where nothing was, consumed.
	CPUSecondsPerGB    float64 `json:"cpuSecondsPerGB,omitempty"`
	CPUMicrosPerRecord float64 `json:"cpuMicrosPerRecord,omitempty"` // likewise
	// MemoryBytesMax is the most resident memory that is not page cache (RssAnon) in any second.
	MemoryBytesMax int64 `json:"memoryBytesMax"`
}

// CPUSeconds is the processor time in both modes.
func (u Usage) CPUSeconds() float64 { return u.UserSeconds + u.SystemSeconds }

// Second is about a second of the run. The warm-up is part of the series, and marked.
type Second struct {
	AtSeconds float64 `json:"at"`               // its end, since Began
	Length    float64 `json:"length"`           // in seconds: rates are counts divided by it
	Phase     string  `json:"phase"`            // see the constants
	Step      int     `json:"step,omitempty"`   // of Result.Steps, from 1
	Target    float64 `json:"target,omitempty"` // rate asked for, records a second; 0: as fast as it goes

	ProducedRecords int64 `json:"producedRecords"`
	ProducedBytes   int64 `json:"producedBytes"`
	ConsumedRecords int64 `json:"consumedRecords"`
	ConsumedBytes   int64 `json:"consumedBytes"`
	Errors          int64 `json:"errors,omitempty"`
	// Latencies of what ended in this second, by the names of Result.Latencies.
	Latencies map[string]Percentiles `json:"latencies,omitempty"`
	// LagRecords are acknowledged and not yet consumed, by the consumer that is furthest behind.
	LagRecords *int64 `json:"lagRecords,omitempty"`
	// BehindSeconds is how late the last record was sent.
	BehindSeconds float64 `json:"behindSeconds,omitempty"`
	// The cores that were busy (1.0 is one core; 0 where the second is too short to tell) and the memory that is not
	// page cache.
	BrokerUserCores   *float64 `json:"brokerUserCores,omitempty"`
	BrokerSystemCores *float64 `json:"brokerSystemCores,omitempty"`
	BrokerMemoryBytes *int64   `json:"brokerMemoryBytes,omitempty"`
	ClientCores       float64  `json:"clientCores"`
	ClientMemoryBytes int64    `json:"clientMemoryBytes"`
}

// The phases of a run, in their order. Only those from warm-up to drain are in Result.Seconds.
const (
	PhasePrepare = "prepare"  // makes the topic, connects
	PhaseFill    = "fill"     // writes what is to be read
	PhaseWarmUp  = "warm-up"  // load that is not counted
	PhaseLoad    = "load"     // load that is counted
	PhaseDrain   = "drain"    // nothing is sent any more; what is on its way arrives
	PhaseVerify  = "verify"   // reads back what nobody has consumed
	PhaseCleanUp = "clean-up" // deletes the topic
)

// Step is a part of a run at one rate.
type Step struct {
	Name     string  `json:"name,omitempty"` // of catch-up: what ran beside the load
	Rate     float64 `json:"rate"`           // asked for, records a second; of a ramp its end
	Achieved float64 `json:"achieved"`       // acknowledged a second
	Seconds  float64 `json:"seconds"`
	// Latencies of this step.
	Latencies map[string]Percentiles `json:"latencies"`
	// BehindSeconds is how late the last record of the step was sent.
	BehindSeconds float64 `json:"behindSeconds"`
	Met           *bool   `json:"met,omitempty"` // the objective of a search
	Why           string  `json:"why,omitempty"` // it was not met
}

// Search is the outcome of a search for the highest rate within an objective.
type Search struct {
	Objective string  `json:"objective"` // such as "endToEnd p99<5ms"
	Rate      float64 `json:"rate"`      // the highest that met it, records a second; 0: none did
	// Failed is the lowest rate that did not meet it; 0: every one up to the highest that was tried did.
	Failed float64 `json:"failed,omitempty"`
	Whole  bool    `json:"whole"` // the search came to its end
}

// Verification is whether everything that was acknowledged arrived, once, in order and unchanged.
type Verification struct {
	// Outcome is one of the constants below.
	Outcome string `json:"outcome"`
	// Text says it in a sentence.
	Text    string `json:"text"`
	Checked int64  `json:"checked"` // records that were read and checked, by all readers
	Readers int    `json:"readers"` // that each had to see everything
	Lost    int64  `json:"lost"`    // acknowledged, and not seen by a reader
	// Duplicated were seen more than once. They fail a run unless the producer is not idempotent.
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"` // came behind a later one of the same producer and partition
	Corrupted  int64 `json:"corrupted"` // whose checksum is wrong
	// Unexpected are records that must not be seen: of aborted transactions, or of somebody else.
	Unexpected int64 `json:"unexpected"`
	// Redelivered were given again to a group whose members changed, as they may be; they are no duplicates.
	Redelivered int64 `json:"redelivered,omitempty"`
	// Unknown are records whose producer got an error: they may be there or not.
	Unknown int64 `json:"unknown,omitempty"`
	// Faults are the first of them, each with its place.
	Faults []Fault `json:"faults,omitempty"`
}

// The outcomes of a verification.
const (
	VerifiedOK         = "ok"
	VerifiedFailed     = "failed"
	VerifiedIncomplete = "incomplete" // interrupted before everything was read: nothing wrong so far
	VerifiedOff        = "off"        // the user did not want it
)

// OK reports whether nothing was found wrong, and everything was looked at if it was to be.
func (v Verification) OK() bool { return v.Outcome == VerifiedOK || v.Outcome == VerifiedOff }

// Fault is one thing that is wrong, and where.
type Fault struct {
	Kind      string `json:"kind"` // lost, duplicated, reordered, corrupted, unexpected
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	// Offset is where it was seen; of a lost record that of what came instead, or the last that was read, or -1.
	Offset   int64  `json:"offset"`
	Producer uint32 `json:"producer"`
	Sequence uint64 `json:"sequence"` // of that producer in that partition, from 0
	Text     string `json:"text"`     // all that in a sentence
}

// ErrorCount is an error and how often it came.
type ErrorCount struct {
	Text  string `json:"text"`
	Count int64  `json:"count"`
}

// Failed says why a run is no success, or is nil: a check failed, or records could not be written.
func (r *Result) Failed() error {
	switch {
	case r.Verification.Outcome == VerifiedFailed:
		return errors.New(r.Verification.Text)
	case r.Totals.Errors == 1 && len(r.Errors) > 0:
		return fmt.Errorf("1 error: %s", r.Errors[0].Text)
	case r.Totals.Errors > 0 && len(r.Errors) > 0:
		return fmt.Errorf("%d errors, most often: %s", r.Totals.Errors, r.Errors[0].Text)
	}
	return nil
}

// Write writes a result as JSON.
func (r *Result) Write(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// Read reads a result that Write has written.
func Read(in io.Reader) (*Result, error) {
	var r Result
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return nil, fmt.Errorf("not a result of spate bench: %w", err)
	}
	if r.Format != Format {
		return nil, fmt.Errorf("not a result of this version of spate bench: format %d, want %d", r.Format, Format)
	}
	return &r, nil
}
