package coordinator

import (
	"errors"

	"spate/kafka"
)

// ErrUnknownRecord is the error of a record whose type a machine does not know: a later release may have written it, or
// another kind of group. Who loads a log skips such records and counts them.
var ErrUnknownRecord = errors.New("record of an unknown type")

// Refusal is an error of the protocol with a sentence of its own, which some responses carry to the client.
type Refusal struct {
	Reason  *kafka.Error
	Message string
}

// Refuse makes a Refusal.
func Refuse(reason *kafka.Error, message string) error {
	return &Refusal{Reason: reason, Message: message}
}

// Error gives the sentence, after the error's name.
func (r *Refusal) Error() string { return r.Reason.Name + ": " + r.Message }

// Unwrap makes kafka.CodeOf find the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// MessageOf is the sentence that a client is told about err: that of a Refusal, else the one that belongs to the error
// code; empty for nil.
func MessageOf(err error) string {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Message
	}
	var reason *kafka.Error
	if errors.As(err, &reason) {
		return reason.Message()
	}
	return ""
}
