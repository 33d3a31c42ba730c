package segment

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spate/internal/clock"
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

// check is must without the cost of Helper, for what is timed.
func check(b *testing.B, err error) {
	if err != nil {
		b.Fatal(err)
	}
}

// timed runs one operation at a time and reports the tail besides the mean: an append runs on an event loop, where a
// slow one is felt by every connection of the loop. What prepare does is not counted.
func timed(b *testing.B, bytes int, prepare, operation func()) {
	b.Helper()
	b.SetBytes(int64(bytes))
	took := make([]time.Duration, 0, b.N)
	cpu, total := time.Duration(0), time.Duration(0)
	b.ResetTimer()
	for range b.N {
		prepare()
		before, start := cpuTime(b), time.Now()
		operation()
		took = append(took, time.Since(start))
		total += took[len(took)-1]
		cpu += cpuTime(b) - before
	}
	b.StopTimer()
	slices.Sort(took)
	gigabytes := float64(bytes) * float64(b.N) / 1e9
	b.ReportMetric(float64(total.Nanoseconds())/float64(b.N), "ns/op")
	b.ReportMetric(1e3*gigabytes/total.Seconds(), "MB/s")
	b.ReportMetric(cpu.Seconds()/gigabytes, "cpu-s/GB")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(took[len(took)*999/1000].Microseconds()), "p99.9-us")
	b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-us")
}

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var ts unix.Timespec
	check(b, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts))
	return time.Duration(ts.Nano())
}

// BenchmarkAppend is the whole path of an append, on the machine's disk, into new segments.
func BenchmarkAppend(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			batch, dir := benchBatch(b, size), b.TempDir()
			s, err := Create(vfs.OS{}, dir, 0, benchOptions())
			check(b, err)
			timed(b, size, func() {
				next := s.NextOffset()
				if s.Full(size, next) {
					check(b, s.Remove())
					s, err = Create(vfs.OS{}, dir, next, benchOptions())
					check(b, err)
				}
				batch.SetBaseOffset(next)
			}, func() {
				check(b, s.Append(batch))
			})
			check(b, s.Remove())
		})
	}
}

// BenchmarkWrite compares the ways to bring bytes into a preallocated segment file that is new, without anything around
// them: the choice of pwritev rests on it, and can be judged anew on other hardware.
//
//   - pwritev: what Append does
//   - mapping: a copy into a shared mapping; the first touch of each page faults
//   - mapping-prefault: the same, with MADV_POPULATE_WRITE 8 MiB ahead on the same goroutine
func BenchmarkWrite(b *testing.B) {
	for _, size := range benchSizes {
		for _, way := range []struct {
			name string
			open func(*testing.B, *os.File) benchWriter
		}{{"pwritev", openPwritev}, {"mapping", openMapping}, {"mapping-prefault", openPrefault}} {
			b.Run(fmt.Sprintf("%s/%dKiB", way.name, size>>10), func(b *testing.B) {
				data, off := make([]byte, size), benchSegmentBytes
				var w benchWriter
				timed(b, size, func() {
					if off+size > benchSegmentBytes {
						w.close()
						w, off = newBenchFile(b, way.open), 0
					}
				}, func() {
					w.write(data, off)
					off += size
				})
				w.close()
			})
		}
	}
}

// benchWriter is one way to write to one file.
type benchWriter struct {
	write func(data []byte, off int)
	end   func()
	file  *os.File
}

func (w *benchWriter) close() {
	if w.file == nil {
		return
	}
	w.end()
	w.file.Close()
	os.Remove(w.file.Name())
}

func newBenchFile(b *testing.B, open func(*testing.B, *os.File) benchWriter) benchWriter {
	f, err := os.CreateTemp(b.TempDir(), "segment")
	check(b, err)
	check(b, unix.Fallocate(int(f.Fd()), 0, 0, benchSegmentBytes))
	w := open(b, f)
	w.file = f
	return w
}

func openPwritev(b *testing.B, f *os.File) benchWriter {
	fd, bufs := int(f.Fd()), make([][]byte, 1)
	return benchWriter{
		write: func(data []byte, off int) {
			bufs[0] = data
			_, err := unix.Pwritev(fd, bufs, int64(off))
			check(b, err)
		},
		end: func() {},
	}
}

func openMapping(b *testing.B, f *os.File) benchWriter {
	m, err := unix.Mmap(int(f.Fd()), 0, benchSegmentBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(b, err)
	return benchWriter{
		write: func(data []byte, off int) { copy(m[off:], data) },
		end:   func() { check(b, unix.Munmap(m)) },
	}
}

func openPrefault(b *testing.B, f *os.File) benchWriter {
	const ahead = 8 << 20
	m, err := unix.Mmap(int(f.Fd()), 0, benchSegmentBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	check(b, err)
	ready := 0
	return benchWriter{
		write: func(data []byte, off int) {
			for off+len(data) > ready {
				check(b, unix.Madvise(m[ready:min(ready+ahead, len(m))], unix.MADV_POPULATE_WRITE))
				ready += ahead
			}
			copy(m[off:], data)
		},
		end: func() { check(b, unix.Munmap(m)) },
	}
}

// BenchmarkRead finds ranges all over a segment of small batches, live and sealed. It does not touch the bytes.
func BenchmarkRead(b *testing.B) {
	for _, sealed := range []bool{false, true} {
		b.Run(fmt.Sprintf("sealed=%v", sealed), func(b *testing.B) {
			s, err := Create(vfs.OS{}, b.TempDir(), 0, benchOptions())
			check(b, err)
			batch := benchBatch(b, 500)
			for range 100_000 {
				batch.SetBaseOffset(s.NextOffset())
				check(b, s.Append(batch))
			}
			if sealed {
				check(b, s.Seal())
			}
			random, end := rand.New(rand.NewPCG(1, 1)), s.NextOffset()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				r, err := s.Read(kafka.Offset(random.IntN(int(end))), 64<<10, true, end)
				check(b, err)
				r.Release()
			}
			b.StopTimer()
			check(b, s.Remove())
		})
	}
}

// BenchmarkReadTail is the read of a consumer that has caught up, right after an append.
func BenchmarkReadTail(b *testing.B) {
	s, err := Create(vfs.OS{}, b.TempDir(), 0, benchOptions())
	check(b, err)
	batch := benchBatch(b, 500)
	for range 1000 {
		batch.SetBaseOffset(s.NextOffset())
		check(b, s.Append(batch))
	}
	next := s.NextOffset()
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		r, err := s.Read(next-1, 1<<20, true, next)
		check(b, err)
		r.Release()
	}
	b.StopTimer()
	check(b, s.Remove())
}

// BenchmarkReadOn is a consumer that reads a sealed segment from its beginning to its end, and asks before each read
// whether it will wait for the disk: the kernel every time, or what was asked a moment ago first.
func BenchmarkReadOn(b *testing.B) {
	for name, c := range map[string]clock.Clock{"asks": nil, "remembers": clock.Real{}} {
		b.Run(name, func(b *testing.B) {
			o := benchOptions()
			o.Clock = c
			s, err := Create(vfs.OS{}, b.TempDir(), 0, o)
			check(b, err)
			batch := benchBatch(b, 500)
			for range 100_000 {
				batch.SetBaseOffset(s.NextOffset())
				check(b, s.Append(batch))
			}
			check(b, s.Seal())
			offset, end := kafka.Offset(0), s.NextOffset()
			r, err := s.Read(offset, 1, true, end) // maps log and index
			check(b, err)
			r.Release()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if !s.Resident(offset, 64<<10, end) {
					b.Fatal("not in memory")
				}
				r, err := s.Read(offset, 64<<10, true, end)
				check(b, err)
				if offset = r.NextOffset; offset == end {
					offset = 0
				}
				r.Release()
			}
			b.StopTimer()
			check(b, s.Remove())
		})
	}
}

// BenchmarkRecover scans a segment as after a crash: structure, checksums, indexes.
func BenchmarkRecover(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			const total = 256 << 20
			dir := b.TempDir()
			s, err := Create(vfs.OS{}, dir, 0, benchOptions())
			check(b, err)
			batch := benchBatch(b, size)
			for s.Bytes() < total {
				batch.SetBaseOffset(s.NextOffset())
				check(b, s.Append(batch))
			}
			check(b, s.Close())
			b.SetBytes(total)
			b.ResetTimer()
			for range b.N {
				s, _, err = Recover(vfs.OS{}, dir, 0, benchOptions(), 0, nil)
				check(b, err)
				s.Abandon()
			}
		})
	}
}
