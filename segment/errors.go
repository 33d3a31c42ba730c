package segment

import (
	"errors"
	"fmt"

	"spate/kafka"
)

// Errors that are compared with errors.Is.
var (
	// ErrClosed is what a segment answers once it is closed or removed.
	ErrClosed = errors.New("segment is closed")
	// ErrFull says that an append does not fit; Full would have said so before.
	ErrFull = errors.New("segment is full")
	// ErrOrder says that the batches of an append do not follow the segment's end in rising order.
	ErrOrder = errors.New("batches out of order")
)

// CorruptError says that bytes which were durable, or published, do not hold what was written there. They are left as
// they are.
type CorruptError struct {
	File       string
	BaseOffset kafka.Offset // of the segment
	Position   kafka.Position
	Reason     string
}

// Error names the place and the reason.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at position %d: %s", e.File, e.Position, e.Reason)
}

// errFound ends a walk that has what it looked for.
var errFound = errors.New("found")

func unlessFound(err error) error {
	if err == errFound {
		return nil
	}
	return err
}
