package storage

import (
	"fmt"

	"spate/kafka"
)

// Damage is a place where a file is not what it must be.
type Damage struct {
	File     string         `json:"file"`
	Position kafka.Position `json:"position"` // bytes from the start; in a text file the line, from 1
	Reason   string         `json:"reason"`
}

// Error is one line that names file, position and reason.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s: position %d: %s", d.File, d.Position, d.Reason)
}

// damaged makes a Damage.
func damaged(file string, position int64, format string, args ...any) *Damage {
	return &Damage{file, kafka.Position(position), fmt.Sprintf(format, args...)}
}
