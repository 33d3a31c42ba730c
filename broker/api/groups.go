package api

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/coordinator"
	"spate/coordinator/group"
	"spate/coordinator/runtime"
	"spate/kafka"
)

// Groups takes the commands for groups to the coordinators that this broker runs; *runtime.Host is one. done is called
// exactly once, at once or later, from any goroutine.
type Groups interface {
	// Submit gives a command to the coordinator of a group.
	Submit(id string, command any, done runtime.Done)
	// SubmitTo gives a command to the coordinator that keeps its state in a partition.
	SubmitTo(partition kafka.PartitionIndex, command any, done runtime.Done)
	// Led lists the partitions whose coordinators run here.
	Led() []kafka.PartitionIndex
	// PartitionFor is the partition that a group belongs to.
	PartitionFor(id string) kafka.PartitionIndex
}

// groupOperations is topicOperations for groups.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

// submit hands a command to the coordinator of a group; tell makes the response of what it says.
func (a *Asked) submit(id string, body any, tell Tell) {
	a.tell = tell
	if a.node.parked.full() {
		a.Done(nil, kafka.CoordinatorLoadInProgress)
		return
	}
	a.node.Groups.Submit(id, group.Command{Group: id, Body: body}, a)
}

// refuse answers without asking a coordinator.
func (a *Asked) refuse(err error, tell Tell) { a.Answer(tell(a, nil, err)) }

// said is the answer of a coordinator.
type said struct {
	body any
	err  error
}

// gathering waits for the answers of several coordinators.
type gathering struct {
	left    atomic.Int64
	answers []said
	done    func(answers []said)
}

// questionBytes is what a question costs while it waits, beside the request: the answer's place, who takes it, the
// command, and its place in a coordinator's queue. A group's name may be one byte of a request.
const questionBytes = 256

// gather asks n questions, the ith by calling ask with i and whoever takes its answer. done gets the answers in that
// order, on the goroutine that the last one came on.
func (a *Asked) gather(n int, ask func(i int, to runtime.Done), done func(answers []said)) {
	g := &gathering{answers: make([]said, n), done: done}
	a.charge(int64(n) * questionBytes)
	if a.node.parked.full() {
		for i := range g.answers {
			g.answers[i].err = kafka.CoordinatorLoadInProgress
		}
		n = 0
	}
	g.left.Store(int64(n) + 1) // one more, so that it cannot end before all have been asked
	for i := range n {
		ask(i, &gathered{g, i})
	}
	g.arrived()
}

func (g *gathering) arrived() {
	if g.left.Add(-1) == 0 {
		g.done(g.answers)
	}
}

// gathered takes one answer.
type gathered struct {
	*gathering
	i int
}

// Done notes the answer.
func (g *gathered) Done(body any, err error) {
	g.answers[g.i] = said{body, err}
	g.arrived()
}

// gatherGroups asks the coordinator of each group the same question.
func (a *Asked) gatherGroups(ids []string, body any, done func(answers []said)) {
	a.gather(len(ids), func(i int, to runtime.Done) {
		a.node.Groups.Submit(ids[i], group.Command{Group: ids[i], Body: body}, to)
	}, done)
}

// memberID draws the id of a new member of a classic group, as Kafka does: the static name or the client's id, and a
// random part.
func (c *Context) memberID(instanceID *string) (string, error) {
	id, err := kafka.NewUUID(c.Node.Rand)
	if err != nil {
		return "", err
	}
	const hex = "0123456789abcdef"
	var b strings.Builder
	if instanceID != nil {
		b.WriteString(*instanceID)
	} else {
		b.Write(c.Header.ClientID)
	}
	for i, octet := range id {
		if i == 0 || i == 4 || i == 6 || i == 8 || i == 10 {
			b.WriteByte('-')
		}
		b.WriteByte(hex[octet>>4])
		b.WriteByte(hex[octet&15])
	}
	return b.String(), nil
}

// clientHost is the client's address as Kafka's tools show it.
func (c *Context) clientHost() string { return hostText(c.Conn.RemoteAddr().Addr()) }

// hostText writes an address as Java does: after a slash, and without abbreviating zeros of IPv6.
func hostText(a netip.Addr) string {
	if a.Is4() || a.Is4In6() || !a.IsValid() {
		return "/" + a.Unmap().String()
	}
	text, octets := make([]byte, 0, 48), a.As16()
	for i := 0; i < len(octets); i += 2 {
		text = append(text, "/:"[min(i, 1)])
		text = strconv.AppendUint(text, uint64(octets[i])<<8|uint64(octets[i+1]), 16)
	}
	if zone := a.Zone(); zone != "" {
		text = append(append(text, '%'), zone...)
	}
	return string(text)
}

// groupCode is the error code that a client gets for what went wrong with a command, counted. That the records of a
// command do not fit into a batch is nothing that a client could mend by a smaller batch of its own.
func (a *Asked) groupCode(err error) int16 {
	if kafka.CodeOf(err) == kafka.RecordListTooLarge.Code {
		err = kafka.UnknownServerError
	}
	return a.code(err)
}

// ownWords is what a coordinator has to say beyond the error code, nil if nothing.
func ownWords(err error) *string {
	var refusal *coordinator.Refusal
	if errors.As(err, &refusal) {
		return &refusal.Message
	}
	return nil
}

// clone copies bytes that are a view of the request, nil as empty.
func clone(b []byte) []byte { return append([]byte{}, b...) }

// textOr is the string that p points to, or or for nil.
func textOr(p *string, or string) string {
	if p == nil {
		return or
	}
	return *p
}

// asRequest is the request of an answer that is being told.
func asRequest[R kmsg.Request](a *Asked) R { return a.Request.(R) }
