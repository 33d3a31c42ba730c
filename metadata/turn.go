package metadata

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"spate/internal/invariant"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
	meta "spate/metadata/record"
)

// A turn takes at most this many commands, or commands whose entries come to about this many bytes: they share one
// write and one flush, and wait for each other.
const (
	turnCommandsMax = 256
	turnBytesMax    = 4 << 20
)

// proposal is a command that has been decided and waits for the log.
type proposal struct {
	index uint64       // the Raft index that must be committed before the answer is given
	next  *image.Image // to publish then; nil if the command changed nothing
	delta *image.Delta
	reply controller.Reply
	err   error
	done  func(controller.Reply, error)
}

// Poll is one turn: it decides the commands that wait, appends and flushes what they became, publishes what is
// committed, answers, and takes a snapshot when one is due. It reports whether there was anything to do.
func (n *Node) Poll(now time.Time) bool {
	n.take()
	if len(n.held) == 0 {
		return false
	}
	err := n.Err()
	if err == nil && n.raft == nil {
		err = n.elect(now)
	}
	for bytes := 0; len(n.held) > 0 && bytes < turnBytesMax; {
		r := n.held[0]
		n.held = n.held[1:]
		if err != nil {
			n.answer(r.done, nil, err)
			continue
		}
		bytes += n.decide(now, r)
	}
	if err == nil && n.drive(now) == nil {
		n.maybeSnapshot(now)
	}
	return true
}

// take moves commands from the queue to held.
func (n *Node) take() {
	for len(n.held) < turnCommandsMax {
		select {
		case r := <-n.queue:
			n.held = append(n.held, r)
		default:
			return
		}
	}
}

// elect makes this node the leader of a new term and brings the image up to the end of the log. A quorum of one needs
// no other's vote, so it does not wait for an election timeout either.
func (n *Node) elect(now time.Time) error {
	n.controller = controller.New(n.options.Settings, n.Image())
	var err error
	if n.raft, err = raft.NewRawNode(n.raftConfig()); err != nil {
		return n.fail(err)
	}
	// What is known to be committed comes first: Raft does not campaign while a change of the quorum is not applied.
	if err = n.drive(now); err != nil {
		return err
	}
	if err = n.raft.Campaign(); err != nil {
		return n.fail(err)
	}
	if err = n.drive(now); err != nil {
		return err
	}
	if n.raft.BasicStatus().RaftState != raft.StateLeader {
		return n.fail(fmt.Errorf("node %d did not win the election of a quorum of one", n.options.NodeID))
	}
	n.proposed = n.storage.lastIndex()
	n.epoch.Store(int32(n.storage.epoch()))
	return nil
}

// Raft's limits. Heartbeats and election timeouts do not matter while there is one voter: the node never ticks.
const (
	raftMessageBytesMax = 1 << 20 // also how much of the log a restart reads at a time
	raftInflightMax     = 256
	raftElectionTicks   = 10
)

func (n *Node) raftConfig() *raft.Config {
	return &raft.Config{
		ID: raftID(n.options.NodeID), Storage: n.storage, Applied: n.applied,
		ElectionTick: raftElectionTicks, HeartbeatTick: 1,
		MaxSizePerMsg: raftMessageBytesMax, MaxInflightMsgs: raftInflightMax,
		Logger: raftLogger{n.env.Log},
	}
}

// raftID is a broker's id in Raft, where 0 means nobody.
func raftID(id kafka.BrokerID) uint64 { return uint64(id) + 1 }

func brokerID(id uint64) kafka.BrokerID { return kafka.BrokerID(id) - 1 }

// decide has one command decided and proposes its records, all in one Raft entry. It gives the entry's size.
func (n *Node) decide(now time.Time, r request) int {
	command, err := n.withIDs(r.command)
	if err != nil {
		n.answer(r.done, nil, err)
		return 0
	}
	outcome := n.controller.Decide(command)
	p := proposal{reply: outcome.Reply, err: outcome.Err, done: r.done}
	var data []byte
	if len(outcome.Records) > 0 {
		base, epoch := n.controller.Image().EndOffset(), n.storage.epoch()
		data = encodeRecords(outcome.Records, base, epoch, timestampOf(now))
		err := n.raft.Propose(data)
		invariant.Check(err == nil, "the leader of a quorum of one refuses a proposal: %v", err)
		n.proposed++
		p.delta, err = n.controller.Apply(outcome.Records, base+kafka.Offset(len(outcome.Records)), epoch)
		invariant.Check(err == nil, "the controller decided what does not apply: %v", err)
		p.next = n.controller.Image()
	}
	// A command without records may have been decided by what another left that is not committed yet: it waits too.
	p.index = n.proposed
	n.pending = append(n.pending, p)
	return len(data)
}

// withIDs gives the topics that a command creates their ids: a machine draws no random numbers.
func (n *Node) withIDs(cmd controller.Command) (controller.Command, error) {
	if create, ok := cmd.(controller.CreateInternalTopic); ok && create.ID == kafka.ZeroUUID {
		var err error
		create.ID, err = kafka.NewUUID(n.env.Rand)
		return create, err
	}
	create, ok := cmd.(controller.CreateTopics)
	if !ok {
		return cmd, nil
	}
	topics := make([]controller.NewTopic, len(create.Topics))
	for i, t := range create.Topics {
		if t.ID == kafka.ZeroUUID {
			id, err := kafka.NewUUID(n.env.Rand)
			if err != nil {
				return nil, err
			}
			t.ID = id
		}
		topics[i] = t
	}
	create.Topics = topics
	return create, nil
}

// drive does what Raft asks for until it asks for nothing more: persist, then send (nobody is there), then apply.
func (n *Node) drive(now time.Time) error {
	n.settle()
	for n.raft.HasReady() {
		ready := n.raft.Ready()
		if err := n.storage.save(ready.HardState, ready.Entries, timestampOf(now)); err != nil {
			return n.fail(err)
		}
		if len(ready.Entries) > 0 {
			n.stats.Appends.Add(1)
		}
		invariant.Check(len(ready.Messages) == 0, "a quorum of one sends %d messages", len(ready.Messages))
		if err := n.commit(ready.CommittedEntries); err != nil {
			return n.fail(err)
		}
		n.storage.applied(n.applied)
		n.raft.Advance(ready)
	}
	return nil
}

// commit applies entries that are committed. Those of commands that wait here were applied when they were decided.
func (n *Node) commit(entries []*raftpb.Entry) error {
	var found []meta.Record // of entries that were in the log before this node led
	for _, e := range entries {
		if len(n.pending) == 0 || n.pending[0].index != e.GetIndex() {
			records, err := n.replay(e)
			if err != nil {
				return err
			}
			found = append(found, records...)
		}
		n.applied = e.GetIndex()
		n.settle()
	}
	if end := n.storage.endOf(n.applied); end > n.Image().EndOffset() {
		delta, err := n.controller.Apply(found, end, kafka.LeaderEpoch(n.storage.termOf(n.applied)))
		if err != nil {
			return err
		}
		n.publish(n.controller.Image(), delta)
	}
	return nil
}

// replay gives the records of an entry, and hands a change of the quorum to Raft.
func (n *Node) replay(e *raftpb.Entry) ([]meta.Record, error) {
	if e.GetType() == raftpb.EntryNormal {
		return decodeRecords(e.GetData())
	}
	change, err := decodeQuorumChange(e)
	if err != nil {
		return nil, err
	}
	n.storage.conf = n.raft.ApplyConfChange(change)
	return nil, nil
}

// settle publishes and answers, in their order, the commands whose index has been reached.
func (n *Node) settle() {
	for len(n.pending) > 0 && n.pending[0].index <= n.applied {
		p := n.pending[0]
		n.pending = n.pending[1:]
		if p.next != nil {
			n.publish(p.next, p.delta)
		}
		n.answer(p.done, p.reply, p.err)
	}
}

func (n *Node) answer(done func(controller.Reply, error), reply controller.Reply, err error) {
	n.stats.Commands.Add(1)
	done(reply, err)
}

// fail gives up the leadership: the commands on their way are answered with an error, and what Raft and the controller
// held beyond the image is dropped, to be rebuilt from the log. A full disk, or a lack of descriptors, has left the log
// as it was, so the next command tries again; after any other error only a restart can tell what is durable.
func (n *Node) fail(cause error) error {
	err := fmt.Errorf("%w: the metadata log: %w", kafka.KafkaStorageError, cause)
	if !vfs.Exhausted(cause) || errors.Is(cause, errUncertain) {
		n.failure.Store(&err)
		n.env.Log.Error("the metadata log failed; no metadata changes until a restart", "error", cause)
	}
	n.raft = nil
	for _, p := range n.pending {
		n.answer(p.done, nil, err)
	}
	n.pending = nil
	return err
}

func timestampOf(now time.Time) kafka.Timestamp { return kafka.Timestamp(now.UnixMilli()) }
