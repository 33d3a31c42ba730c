//go:build !race

package netpoll

// raceEnabled says that the race detector does not run.
const raceEnabled = false
