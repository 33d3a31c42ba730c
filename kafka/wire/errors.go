package wire

import (
	"errors"
	"fmt"

	"spate/kafka"
)

// DecodeError says why a frame is not a request. The connection that sent it cannot be trusted to be in step any more:
// the broker closes it, as Kafka does.
type DecodeError struct {
	Key      int16 // API key, or NoKey where even that could not be read
	Version  int16
	Position int    // bytes of the header or body that were read before the fault
	Field    string // Kafka's name of the field, where known
	Reason   string
}

// NoKey stands in DecodeError for an API key that could not be read.
const NoKey int16 = -1

// Error names the API, the place and the reason.
func (e *DecodeError) Error() string {
	field := e.Field
	if field == "" {
		field = "request"
	}
	return fmt.Sprintf("%s v%d: %s at byte %d: %s", Name(e.Key), e.Version, field, e.Position, e.Reason)
}

// Unwrap makes every DecodeError an INVALID_REQUEST.
func (e *DecodeError) Unwrap() error { return kafka.InvalidRequest }

// LeftOverError says that a request ended before its frame did. The request is whole and comes along with the error: a
// broker that wants to be as forgiving as Kafka, which never looks behind the last field, serves it.
type LeftOverError struct {
	Key, Version int16
	Bytes        int
}

// Error names the API and counts the bytes.
func (e *LeftOverError) Error() string {
	return fmt.Sprintf("%s v%d: %d bytes left over after the last field", Name(e.Key), e.Version, e.Bytes)
}

// Unwrap makes every LeftOverError an INVALID_REQUEST.
func (e *LeftOverError) Unwrap() error { return kafka.InvalidRequest }

// OnlyLeftOver tells whether err is a LeftOverError: the request beside it can be served.
func OnlyLeftOver(err error) bool {
	var left *LeftOverError
	return errors.As(err, &left)
}

// UnsupportedError says that the table does not serve this version of this API, or not the API at all. Kafka closes the
// connection; only ApiVersions is answered, in version 0 with UNSUPPORTED_VERSION, so that a client can fall back.
type UnsupportedError struct {
	Key, Version int16
}

// Error names the API and the version.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s v%d is not served", Name(e.Key), e.Version)
}

// Unwrap makes every UnsupportedError an UNSUPPORTED_VERSION.
func (e *UnsupportedError) Unwrap() error { return kafka.UnsupportedVersion }
