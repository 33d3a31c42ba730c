//go:build !race

package wire

// memoryFactor is how many bytes of memory a byte of a hostile body may take at most.
const memoryFactor = 32
