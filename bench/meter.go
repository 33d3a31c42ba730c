package bench

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spate/bench/result"
	"spate/internal/task"
)

// meter counts and times what a run does, from any goroutine, and makes a result.Second of it once a second.
type meter struct {
	produced, producedBytes atomic.Int64 // acknowledged
	consumed, consumedBytes atomic.Int64 // by all readers
	// due are records that every reader has to see: those that were acknowledged, or whose transaction was committed.
	due                atomic.Int64
	committed, aborted atomic.Int64
	rebalances         atomic.Int64 // a member left, and another one joined
	moves              atomic.Int64 // of partitions to a member
	failures           atomic.Int64
	out                atomic.Int64 // records on their way
	behind             atomic.Int64 // nanoseconds by which the last record was late
	behindMost         atomic.Int64 // of the step
	lastSent           atomic.Int64 // when, in nanoseconds since 1970; of records that have a schedule
	lastProduced       atomic.Int64
	lastConsumed       atomic.Int64
	recorders          map[string]*recorder
	pid                int
	observe            func(*result.Second) // called by the meter's goroutine
	lag                func() int64         // of the reader that is furthest behind; nil: nobody reads

	errorsMu sync.Mutex
	errors   map[string]int64
	first    error

	sampling sync.Mutex // guards what is below
	phase    string
	step     int
	target   func(time.Time) float64
	began    time.Time // of the series
	last     snapshot
	counting snapshot // when the warm-up ended
	seconds  []result.Second

	stop  chan struct{}
	ticks task.Group
}

// snapshot is the state of the counters at a moment.
type snapshot struct {
	at                                               time.Time
	produced, producedBytes, consumed, consumedBytes int64
	failures                                         int64
	broker, client                                   Usage
}

func newMeter(pid int, observe func(*result.Second)) *meter {
	m := &meter{pid: pid, observe: observe, recorders: map[string]*recorder{}, errors: map[string]int64{}}
	for _, name := range result.LatencyNames {
		m.recorders[name] = newRecorder()
	}
	return m
}

// recorder collects latencies of one kind from any goroutine.
type recorder struct {
	mu       sync.Mutex
	interval *result.Histogram // since the last sample

	step  *result.Histogram // until the last sample; under the meter's sampling lock, as is total
	total *result.Histogram
}

func newRecorder() *recorder {
	return &recorder{interval: result.NewHistogram(), step: result.NewHistogram(), total: result.NewHistogram()}
}

// record counts one latency.
func (r *recorder) record(d time.Duration) {
	r.mu.Lock()
	r.interval.Record(d)
	r.mu.Unlock()
}

// sample gives the figures since the last sample, and adds them to the step, and to the total if they count.
func (r *recorder) sample(counts bool) result.Percentiles {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.interval.Percentiles()
	if p.Count > 0 {
		r.step.Merge(r.interval)
		if counts {
			r.total.Merge(r.interval)
		}
		r.interval.Reset()
	}
	return p
}

// errorKinds bounds the different errors that are told apart.
const errorKinds = 100

// failed counts an error.
func (m *meter) failed(err error) {
	m.failures.Add(1)
	m.errorsMu.Lock()
	defer m.errorsMu.Unlock()
	if m.first == nil {
		m.first = err
	}
	text := err.Error()
	if _, known := m.errors[text]; !known && len(m.errors) >= errorKinds {
		text = "others"
	}
	m.errors[text]++
}

func (m *meter) firstError() error {
	m.errorsMu.Lock()
	defer m.errorsMu.Unlock()
	return m.first
}

// errorCounts are the errors, the most frequent first.
func (m *meter) errorCounts() []result.ErrorCount {
	m.errorsMu.Lock()
	defer m.errorsMu.Unlock()
	var counts []result.ErrorCount
	for text, count := range m.errors {
		counts = append(counts, result.ErrorCount{Text: text, Count: count})
	}
	slices.SortFunc(counts, func(a, b result.ErrorCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return counts
}

// failuresMax bounds the errors after which a load stops: it has become a test of the error path.
const failuresMax = 100_000

func (m *meter) tooMany() bool { return m.failures.Load() > failuresMax }

// sent says that a record was sent, when it was due.
func (m *meter) sent(due time.Time) {
	now := time.Now()
	m.lastSent.Store(now.UnixNano())
	by := max(0, now.Sub(due))
	m.behind.Store(int64(by))
	for most := m.behindMost.Load(); int64(by) > most; most = m.behindMost.Load() {
		m.behindMost.CompareAndSwap(most, int64(by))
	}
}

// lastOf is when the production at a rate ended, which began at a moment: with the last record that was sent, as what
// it took from there is in the latencies; or, where the broker does not keep up, with the last acknowledgement.
func (m *meter) lastOf(began int64) int64 {
	sent, produced := m.lastSent.Load(), m.lastProduced.Load()
	if produced-sent > max(int64(100*time.Millisecond), (sent-began)/100) {
		return produced
	}
	return sent
}

// start begins the series. Until end, a Second is made each second.
func (m *meter) start(phase string) {
	m.began, m.phase = time.Now(), phase
	m.last = m.snapshot(m.began)
	for _, recorder := range m.recorders { // of what was written before
		recorder.mu.Lock()
		recorder.interval.Reset()
		recorder.mu.Unlock()
	}
	m.stop = make(chan struct{})
	m.ticks.Go("bench: meter", func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-m.stop:
				return
			case <-ticker.C:
				m.observe(m.sample())
			}
		}
	})
}

// end ends the series.
func (m *meter) end() {
	close(m.stop)
	m.ticks.Wait()
	m.sample()
}

// sampleMin is the least that makes a second of its own: rates of less are noise.
const sampleMin = 200 * time.Millisecond

// enter goes to another phase, step and target. What was counted so far belongs to the former ones.
func (m *meter) enter(phase string, step int, target func(time.Time) float64) {
	m.sample()
	m.sampling.Lock()
	defer m.sampling.Unlock()
	if m.phase == result.PhaseWarmUp {
		m.counting = m.last
	}
	m.phase, m.step, m.target = phase, step, target
	m.behindMost.Store(0)
	for _, recorder := range m.recorders {
		recorder.step.Reset()
	}
}

// sample makes a Second of what was counted since the last one.
func (m *meter) sample() *result.Second {
	m.sampling.Lock()
	defer m.sampling.Unlock()
	now := m.snapshot(time.Now())
	length := now.at.Sub(m.last.at)
	s := result.Second{
		AtSeconds: now.at.Sub(m.began).Seconds(), Length: length.Seconds(), Phase: m.phase, Step: m.step,
		ProducedRecords: now.produced - m.last.produced, ProducedBytes: now.producedBytes - m.last.producedBytes,
		ConsumedRecords: now.consumed - m.last.consumed, ConsumedBytes: now.consumedBytes - m.last.consumedBytes,
		Errors: now.failures - m.last.failures, BehindSeconds: time.Duration(m.behind.Load()).Seconds(),
		ClientMemoryBytes: now.client.AnonymousBytes,
	}
	cores := func(before, after time.Duration) float64 {
		if length < sampleMin { // the kernel counts in ticks that are coarse beside it
			return 0
		}
		return (after - before).Seconds() / length.Seconds()
	}
	s.ClientCores = cores(m.last.client.User+m.last.client.System, now.client.User+now.client.System)
	if m.target != nil {
		s.Target = m.target(now.at)
	}
	if m.lag != nil {
		lag := max(0, m.lag())
		s.LagRecords = &lag
	}
	if m.pid != 0 {
		user, system := cores(m.last.broker.User, now.broker.User), cores(m.last.broker.System, now.broker.System)
		s.BrokerUserCores, s.BrokerSystemCores = &user, &system
		s.BrokerMemoryBytes = &now.broker.AnonymousBytes
	}
	for name, recorder := range m.recorders {
		if p := recorder.sample(m.phase != result.PhaseWarmUp); p.Count > 0 {
			if s.Latencies == nil {
				s.Latencies = map[string]result.Percentiles{}
			}
			s.Latencies[name] = p
		}
	}
	m.last = now
	if length >= sampleMin || s.ProducedRecords+s.ConsumedRecords+s.Errors > 0 {
		m.seconds = append(m.seconds, s)
	}
	return &s
}

func (m *meter) snapshot(at time.Time) snapshot {
	s := snapshot{at: at, produced: m.produced.Load(), producedBytes: m.producedBytes.Load(),
		consumed: m.consumed.Load(), consumedBytes: m.consumedBytes.Load(), failures: m.failures.Load()}
	var err error
	if s.client, err = SpentBy(os.Getpid()); err != nil {
		s.client = m.last.client
	}
	if m.pid != 0 {
		if s.broker, err = SpentBy(m.pid); err != nil { // it is gone: so is its usage
			s.broker = m.last.broker
		}
	}
	return s
}

// stepLatencies are copies of the latencies of the step so far; the caller has taken a sample, and the next one may
// come at any time.
func (m *meter) stepLatencies() map[string]*result.Histogram {
	m.sampling.Lock()
	defer m.sampling.Unlock()
	latencies := map[string]*result.Histogram{}
	for name, recorder := range m.recorders {
		if recorder.step.Count() > 0 {
			latencies[name] = result.NewHistogram()
			latencies[name].Merge(recorder.step)
		}
	}
	return latencies
}
