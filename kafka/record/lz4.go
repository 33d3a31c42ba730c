package record

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/pierrec/lz4/v4"
)

// The lz4 frame, little endian. Kafka reads one frame of version 1 with independent blocks and no dictionary, and so
// does this decoder; the frame reader of the library would take 8 MiB for any frame that claims large blocks.
//
//	magic 0x184d2204 uint32
//	flags byte: bits 6–7 version 1, 5 independent blocks, 4 block checksums, 3 content size, 2 content checksum,
//	  0 dictionary
//	block descriptor byte: bits 4–6 block size, 4 to 7 for 64 KiB to 4 MiB
//	content size uint64, if flagged
//	header checksum byte: bits 8–15 of the XXH32 of what follows the magic
//	blocks: size uint32, its top bit set if stored as it is; the bytes; their XXH32 uint32, if flagged
//	end: size 0; the XXH32 of the content uint32, if flagged
const (
	lz4Magic           = 0x184d2204
	lz4FlagBlockSum    = 0x10
	lz4FlagContentSize = 0x08
	lz4FlagContentSum  = 0x04
	lz4Stored          = 1 << 31
	// lz4Factor is the best that the format can do: a match grows by 255 for each byte. lz4Slack is what the last
	// bytes of a length may add to it.
	lz4Factor = 255
	lz4Slack  = 64
)

var (
	errLz4Header   = errors.New("not an lz4 frame of version 1 with independent blocks and no dictionary")
	errLz4Checksum = errors.New("a checksum does not fit")
	errLz4Block    = errors.New("a block is larger than the frame allows")
)

// lz4Decoder holds one decompressed block: at most 4 MiB and at most lz4Factor times its compressed size.
type lz4Decoder struct {
	blockReader
	rest     []byte // compressed, not read yet
	flags    byte
	blockMax int
	content  xxh32
}

func (d *lz4Decoder) reset(payload []byte) error {
	d.resetBlocks()
	d.rest = payload
	if payload == nil {
		return nil
	}
	return d.beginFrame()
}

func (d *lz4Decoder) beginFrame() error {
	b := d.rest
	if len(b) < 7 || binary.LittleEndian.Uint32(b) != lz4Magic {
		return errLz4Header
	}
	flags, descriptor := b[4], b[5]
	if flags&^byte(lz4FlagBlockSum|lz4FlagContentSize|lz4FlagContentSum) != 0x60 {
		return errLz4Header
	}
	sizeID := descriptor >> 4
	if descriptor&0x0f != 0 || sizeID < 4 || sizeID > 7 {
		return errLz4Header
	}
	end := 6
	if flags&lz4FlagContentSize != 0 {
		end += 8
	}
	if len(b) <= end {
		return errShort("the header")
	}
	if byte(xxh32Of(b[4:end])>>8) != b[end] {
		return errLz4Checksum
	}
	d.rest = b[end+1:]
	d.flags, d.blockMax = flags, 1<<(8+2*int(sizeID))
	d.content.reset()
	return nil
}

// Read gives the next bytes.
func (d *lz4Decoder) Read(p []byte) (int, error) { return d.read(p, d.nextBlock) }

func (d *lz4Decoder) nextBlock() error {
	size, err := d.uint32()
	if err != nil {
		return err
	}
	if size == 0 {
		return d.endFrame()
	}
	n := int(size &^ lz4Stored)
	if n > d.blockMax {
		return errLz4Block
	}
	if n > len(d.rest) {
		return errShort("a block")
	}
	block := d.rest[:n]
	d.rest = d.rest[n:]
	if d.flags&lz4FlagBlockSum != 0 {
		sum, err := d.uint32()
		if err != nil {
			return err
		}
		if sum != xxh32Of(block) {
			return errLz4Checksum
		}
	}
	return d.decode(block, size&lz4Stored != 0)
}

func (d *lz4Decoder) decode(block []byte, stored bool) error {
	if stored {
		d.blockReader.rest = block
	} else {
		dst := d.grow(min(d.blockMax, lz4Factor*len(block)+lz4Slack))
		n, err := lz4.UncompressBlock(block, dst)
		if err != nil {
			return err
		}
		d.blockReader.rest = dst[:n]
		d.out = dst
	}
	if d.flags&lz4FlagContentSum != 0 {
		d.content.write(d.blockReader.rest)
	}
	return nil
}

// endFrame ends the stream: like Java, it does not look at what follows the frame.
func (d *lz4Decoder) endFrame() error {
	if d.flags&lz4FlagContentSum == 0 {
		return io.EOF
	}
	sum, err := d.uint32()
	if err != nil {
		return err
	}
	if sum != d.content.sum() {
		return errLz4Checksum
	}
	return io.EOF
}

func (d *lz4Decoder) uint32() (uint32, error) {
	if len(d.rest) < 4 {
		return 0, errShort("a block")
	}
	v := binary.LittleEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return v, nil
}

// lz4LevelDefault is Kafka's default level, which stands for the fast compressor.
const lz4LevelDefault = 9

// newLz4Encoder compresses as the Java client does: blocks of 64 KiB, independent, without checksums.
func newLz4Encoder(level int) (encoder, error) {
	w := lz4.NewWriter(nil)
	return w, w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
		lz4.ConcurrencyOption(1), lz4.CompressionLevelOption(lz4.CompressionLevel(level)))
}

// lz4Level is the library's number for one of Kafka's 1 to 17.
func lz4Level(level int) int {
	if level < 1 || level == lz4LevelDefault {
		return int(lz4.Fast)
	}
	return 1 << (8 + min(level, 9))
}
