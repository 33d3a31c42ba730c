package runtime

import (
	"time"

	"spate/kafka"
)

// parkedReply is an answer that is given when the high watermark reaches from.
type parkedReply struct {
	from  kafka.Offset
	since time.Time
	done  Done
	body  any
	err   error
}

// parkedReplies are the replies that wait, in their order; their offsets never fall.
type parkedReplies struct {
	list  []parkedReply
	first int
}

func (p *parkedReplies) push(r parkedReply) { p.list = append(p.list, r) }

// pop takes the first reply if the high watermark allows it.
func (p *parkedReplies) pop(mark kafka.Offset) (parkedReply, bool) {
	if p.first == len(p.list) || p.list[p.first].from > mark {
		p.compact()
		return parkedReply{}, false
	}
	r := p.list[p.first]
	p.list[p.first] = parkedReply{}
	p.first++
	return r, true
}

// compact frees what has been taken.
func (p *parkedReplies) compact() {
	switch {
	case p.first == len(p.list):
		p.list = p.list[:0]
	case p.first > len(p.list)/2:
		n := copy(p.list, p.list[p.first:])
		clear(p.list[n:])
		p.list = p.list[:n]
	default:
		return
	}
	p.first = 0
	if cap(p.list) > parkedKept && len(p.list) == 0 {
		p.list = nil
	}
}

// parkedKept is how many replies a quiet shard has room for.
const parkedKept = 1 << 10

// refuse answers all with NOT_COORDINATOR: what was written may be committed or not.
func (p *parkedReplies) refuse() {
	list := p.list[p.first:]
	*p = parkedReplies{}
	for i := range list {
		list[i].done.Done(nil, kafka.NotCoordinator)
	}
}
