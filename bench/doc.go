// Package bench loads a Kafka-compatible broker and measures what that costs: workloads that any broker can run, and
// the processor time and memory of the broker's process beside them. It owns its clients for the length of one
// workload and never starts or stops a broker. Each workload runs on the goroutine that calls it.
package bench
