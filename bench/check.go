package bench

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"spate/bench/result"
	"spate/bench/verify"
)

// settled is how often a wait looks whether it is over.
const settled = 2 * time.Millisecond

// need is how many records a reader has to see.
func (d *reader) need() int64 { return d.run.meter.due.Load() - d.before }

// lag is how many records the reader that is furthest behind has not seen.
func (r *run) lag() int64 {
	lag := int64(0)
	for _, d := range r.readers {
		lag = max(lag, d.need()-d.arrived.Load())
	}
	return lag
}

// drain waits until all readers have seen everything. It ends early when nothing has come for a while.
func (r *run) drain() {
	r.awaitReaders(r.readers, func() bool { return false })
}

// awaitReaders waits until the readers have seen all that is due, reports whether they have, and ends early when
// nothing comes any more, or stop says so.
func (r *run) awaitReaders(readers []*reader, stop func() bool) bool {
	last, since := int64(-1), time.Now()
	for r.hard.Err() == nil && !stop() {
		seen, open := int64(0), false
		for _, d := range readers {
			arrived := d.arrived.Load()
			seen += arrived
			open = open || arrived+d.missed < d.need()
		}
		if !open {
			return true
		}
		if seen != last {
			last, since = seen, time.Now()
		}
		if time.Since(since) > r.w.Drain {
			for _, d := range readers { // the next wait does not wait for these again
				d.missed = max(0, d.need()-d.arrived.Load())
			}
			return false
		}
		time.Sleep(settled)
	}
	return false
}

// readAll is the load of consume: the readers read what is there.
func (r *run) readAll() {
	r.meter.enter(result.PhaseLoad, 0, nil)
	r.progress.enter(result.PhaseLoad, r.w.Length)
	if r.w.Length == 0 {
		r.progress.counting(r.meter.consumed.Load, func() int64 { return r.w.Records * int64(len(r.readers)) })
	}
	began := time.Now()
	whole := r.awaitReaders(r.readers, func() bool {
		return r.soft.Err() != nil || r.w.Length > 0 && time.Since(began) >= r.w.Length
	})
	r.cut = !whole && (r.soft.Err() != nil || r.w.Length > 0 && time.Since(began) >= r.w.Length)
}

// check verifies what the run has moved.
func (r *run) check() error {
	v := &r.result.Verification
	if !r.w.Verify {
		v.Outcome, v.Text = result.VerifiedOff, "not verified, as --verify=false"
		if lag := r.lag(); lag > 0 && !r.cut && r.hard.Err() == nil {
			r.meter.failed(fmt.Errorf("%d records did not arrive", lag))
		}
		return nil
	}
	readers := r.readers
	if len(readers) == 0 {
		r.progress.enter(result.PhaseVerify, 0)
		back, err := r.newReader("read-back", r.writers, r.starts)
		if err != nil {
			return err
		}
		back.timed, back.counted = false, false
		readers = append(readers, back)
		defer back.close()
		r.progress.counting(back.arrived.Load, r.meter.due.Load)
		ticking := r.progress.ticking()
		back.start()
		r.awaitReaders(readers, func() bool { return false })
		ticking()
	}
	var counts verify.Counts
	var logs []*verify.Log
	incomplete := r.cut || !r.readToEnd(readers) || r.hard.Err() != nil
	for _, d := range readers {
		d.close()
		for p, log := range d.logs {
			log.Finish(written(d.from, p), !incomplete)
			counts.Add(log.Counts())
			logs = append(logs, log)
		}
	}
	v.Checked, v.Readers, v.Lost, v.Duplicated = counts.Checked, len(readers), counts.Lost, counts.Duplicated
	v.Reordered, v.Corrupted, v.Unexpected = counts.Reordered, counts.Corrupted, counts.Unexpected
	v.Redelivered = counts.Redelivered
	for _, w := range append(append([]*writer{}, r.fillers...), r.writers...) {
		for p := range r.partitions {
			v.Unknown += int64(len(w.written(p).Unknown))
		}
	}
	for _, f := range verify.First(logs) {
		v.Faults = append(v.Faults, result.Fault(f))
	}
	r.judge(incomplete)
	return nil
}

// readToEnd waits until the readers are at the end of every partition, where more may be than is due: records that were
// not acknowledged, or that must not be there. It reports whether the ends are known; what does not come is lost.
func (r *run) readToEnd(readers []*reader) bool {
	if r.hard.Err() != nil {
		return false
	}
	ends, err := r.decided()
	if err != nil {
		if r.hard.Err() == nil {
			r.meter.failed(err)
		}
		return false
	}
	last, since := int64(-1), time.Now()
	for r.hard.Err() == nil {
		at, open := int64(0), false
		for _, d := range readers {
			for p, end := range ends {
				next := d.next[p].Load()
				at += next
				open = open || next < end
			}
		}
		if at != last {
			last, since = at, time.Now()
		}
		if !open || time.Since(since) > r.w.Drain {
			return true
		}
		time.Sleep(settled)
	}
	return false
}

// judge finds the outcome and the sentence of the verification.
func (r *run) judge(incomplete bool) {
	v := &r.result.Verification
	wrong := []string{}
	duplicates := v.Duplicated
	if !r.w.Idempotent && r.w.Kind != "transactions" {
		duplicates = 0 // are what such a producer may do
	}
	for _, c := range []struct {
		count int64
		what  string
	}{{v.Lost, verify.Lost}, {duplicates, verify.Duplicated}, {v.Reordered, verify.Reordered},
		{v.Corrupted, verify.Corrupted}, {v.Unexpected, verify.Unexpected}} {
		if c.count > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s", c.count, c.what))
		}
	}
	readers := "1 reader"
	switch {
	case r.group != nil:
		readers = "the group"
	case v.Readers != 1:
		readers = fmt.Sprintf("%d readers", v.Readers)
	}
	switch {
	case len(wrong) > 0:
		v.Outcome = result.VerifiedFailed
		v.Text = fmt.Sprintf("%s of %d records", strings.Join(wrong, ", "), r.meter.due.Load())
		if len(v.Faults) > 0 {
			v.Text += "; the first: " + v.Faults[0].Text
		}
	case incomplete:
		v.Outcome = result.VerifiedIncomplete
		v.Text = fmt.Sprintf("nothing wrong among %d records read by %s, before the end of the run", v.Checked,
			readers)
	default:
		v.Outcome = result.VerifiedOK
		v.Text = fmt.Sprintf("%d records read by %s: all there, once, in order and unchanged", v.Checked, readers)
		if v.Duplicated > 0 {
			v.Text = fmt.Sprintf("%d records read by %s: all there, in order and unchanged, and %d of them twice, as "+
				"the producer is not idempotent", v.Checked, readers, v.Duplicated)
		}
		if v.Redelivered > 0 {
			v.Text += fmt.Sprintf("; %d of them were given to it again, as members changed", v.Redelivered)
		}
	}
	if v.Unknown > 0 {
		v.Text += fmt.Sprintf(" (%d were not acknowledged)", v.Unknown)
	}
}

// finish adds up the totals.
func (r *run) finish() {
	m, res := r.meter, r.result
	res.Seconds, res.Errors = m.seconds, m.errorCounts()
	t := &res.Totals
	if m.began.IsZero() { // interrupted before the load
		res.Began = time.Now()
		return
	}
	t.Errors, t.Committed, t.Aborted = m.failures.Load(), m.committed.Load(), m.aborted.Load()
	t.Rebalances, t.PartitionMoves = m.rebalances.Load(), m.moves.Load()
	var memory, own int64
	for _, s := range m.seconds {
		if s.Phase == result.PhaseWarmUp {
			continue
		}
		t.Produced.Records += s.ProducedRecords
		t.Produced.Bytes += s.ProducedBytes
		t.Consumed.Records += s.ConsumedRecords
		t.Consumed.Bytes += s.ConsumedBytes
		if s.BrokerMemoryBytes != nil {
			memory = max(memory, *s.BrokerMemoryBytes)
		}
		own = max(own, s.ClientMemoryBytes)
	}
	began := m.counting.at.UnixNano()
	pace := func(f *result.Flow, last int64) {
		if seconds := time.Duration(last - began).Seconds(); seconds > 0 {
			f.RecordsPerSecond, f.BytesPerSecond = float64(f.Records)/seconds, float64(f.Bytes)/seconds
			t.Elapsed = max(t.Elapsed, seconds)
		}
	}
	pace(&t.Produced, m.lastProduced.Load())
	pace(&t.Consumed, m.lastConsumed.Load())
	if m.lastSent.Load() > 0 {
		pace(&t.Produced, m.lastOf(began))
	}
	if len(res.Steps) == 0 {
		t.RateTarget = r.w.Rate
	}
	flow := t.Produced
	if flow.Records == 0 {
		flow = t.Consumed
	}
	if r.t.PID != 0 {
		t.Broker = usageBetween(m.counting.broker, m.last.broker, flow, memory)
	}
	t.Client = usageBetween(m.counting.client, m.last.client, flow, own)
	for _, name := range result.LatencyNames {
		if total := m.recorders[name].total; total.Count() > 0 {
			if res.Latencies == nil {
				res.Latencies = map[string]*result.Histogram{}
			}
			res.Latencies[name] = total
		}
	}
	r.notes()
}

func usageBetween(before, after Usage, flow result.Flow, memory int64) *result.Usage {
	u := &result.Usage{UserSeconds: (after.User - before.User).Seconds(),
		SystemSeconds: (after.System - before.System).Seconds(), MemoryBytesMax: memory}
	if flow.Bytes > 0 {
		u.CPUSecondsPerGB = u.CPUSeconds() / (float64(flow.Bytes) / 1e9)
		u.CPUMicrosPerRecord = u.CPUSeconds() * 1e6 / float64(flow.Records)
	}
	return u
}

// What is worth a note: a rate that was missed by so much, as a share, and a load generator that has little left.
const (
	rateMissed = 0.99
	coresTaken = 0.85
)

// notes says what a reader should know before believing the numbers.
func (r *run) notes() {
	t := r.result.Totals
	if t.RateTarget > 0 && r.w.RampFrom == 0 && t.Produced.Records > 0 && !r.result.Interrupted &&
		t.Produced.RecordsPerSecond < rateMissed*t.RateTarget {
		r.note("The rate was not reached: %.0f of %.0f records/s; records were sent up to %.1f s late, which is part "+
			"of their latency.", t.Produced.RecordsPerSecond, t.RateTarget, t.BehindSeconds)
	}
	if r.meter.tooMany() {
		r.note("The load ended early, after %d errors.", t.Errors)
	}
	if took := r.meter.last.at.Sub(r.meter.counting.at); took >= sampleMin && t.Client != nil {
		elapsed := took.Seconds()
		cores, all := t.Client.CPUSeconds()/elapsed, float64(runtime.GOMAXPROCS(0))
		broker := 0.0
		if t.Broker != nil {
			broker = t.Broker.CPUSeconds() / elapsed
		}
		switch {
		case cores > coresTaken*all:
			r.note("The load generator kept %.1f of %.0f cores busy: it may be the limit, not the broker.", cores, all)
		case cores+broker > coresTaken*all:
			r.note("Load generator and broker together kept %.1f of %.0f cores busy (%.1f and %.1f): they compete for "+
				"them.", cores+broker, all, cores, broker)
		}
	}
}
