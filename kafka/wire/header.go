package wire

import (
	"encoding/binary"
)

// RequestHeader is the head of every request.
type RequestHeader struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      []byte // view into the frame; nil for null
}

// ParseHeader splits frame, which is a request without its size prefix, into its header and its body. The error is
//   - an *UnsupportedError, with h filled as far as it could be read, when the table does not serve the API or the
//     version: the broker answers ApiVersions by version 0 of its response, and closes the connection on all others;
//   - a *DecodeError when the header is cut short or malformed: the broker closes the connection.
func ParseHeader(frame []byte) (h RequestHeader, body []byte, err error) {
	r := reader{src: frame}
	h.Key, h.Version = r.int16(), r.int16()
	if !r.ok() {
		return h, nil, r.error(NoKey, h.Version)
	}
	row := Lookup(h.Key)
	if row == nil {
		return h, nil, &UnsupportedError{h.Key, h.Version}
	}
	h.CorrelationID = r.int32()
	h.ClientID = r.nullableString() // header version 2 keeps the int16 length, although it has tagged fields
	if h.Version >= row.Flexible {
		r.flexible = true
		r.skipTags()
	}
	if !r.ok() {
		return h, nil, r.error(h.Key, h.Version)
	}
	if h.Version < row.Min || row.Max < h.Version {
		return h, nil, &UnsupportedError{h.Key, h.Version}
	}
	return h, r.rest(), nil
}

// AppendResponseHeader appends the head of a response to key and version. It is flexible with the body, except for
// ApiVersions: a client that does not know the broker yet must be able to read that one, whatever it asked for.
func AppendResponseHeader(dst []byte, key, version int16, correlationID int32) []byte {
	dst = appendInt32(dst, correlationID)
	row := Lookup(key)
	if row != nil && key != KeyApiVersions && version >= row.Flexible {
		dst = append(dst, 0) // no tagged fields
	}
	return dst
}

// sizeBytes is the length of the size prefix that each frame has.
const sizeBytes = 4

// BeginFrame appends the size prefix, still open, and the header of a response. EndFrame closes it.
func BeginFrame(dst []byte, key, version int16, correlationID int32) []byte {
	dst = append(dst, 0, 0, 0, 0)
	return AppendResponseHeader(dst, key, version, correlationID)
}

// EndFrame writes the size of the frame that begins at start and ends with dst. extraBytes of it are not in dst: the
// record ranges that the connection sends from a file.
func EndFrame(dst []byte, start int, extraBytes int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-sizeBytes+extraBytes))
	return dst
}
