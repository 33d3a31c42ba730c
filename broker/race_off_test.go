//go:build !race

package broker

// raceEnabled says that the race detector runs.
const raceEnabled = false
