package api

import "github.com/twmb/franz-go/pkg/kmsg"

// offsetsIn counts what a request about committed offsets names, groups, topics and partitions; any other has none.
func offsetsIn(request kmsg.Request) int {
	n := 0
	switch r := request.(type) {
	case *kmsg.OffsetCommitRequest:
		for i := range r.Topics {
			n += 1 + len(r.Topics[i].Partitions)
		}
	case *kmsg.TxnOffsetCommitRequest:
		for i := range r.Topics {
			n += 1 + len(r.Topics[i].Partitions)
		}
	case *kmsg.OffsetDeleteRequest:
		for i := range r.Topics {
			n += 1 + len(r.Topics[i].Partitions)
		}
	case *kmsg.OffsetFetchRequest:
		for i := range r.Topics {
			n += 1 + len(r.Topics[i].Partitions)
		}
		for i := range r.Groups {
			n++
			for j := range r.Groups[i].Topics {
				n += 1 + len(r.Groups[i].Topics[j].Partitions)
			}
		}
	}
	return n
}

func manyOffsets(_ *Context, r kmsg.Request) bool { return offsetsIn(r) > inlineMax }

// offsetBytes is what a topic or a partition of such a request costs until it is answered: in the request, the question
// to the coordinator, what that says, and the response. On the wire it may be four bytes.
const offsetBytes = 256
