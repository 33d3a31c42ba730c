package record

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func sortCases(cases []produceCase) {
	slices.SortFunc(cases, func(a, b produceCase) int { return strings.Compare(a.Name, b.Name) })
}

func rawSnappy(p []byte) []byte { return snappy.Encode(nil, p) }

// lz4Header makes the header of a frame with a fitting checksum.
func lz4Header(flags, descriptor byte, more ...byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, lz4Magic)
	b = append(append(b, flags, descriptor), more...)
	return append(b, byte(xxh32Of(b[4:])>>8))
}

// lz4Block makes a block, compressed or stored, with its checksum if wanted.
func lz4Block(p []byte, stored, sum bool) []byte {
	data, size := p, uint32(len(p))|lz4Stored
	if !stored {
		data = make([]byte, lz4.CompressBlockBound(len(p)))
		n, err := lz4.CompressBlock(p, data, nil)
		if err != nil || n == 0 {
			panic("the block does not compress")
		}
		data, size = data[:n], uint32(n)
	}
	b := append(binary.LittleEndian.AppendUint32(nil, size), data...)
	if sum {
		b = binary.LittleEndian.AppendUint32(b, xxh32Of(data))
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func lz4Frames() map[string][]byte {
	const flags, independent = 0x60, 0x20
	p := plain()
	end := make([]byte, 4)
	sum := func(p []byte) []byte { return binary.LittleEndian.AppendUint32(nil, xxh32Of(p)) }
	stored := lz4Block(p, true, false)
	firstHalf, secondHalf := lz4Block(p[:20], true, false), lz4Block(p[20:], true, false)
	size := binary.LittleEndian.AppendUint64(nil, uint64(len(p)))
	sizedHeader := func(size []byte) []byte { return lz4Header(flags|lz4FlagContentSize, 0x40, size...) }
	wrongSize := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	plainHeader, summedHeader := lz4Header(flags, 0x40), lz4Header(flags|lz4FlagBlockSum, 0x40)
	wrongHeader := lz4Header(flags, 0x40)
	wrongHeader[6] ^= 1
	wrongBlock := lz4Block(p, true, true)
	wrongBlock[len(wrongBlock)-1] ^= 1
	return map[string][]byte{
		"lz4, stored block":                    join(plainHeader, stored, end),
		"lz4, two blocks":                      join(plainHeader, firstHalf, secondHalf, end),
		"lz4, blocks of 4 MiB allowed":         join(lz4Header(flags, 0x70), stored, end),
		"lz4, block checksum":                  join(summedHeader, lz4Block(p, true, true), end),
		"lz4, wrong block checksum":            join(summedHeader, wrongBlock, end),
		"lz4, content checksum":                join(lz4Header(flags|lz4FlagContentSum, 0x40), stored, end, sum(p)),
		"lz4, wrong content checksum":          join(lz4Header(flags|lz4FlagContentSum, 0x40), stored, end, sum(p[1:])),
		"lz4, content checksum missing":        join(lz4Header(flags|lz4FlagContentSum, 0x40), stored, end),
		"lz4, content size":                    join(sizedHeader(size), stored, end),
		"lz4, wrong content size":              join(sizedHeader(wrongSize), stored, end),
		"lz4, linked blocks":                   join(lz4Header(flags&^independent, 0x40), stored, end),
		"lz4, dictionary id":                   join(lz4Header(flags|1, 0x40, 1, 2, 3, 4), stored, end),
		"lz4, reserved flag":                   join(lz4Header(flags|2, 0x40), stored, end),
		"lz4, version 0":                       join(lz4Header(flags&^0x40, 0x40), stored, end),
		"lz4, reserved descriptor bit":         join(lz4Header(flags, 0x41), stored, end),
		"lz4, reserved descriptor bit 7":       join(lz4Header(flags, 0xc0), stored, end),
		"lz4, block size 3":                    join(lz4Header(flags, 0x30), stored, end),
		"lz4, wrong header checksum":           join(wrongHeader, stored, end),
		"lz4, no end mark":                     join(plainHeader, stored),
		"lz4, legacy frame":                    join([]byte{0x02, 0x21, 0x4c, 0x18}, stored),
		"lz4, a block larger than the maximum": join(plainHeader, lz4Block(make([]byte, 65537), true, false), end),
		"lz4, an empty frame first":            join(plainHeader, end, plainHeader, stored, end),
	}
}

// zstdRaw makes a frame of one stored block.
func zstdRaw(head []byte, p []byte) []byte {
	block := uint32(len(p))<<3 | 1
	b := binary.LittleEndian.AppendUint32(nil, zstdMagic)
	b = append(append(b, head...), byte(block), byte(block>>8), byte(block>>16))
	return append(b, p...)
}

func zstdFrames(t testing.TB) map[string][]byte {
	t.Helper()
	p := plain()
	n := byte(len(p))
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(true))
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	summed := encoder.EncodeAll(p, nil)
	wrong := bytes.Clone(summed)
	wrong[len(wrong)-1] ^= 1
	skippable := binary.LittleEndian.AppendUint32([]byte{0x53, 0x2a, 0x4d, 0x18}, 3)
	skippable = append(skippable, 1, 2, 3)
	window := func(exponent byte) []byte { return []byte{0, (exponent - zstdWindowExponent) << 3} }
	return map[string][]byte{
		"zstd, single segment":           zstdRaw([]byte{zstdSingleSegment, n}, p),
		"zstd, window of 1 KiB":          zstdRaw(window(10), p),
		"zstd, window of 8 MiB":          zstdRaw(window(23), p),
		"zstd, window of 128 MiB":        zstdRaw(window(27), p),
		"zstd, window of 256 MiB":        zstdRaw(window(28), p),
		"zstd, window of 2 TiB":          zstdRaw(window(41), p),
		"zstd, single segment of 64 MiB": zstdRaw([]byte{zstdSingleSegment | 0x80, 0, 0, 0, 4}, p),
		"zstd, content size too large":   zstdRaw([]byte{zstdSingleSegment, n + 1}, p),
		"zstd, content size too small":   zstdRaw([]byte{zstdSingleSegment, n - 1}, p),
		"zstd, dictionary":               zstdRaw([]byte{zstdSingleSegment | 1, 9, n}, p),
		"zstd, reserved bit":             zstdRaw([]byte{zstdSingleSegment | 8, n}, p),
		"zstd, checksum":                 summed,
		"zstd, wrong checksum":           wrong,
		"zstd, a skippable frame first":  join(skippable, summed),
		"zstd, a skippable frame last":   join(summed, skippable),
		"zstd, reserved block type":      {0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 7, 0, 0},
		"zstd, no last block":            {0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0, 0, 0},
		"zstd, a block beyond the frame": {0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 0xf9, 0xff, 0},
		"zstd, only a magic":             {0x28, 0xb5, 0x2f, 0xfd},
	}
}

func snappyStrict(p []byte) ([]byte, error) { return snappy.DecodeStrict(nil, p) }
