// Package tune judges the settings of a Linux machine for a broker that runs on it. Read takes a Snapshot of what
// /proc and /sys say, Judge makes Findings of it and touches nothing, and Apply writes the changes of those findings
// that were asked for. A finding says what was found, what would be better and why, how to make it last, and how to
// take it back. All of it runs on the goroutine that calls it, which is the command line's.
package tune
