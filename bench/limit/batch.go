package limit

import (
	"fmt"

	"spate/kafka"
	"spate/kafka/record"
)

// recordBytes is the size of the values in a batch, but for the last, which makes up the size of the batch.
const recordBytes = 1024

// newBatch makes a batch of exactly so many bytes: uncompressed, of a producer that is not idempotent. Batches with
// other numbers have other values.
func newBatch(size, number int) (record.Batch, error) {
	const now kafka.Timestamp = 1_700_000_000_000 // any will do
	value := make([]byte, 2*recordBytes)
	for i := range value {
		value[i] = byte(i*i>>3 + i + number)
	}
	w := record.NewBuilder(record.BuilderOptions{})
	for w.Bytes() <= size-len(value) {
		w.Append(now, nil, value[:recordBytes])
	}
	// What a record needs beside its value depends on its length: the one that fits is found.
	for n := min(len(value), size-w.Bytes()); n > 0; n-- {
		last := *w
		if last.Append(now, nil, value[:n]); last.Bytes() == size {
			return last.Build()
		}
	}
	return nil, fmt.Errorf("no batch has %d bytes", size)
}
