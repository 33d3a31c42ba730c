package storage

import (
	"spate/kafka"
	"spate/kafka/record"
)

// indexCheck is what the checks of all indexes share.
type indexCheck struct {
	p    *partition
	x    *indexFile
	i    int  // the next entry to check
	done bool // damage was found: one report a file is enough
}

// damage reports the entry i.
func (c *indexCheck) damage(format string, args ...any) {
	c.p.report.damage(damaged(c.x.path, int64(c.i*c.x.size), format, args...))
	c.done = true
}

// past reports entries that point past the end of the log, unless the next start rebuilds the index.
func (c *indexCheck) past(s *segmentState) {
	if c.done || c.i >= c.x.count() || s.broken {
		return
	}
	if c.p.forgiven(s.next) {
		c.p.report.note(c.x.path, "it has entries past the end of the log; the next start rebuilds it")
		return
	}
	c.damage("the entry points past the end of the log")
}

// offsetIndexCheck: each entry points to where a batch begins and names that batch's last offset.
type offsetIndexCheck struct{ indexCheck }

// batch implements segmentCheck.
func (c *offsetIndexCheck) batch(b record.Batch, position int64, _ *segmentState) {
	for !c.done && c.i < c.x.count() {
		e := c.x.offsetAt(c.i)
		switch {
		case int64(e.position) > position:
			return
		case int64(e.position) < position:
			c.damage("no batch begins at %d, or the entries do not rise", e.position)
		case e.offset != b.LastOffset():
			c.damage("the batch at %d ends with offset %d, not %d", position, b.LastOffset(), e.offset)
		default:
			c.i++
		}
	}
}

// end implements segmentCheck.
func (c *offsetIndexCheck) end(s *segmentState) { c.past(s) }

// timeIndexCheck: each entry holds the largest timestamp up to the batch with its offset.
type timeIndexCheck struct{ indexCheck }

// batch implements segmentCheck.
func (c *timeIndexCheck) batch(b record.Batch, _ int64, s *segmentState) {
	for !c.done && c.i < c.x.count() {
		e := c.x.timeAt(c.i)
		switch {
		case e.offset > b.LastOffset():
			return
		case e.offset < b.BaseOffset():
			c.damage("no batch has offset %d, or the entries do not rise", e.offset)
		case e.timestamp != s.maxTime:
			c.damage("the largest timestamp up to offset %d is %d, not %d", e.offset, s.maxTime, e.timestamp)
		default:
			c.i++
		}
	}
}

// end implements segmentCheck.
func (c *timeIndexCheck) end(s *segmentState) { c.past(s) }

// transactionIndexCheck: each entry names an aborted transaction whose marker is in the segment.
type transactionIndexCheck struct{ indexCheck }

// batch implements segmentCheck.
func (c *transactionIndexCheck) batch(b record.Batch, _ int64, _ *segmentState) {
	for !c.done && c.i < c.x.count() {
		t := c.x.transactionAt(c.i)
		switch {
		case t.version != 0:
			c.damage("version %d is not 0", t.version)
		case t.firstOffset > t.lastOffset:
			c.damage("the transaction begins at offset %d and ends at %d", t.firstOffset, t.lastOffset)
		case t.lastOffset > b.LastOffset():
			return
		case t.lastOffset != b.LastOffset() || !b.IsControl() || t.producerID != b.ProducerID():
			c.damage("no marker of producer %d is at offset %d", t.producerID, t.lastOffset)
		default:
			c.i++
		}
	}
}

// end implements segmentCheck.
func (c *transactionIndexCheck) end(s *segmentState) { c.past(s) }

// epochCheck: each batch has the leader epoch that leader-epoch-checkpoint gives for its offset.
type epochCheck struct {
	p    *partition
	path string // of the log
	done bool
}

// batch implements segmentCheck.
func (c *epochCheck) batch(b record.Batch, position int64, _ *segmentState) {
	want, ok := c.p.epochAt(b.BaseOffset())
	if c.done || !ok || b.LeaderEpoch() == want || b.LeaderEpoch() == kafka.NoLeaderEpoch {
		return
	}
	newer := b.LeaderEpoch() > c.p.epochs[len(c.p.epochs)-1].epoch
	if newer && c.p.forgiven(b.BaseOffset()) {
		return // the checkpoint lags behind an unclean shutdown, or behind a running broker
	}
	c.p.report.damage(damaged(c.path, position, "the batch at offset %d has leader epoch %d, but "+
		"leader-epoch-checkpoint says %d", b.BaseOffset(), b.LeaderEpoch(), want))
	c.done = true
}

// end implements segmentCheck.
func (c *epochCheck) end(*segmentState) {}
