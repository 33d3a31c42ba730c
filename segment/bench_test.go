package segment

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
)

// The appends of the design's comparison: what a Produce request brings for one partition.
var benchSizes = []int{16 << 10, 128 << 10, 1 << 20}

const benchSegmentBytes = 512 << 20

func benchOptions() Options {
	return Options{BytesMax: benchSegmentBytes, IndexIntervalBytes: 4096, IndexBytesMax: 10 << 20}
}

// benchBatch is a batch of just so many bytes.
func benchBatch(b *testing.B, size int) record.Batch {
	b.Helper()
	overhead := len(batchOf(b, 0, size, 1)) - size
	return batchOf(b, 0, size-overhead, 1)
}

// timed runs one operation at a time and reports the tail besides the mean: an append runs on an event loop, where a slow
// one is felt by every connection of the loop.
func timed(b *testing.B, bytes int, operation func()) {
	b.Helper()
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	took := make([]time.Duration, 0, b.N)
	var before, after unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &before))
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		operation()
		took = append(took, time.Since(start))
	}
	b.StopTimer()
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &after))
	slices.Sort(took)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()/(float64(bytes)*float64(b.N)/1e9), "cpu-s/GB")
	b.ReportMetric(float64(took[len(took)*999/1000].Microseconds()), "p99.9-us")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
}

// BenchmarkAppend is the whole path of an append, on the machine's disk.
func BenchmarkAppend(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			batch, dir := benchBatch(b, size), b.TempDir()
			s, err := Create(vfs.OS{}, dir, 0, benchOptions())
			must(b, err)
			timed(b, size, func() {
				next := s.NextOffset()
				if s.Full(size, next) {
					must(b, s.Remove())
					s, err = Create(vfs.OS{}, dir, next, benchOptions())
					must(b, err)
				}
				batch.SetBaseOffset(next)
				must(b, s.Append(batch))
			})
			must(b, s.Remove())
		})
	}
}

// BenchmarkWrite compares the ways to bring bytes into a preallocated segment file, without anything around them: the
// choice of pwritev rests on it, and can be judged anew on other hardware.
//
//   - pwritev: what Append does
//   - mapping: a copy into a shared mapping; the first touch of each page faults
//   - mapping-prefault: the same, with MADV_POPULATE_WRITE 8 MiB ahead
func BenchmarkWrite(b *testing.B) {
	for _, size := range benchSizes {
		for _, way := range []struct {
			name string
			open func(*testing.B, *os.File) func(data []byte, off int)
		}{{"pwritev", benchPwritev}, {"mapping", benchMapping}, {"mapping-prefault", benchPrefault}} {
			b.Run(fmt.Sprintf("%s/%dKiB", way.name, size>>10), func(b *testing.B) {
				f, err := os.Create(filepath.Join(b.TempDir(), "segment"))
				must(b, err)
				defer f.Close()
				must(b, unix.Fallocate(int(f.Fd()), 0, 0, benchSegmentBytes))
				write, data, off := way.open(b, f), make([]byte, size), 0
				timed(b, size, func() {
					if off+size > benchSegmentBytes {
						off = 0
					}
					write(data, off)
					off += size
				})
			})
		}
	}
}

func benchPwritev(b *testing.B, f *os.File) func([]byte, int) {
	fd, bufs := int(f.Fd()), make([][]byte, 1)
	return func(data []byte, off int) {
		bufs[0] = data
		_, err := unix.Pwritev(fd, bufs, int64(off))
		must(b, err)
	}
}

func benchMapping(b *testing.B, f *os.File) func([]byte, int) {
	m, err := unix.Mmap(int(f.Fd()), 0, benchSegmentBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(b, err)
	b.Cleanup(func() { must(b, unix.Munmap(m)) })
	return func(data []byte, off int) { copy(m[off:], data) }
}

func benchPrefault(b *testing.B, f *os.File) func([]byte, int) {
	const ahead = 8 << 20
	m, err := unix.Mmap(int(f.Fd()), 0, benchSegmentBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(b, err)
	b.Cleanup(func() { must(b, unix.Munmap(m)) })
	ready := 0
	return func(data []byte, off int) {
		if off == 0 {
			ready = 0
		}
		for off+len(data) > ready {
			must(b, unix.Madvise(m[ready:min(ready+ahead, len(m))], unix.MADV_POPULATE_WRITE))
			ready += ahead
		}
		copy(m[off:], data)
	}
}

// BenchmarkRead finds ranges all over a segment of small batches, live and sealed. It does not touch the bytes.
func BenchmarkRead(b *testing.B) {
	for _, sealed := range []bool{false, true} {
		b.Run(fmt.Sprintf("sealed=%v", sealed), func(b *testing.B) {
			s, err := Create(vfs.OS{}, b.TempDir(), 0, benchOptions())
			must(b, err)
			batch := benchBatch(b, 500)
			for range 100_000 {
				batch.SetBaseOffset(s.NextOffset())
				must(b, s.Append(batch))
			}
			if sealed {
				must(b, s.Seal())
			}
			random, end := rand.New(rand.NewPCG(1, 1)), s.NextOffset()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				r, err := s.Read(kafka.Offset(random.IntN(int(end))), 64<<10, true, end)
				must(b, err)
				r.Release()
			}
			b.StopTimer()
			must(b, s.Remove())
		})
	}
}

// BenchmarkReadTail is the read of a consumer that has caught up, right after an append.
func BenchmarkReadTail(b *testing.B) {
	s, err := Create(vfs.OS{}, b.TempDir(), 0, benchOptions())
	must(b, err)
	batch := benchBatch(b, 500)
	for range 1000 {
		batch.SetBaseOffset(s.NextOffset())
		must(b, s.Append(batch))
	}
	next := s.NextOffset()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r, err := s.Read(next-1, 1<<20, true, next)
		must(b, err)
		r.Release()
	}
	b.StopTimer()
	must(b, s.Remove())
}

// BenchmarkRecover scans a segment as after a crash: structure, checksums, indexes.
func BenchmarkRecover(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			const total = 256 << 20
			dir := b.TempDir()
			s, err := Create(vfs.OS{}, dir, 0, benchOptions())
			must(b, err)
			batch := benchBatch(b, size)
			for s.Bytes() < total {
				batch.SetBaseOffset(s.NextOffset())
				must(b, s.Append(batch))
			}
			must(b, s.Close())
			b.SetBytes(total)
			b.ResetTimer()
			for range b.N {
				s, _, err = Recover(vfs.OS{}, dir, 0, benchOptions(), 0, nil)
				must(b, err)
				must(b, s.RenameDeleted()) // so that closing writes nothing
				must(b, os.Rename(filepath.Join(dir, FileName(0, LogSuffix)+DeletedSuffix), filepath.Join(dir, FileName(0, LogSuffix))))
				must(b, s.Close())
			}
		})
	}
}
