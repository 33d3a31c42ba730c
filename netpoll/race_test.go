//go:build race

package netpoll

// raceEnabled says that the race detector runs.
const raceEnabled = true
