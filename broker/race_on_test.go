//go:build race

package broker

// raceEnabled says that the race detector runs: sync.Pool then drops what it is given at random.
const raceEnabled = true
