package segment

import (
	"spate/index"
	"spate/internal/vfs"
	"spate/kafka"
)

// AppendAborted adds an aborted transaction whose marker was appended to this segment. Flush makes it durable. It is
// for the appender. After ReadyAborted and an Append it fails only if the segment takes no writes at all any more.
func (s *Segment) AppendAborted(t index.Transaction) error {
	b, err := s.readyAborted()
	if err != nil {
		return err
	}
	b.aborted.Live().AppendTransaction(t)
	return nil
}

// ReadyAborted reads what AppendAborted needs, before the marker is appended: a marker that could not be put into the
// index would stay in the log, below the next append. It is for the appender.
func (s *Segment) ReadyAborted() error {
	_, err := s.readyAborted()
	return err
}

func (s *Segment) readyAborted() (*body, error) {
	b, err := s.writable()
	if err == nil && b.aborted.Live() == nil {
		err = s.reviveAborted(b)
	}
	return b, err
}

func (s *Segment) reviveAborted(b *body) error {
	view, err := b.aborted.View()
	if err != nil {
		return err
	}
	return vfs.Guard(func() error {
		valid := index.Transactions(view).Valid(s.base)
		if len(valid) == len(view) {
			b.aborted.Revive(index.NewBuffer(valid))
		} else {
			b.aborted.Replace(index.NewBuffer(valid))
		}
		return nil
	})
}

// Aborted appends to dst the aborted transactions of this segment that overlap with the offsets [from, to). It reports
// whether those are all of them: if not, later segments may hold the markers of more.
func (s *Segment) Aborted(dst []index.Transaction, from, to kafka.Offset) (_ []index.Transaction, all bool, err error) {
	for {
		b, err := s.acquire()
		if err != nil {
			return dst, false, err
		}
		found, all, err := b.abortedIn(dst, from, to)
		b.release()
		// An index that is not there has no transactions, unless it is gone because the segment is.
		if err != nil || s.body.Load() == b {
			return found, all, err
		}
	}
}

func (b *body) abortedIn(dst []index.Transaction, from, to kafka.Offset) (_ []index.Transaction, all bool, err error) {
	view, err := b.aborted.View()
	if err != nil {
		return dst, false, err
	}
	err = vfs.Guard(func() error {
		dst, all = index.Transactions(view).Overlapping(dst, from, to)
		return nil
	})
	return dst, all, err
}
