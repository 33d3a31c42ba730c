package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	"spate/kafka"
)

// bomb is a small batch that asks for much.
type bomb struct {
	name  string
	batch Batch
	bad   bool // no rule lets it pass; the others are only large
}

// bombValue is the size of a value of zeros. Compressed it takes some KiB, or 3 MiB in snappy.
const bombValue = 40 << 20

// zeros makes a batch of one record, whose value is zeros.
func zeros(t testing.TB, c Codec) Batch {
	head := append([]byte{0, 0, 0, 1}, appendVarint(nil, bombValue)...)
	record := append(appendVarint(nil, int64(len(head)+bombValue+1)), head...)
	packed, err := compressed(nil, kindOf(c, 0), maxBomb, func(w io.Writer) error {
		block := make([]byte, 1<<20)
		_, err := w.Write(record)
		for range bombValue / len(block) {
			if err == nil {
				_, err = w.Write(block)
			}
		}
		if err == nil {
			_, err = w.Write([]byte{0})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return withPayload(c, 1, packed)
}

func bombs(t testing.TB) []bomb {
	bad := func(name string, c Codec, payload []byte) bomb { return bomb{name, withPayload(c, 1, payload), true} }
	all := []bomb{
		bad("zstd, runs of one byte", Zstd, zstdRuns(30_000)),
		bad("zstd, a window of 128 MiB", Zstd, zstdRaw([]byte{0, 17 << 3}, plain())),
		bad("zstd, a content size of 100 MiB", Zstd, zstdRaw([]byte{zstdSingleSegment | 0x80, 0, 0, 0x40, 6}, plain())),
		bad("zstd, a thousand frames with large windows", Zstd, manyWindows(1000)),
		bad("snappy, a block that claims 4 GiB", Snappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}),
		bad("snappy, a framed block that claims 1 GiB", Snappy,
			join(snappyHeader, []byte{0, 0, 0, 6, 0x80, 0x80, 0x80, 0x80, 4, 0})),
		bad("lz4, small blocks of 4 MiB", Lz4, join(lz4Header(0x60, 0x70),
			bytes.Repeat(lz4Block(make([]byte, 4<<20), false, false), 8), make([]byte, 4))),
		bad("a record that claims 200 MiB", Gzip, gzipped(appendVarint(nil, 200<<20))),
		bad("a record that claims more than is allowed", Gzip, gzipped(appendVarint(nil, RecordBytesMax+1))),
		bad("a record of 2^31-1 headers", Gzip,
			gzipped(join(appendVarint(nil, 1<<20), []byte{0, 0, 0, 1, 1}, appendVarint(nil, 1<<31-1)))),
	}
	for _, c := range []Codec{Gzip, Snappy, Lz4} {
		all = append(all, bomb{"zeros in " + c.String(), zeros(t, c), false})
	}
	return append(all, bomb{"zeros in zstd", zeros(t, Zstd), true}) // the best ratio of all is beyond outputFactor
}

const maxBomb = 8 << 20

// zstdRuns makes a frame of n blocks of 128 KiB, each one byte repeated: 4 bytes become 131072.
func zstdRuns(n int) []byte {
	b := append(binary.LittleEndian.AppendUint32(nil, zstdMagic), 0, 0x58)
	for i := range n {
		block := uint32(128<<10)<<3 | zstdBlockRLE<<1
		if i == n-1 {
			block |= 1
		}
		b = append(b, byte(block), byte(block>>8), byte(block>>16), 0)
	}
	return b
}

func manyWindows(n int) []byte {
	var all []byte
	for range n {
		all = append(all, zstdRaw([]byte{0, 17 << 3}, nil)...)
	}
	return all
}

// skipUnderRace leaves out what only counts bytes on one goroutine: that takes minutes under the race detector.
func skipUnderRace(t *testing.T) {
	if raceEnabled {
		t.Skip("there is nothing to race")
	}
}

// allocated is how many bytes f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.GC() // empties the pools, so that decoders are counted
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestBombsCostWhatWasSent checks each bomb as a consumer of a topic with rules would, and as a topic with another
// codec would: memory stays within the decoder's window and a small multiple of the batch.
func TestBombsCostWhatWasSent(t *testing.T) {
	skipUnderRace(t)
	for _, bomb := range bombs(t) {
		sent := uint64(len(bomb.batch))
		budget := uint64(windowFloor+1<<20) + 64*sent
		walk := Rules{WalkCompressed: true, BeforeMax: NoBound, AfterMax: NoBound}
		var err error
		if got := allocated(func() { _, err = Validate(bomb.batch, &walk) }); got > budget || (err != nil) != bomb.bad {
			t.Errorf("%s: %d bytes sent, %d allocated, more than %d; %v", bomb.name, sent, got, budget, err)
		}
		for _, target := range []Codec{None, Lz4, Zstd} {
			if target == bomb.batch.Codec() {
				continue
			}
			rules := walk
			rules.Compression = Compression{Fixed: true, Codec: target}
			rules.BatchBytesMax = max(len(bomb.batch), 1<<20)
			// What comes out may reach the topic's limit, and a growing slice takes up to four times that.
			extra := uint64(4*rules.BatchBytesMax) + encoderBudget
			if got := allocated(func() { _, err = Validate(bomb.batch, &rules) }); got > budget+extra ||
				bomb.bad && err == nil || target == None && kafka.CodeOf(err) == 0 {
				t.Errorf("%s to %s: %d sent, %d allocated, more than %d; %v",
					bomb.name, target, sent, got, budget+extra, err)
			}
		}
	}
}

// encoderBudget is what the largest encoder, zstd's, takes.
const encoderBudget = 16 << 20

// TestAnIteratorHoldsNoMoreThanCameOut: the claimed length of a record alone makes nothing grow.
func TestAnIteratorHoldsNoMoreThanCameOut(t *testing.T) {
	skipUnderRace(t)
	for _, bomb := range bombs(t) {
		got := allocated(func() {
			it := bomb.batch.Records()
			for _, ok := it.Next(); ok; _, ok = it.Next() {
			}
			if (it.Err() != nil) != bomb.bad {
				t.Errorf("%s: %v", bomb.name, it.Err())
			}
			it.Close()
		})
		out := uint64(outputMax(len(bomb.batch)))
		if budget := uint64(windowFloor+1<<20) + 64*uint64(len(bomb.batch)) + 4*min(out, 41<<20); got > budget {
			t.Errorf("%s: %d sent, %d allocated, more than %d", bomb.name, len(bomb.batch), got, budget)
		}
	}
}

func TestTheOutputOfABatchIsBounded(t *testing.T) {
	skipUnderRace(t)
	b := withPayload(Zstd, 1, zstdRuns(30_000)) // 4 GB from 120 kB
	s, err := openStream(Zstd, b.Payload())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var out int64
	for err == nil {
		out += int64(s.w - s.r)
		s.r = s.w
		err = s.fill(1)
	}
	if !errors.Is(err, kafka.MessageTooLarge) || out > outputMax(len(b)) {
		t.Errorf("%d bytes came out: %v", out, err)
	}
}

func TestARecordOfACompressedBatchHasALimit(t *testing.T) {
	b := withPayload(Gzip, 1, gzipped(appendVarint(nil, RecordBytesMax+1)))
	it := b.Skim()
	if _, ok := it.Next(); ok || !errors.Is(it.Err(), kafka.MessageTooLarge) {
		t.Error(it.Err())
	}
}

// TestALargeWindowIsNotKept: a decoder that had to hold much does not stay in the pool with it.
func TestALargeWindowIsNotKept(t *testing.T) {
	d := new(zstdDecoder)
	payload := join(zstdRaw([]byte{0, 14 << 3}, plain()), make([]byte, 0, 1))
	skippable := join([]byte{0x50, 0x2a, 0x4d, 0x18}, []byte{0, 0, 8, 0}, make([]byte, 1<<19))
	large := join(payload, skippable)
	for _, c := range []struct {
		payload []byte
		kept    bool
	}{{payload, true}, {large, false}} {
		if err := d.reset(c.payload); err != nil {
			t.Fatal(err)
		}
		var p [1]byte
		if n, err := d.Read(p[:]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if err := d.reset(nil); err != nil || (d.zstd != nil) != c.kept {
			t.Errorf("%d bytes: kept is %v, %v", len(c.payload), d.zstd != nil, err)
		}
	}
}

func TestWindowsAreFitted(t *testing.T) {
	small := zstdRaw([]byte{zstdSingleSegment, byte(len(plain()))}, plain())
	big := zstdRaw([]byte{0, 17 << 3}, plain())
	single := zstdRaw([]byte{zstdSingleSegment | 0x80, 0, 0, 0, 2}, nil)
	for _, c := range []struct {
		name          string
		payload, want []byte
		window        uint64
	}{
		{"no change", small, small, uint64(len(plain()))},
		{"one", big, zstdRaw([]byte{0, 13 << 3}, plain()), windowFloor},
		{"the second", join(small, big), join(small, zstdRaw([]byte{0, 13 << 3}, plain())), windowFloor},
		{"the first", join(big, small), join(zstdRaw([]byte{0, 13 << 3}, plain()), small), windowFloor},
		{"single segment", single, zstdRaw([]byte{0x80, 13 << 3, 0, 0, 0, 2}, nil), windowFloor},
	} {
		got, window, err := fitWindows(c.payload, windowFloor)
		if err != nil || !bytes.Equal(got, c.want) || window != c.window {
			t.Errorf("%s: %x, window %d, %v\nwant %x", c.name, got, window, err, c.want)
		}
	}
	if got := fmt.Sprint(windowLimit(0), windowLimit(1<<20), windowLimit(1<<30)); got != "8388608 67108864 134217728" {
		t.Error(got)
	}
}
