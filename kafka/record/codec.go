package record

import (
	"fmt"

	"spate/kafka"
)

// Codec is a compression type, as the low attribute bits of a batch number it.
type Codec int8

// The codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	Lz4
	Zstd
	codecCount
)

var codecNames = [codecCount]string{"none", "gzip", "snappy", "lz4", "zstd"}

// String gives the name that clients and tools use.
func (c Codec) String() string {
	if c.known() {
		return codecNames[c]
	}
	return fmt.Sprintf("codec %d", int8(c))
}

// known says whether the number stands for a codec.
func (c Codec) known() bool { return c >= None && c < codecCount }

// ParseCodec reads the name of a codec.
func ParseCodec(name string) (Codec, error) {
	for c, n := range codecNames {
		if n == name {
			return Codec(c), nil
		}
	}
	return None, fmt.Errorf("%q is not a compression type: want none, gzip, snappy, lz4 or zstd", name)
}

// Compression is a topic's compression.type together with the level of its codec. The zero value is "producer": a
// batch stays as the producer compressed it.
type Compression struct {
	Fixed bool  // false: as the producer sent it
	Codec Codec // what every batch becomes, if Fixed
	Level int   // compression.<codec>.level; 0 is the codec's default
}

// ParseCompression reads a value of compression.type; the level is the one set for that codec, 0 for its default.
func ParseCompression(name string, level int) (Compression, error) {
	switch name {
	case "producer":
		return Compression{}, nil
	case "uncompressed":
		return Compression{Fixed: true}, nil
	case "none":
		return Compression{}, fmt.Errorf("%q is not a value of compression.type: want uncompressed", name)
	}
	c, err := ParseCodec(name)
	if err != nil {
		return Compression{}, fmt.Errorf("%q is not a value of compression.type: "+
			"want uncompressed, zstd, lz4, snappy, gzip or producer", name)
	}
	return Compression{Fixed: true, Codec: c, Level: level}, nil
}

// target is the codec that a batch of the source codec ends up with.
func (c Compression) target(source Codec) Codec {
	if c.Fixed {
		return c.Codec
	}
	return source
}

func errUnknownCodec(c Codec) error {
	return invalid(kafka.UnsupportedCompressionType, "no codec has number %d", int8(c))
}
