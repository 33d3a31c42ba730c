//go:build race

package wire

// memoryFactor is twice that of race_off_test.go: the race detector makes allocations larger.
const memoryFactor = 64
