package record

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"spate/kafka"
)

// benchBatch is n records of size bytes, half of which compress.
func benchBatch(b *testing.B, c Codec, n, size int) Batch {
	b.Helper()
	random := rand.New(rand.NewPCG(3, 4))
	w := NewBuilder(BuilderOptions{Codec: c})
	for i := range n {
		value := make([]byte, size)
		for j := range size / 2 {
			value[j] = byte(random.Uint32())
		}
		w.Append(caseTime+kafka.Timestamp(i), fmt.Appendf(nil, "key-%d", i), value)
	}
	batch, err := w.Build()
	if err != nil {
		b.Fatal(err)
	}
	return batch
}

func BenchmarkValidate(b *testing.B) {
	for _, shape := range []struct{ records, bytes int }{{1, 100}, {1, 1024}, {16, 1024}, {1000, 1024}, {10000, 100}} {
		batch := benchBatch(b, None, shape.records, shape.bytes)
		b.Run(fmt.Sprintf("records=%d/bytes=%d", shape.records, shape.bytes), func(b *testing.B) {
			rules := clientRules()
			rules.BatchBytesMax = 0
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, &rules); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkValidateCompressed(b *testing.B) {
	for c := Gzip; c < codecCount; c++ {
		for _, walk := range []bool{false, true} {
			batch := benchBatch(b, c, 100, 1024)
			b.Run(fmt.Sprintf("%s/walk=%v", c, walk), func(b *testing.B) {
				rules := clientRules()
				rules.WalkCompressed = walk
				b.SetBytes(100 * 1024)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Validate(batch, &rules); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkRecompress(b *testing.B) {
	for c := None; c < codecCount; c++ {
		source := Zstd
		if c == Zstd {
			source = Lz4
		}
		batch := benchBatch(b, source, 100, 1024)
		b.Run(fmt.Sprintf("%s-to-%s", source, c), func(b *testing.B) {
			rules := clientRules()
			rules.Compression = Compression{Fixed: true, Codec: c}
			b.SetBytes(100 * 1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, &rules); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRecords(b *testing.B) {
	for c := None; c < codecCount; c++ {
		batch := benchBatch(b, c, 1000, 1024)
		b.Run(c.String(), func(b *testing.B) {
			b.SetBytes(1000 * 1024)
			b.ReportAllocs()
			for b.Loop() {
				it := batch.Records()
				for _, ok := it.Next(); ok; _, ok = it.Next() {
				}
				if it.Err() != nil {
					b.Fatal(it.Err())
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	w := NewBuilder(BuilderOptions{})
	value := make([]byte, 1024)
	dst := make([]byte, 0, 1<<20)
	b.SetBytes(100 * 1024)
	b.ReportAllocs()
	for b.Loop() {
		w.Reset(BuilderOptions{})
		for range 100 {
			w.Append(caseTime, nil, value)
		}
		if _, err := w.AppendTo(dst); err != nil {
			b.Fatal(err)
		}
	}
}
