// Package bench loads a Kafka-compatible broker and measures what that costs: workloads that any broker can run, and
// the processor time and memory of the broker's process beside them. Run runs what package spec describes, verifies
// what it moves, and is what "spate bench" does. Package bench owns its clients for the length of one workload and
// never starts or stops a broker. A workload is run by the goroutine that calls it, and has ended when that returns.
package bench
