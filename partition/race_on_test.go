//go:build race

package partition

// raceEnabled says that every step costs ten times as much.
const raceEnabled = true
