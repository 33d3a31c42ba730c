package wire

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/internal/invariant"
)

// DecodeRequest decodes the body of a request that ParseHeader let pass, of any API but Produce and Fetch, which have
// parsers of their own. Strings are copies; bytes fields are views into body. Unknown tagged fields are dropped. The
// error is a *DecodeError; a *LeftOverError, beside the request; or an *UnsupportedError where the caller did not ask
// ParseHeader.
func DecodeRequest(key, version int16, body []byte) (kmsg.Request, error) {
	row := Lookup(key)
	if row == nil || row.body == nil || version < row.Min || row.Max < version {
		return nil, &UnsupportedError{key, version}
	}
	body, leftOver := walk(body, row, version)
	if leftOver != nil && !OnlyLeftOver(leftOver) {
		return nil, leftOver
	}
	request := kmsg.RequestForKey(key)
	request.SetVersion(version)
	if err := request.ReadFrom(body); err != nil {
		return nil, &DecodeError{Key: key, Version: version, Reason: err.Error()}
	}
	return request, leftOver
}

// AppendResponse appends the whole frame of response, in the version that is set in it: size prefix, header and body.
func AppendResponse(dst []byte, response kmsg.Response, correlationID int32) []byte {
	invariant.Check(Lookup(response.Key()) != nil, "response to api key %d, which is not served", response.Key())
	start := len(dst)
	dst = BeginFrame(dst, response.Key(), response.GetVersion(), correlationID)
	return EndFrame(response.AppendTo(dst), start, 0)
}
