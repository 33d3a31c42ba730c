// Package versus compares two brokers by running each workload on both in turn, so that what drifts on the machine
// weighs on both alike, and by taking medians and spreads of every figure. It starts no broker and loads none: how a
// run is made is given to it. Runs happen one at a time, on the goroutine that calls it.
package versus
