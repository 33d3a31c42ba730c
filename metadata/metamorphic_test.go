package metadata

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// Goal: how a node is run does not show in what it answers and holds. Method: the same random commands go to a node
// with large files and one command a turn, and to one with random sizes of snapshots and segments, random turns,
// restarts, power cuts between turns and a disk that is full now and then; every answer and the image are compared.

// trial is a node and how it is treated.
type trial struct {
	t       *rapid.T
	disk    *vfs.Mem
	options Options
	node    *Node
	answers []string
}

func (tr *trial) open() {
	n, err := OpenPolled(sweepEnv(tr.disk), tr.options)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.node = n
}

// ask enqueues a command; its answer goes to the list when a turn gives it.
func (tr *trial) ask(cmd controller.Command) {
	at := len(tr.answers)
	tr.answers = append(tr.answers, "not answered")
	err := tr.node.Enqueue(cmd, func(r controller.Reply, err error) { tr.answers[at] = answerText(r, err) })
	if err != nil {
		tr.t.Fatal(err)
	}
}

func answerText(r controller.Reply, err error) string {
	deleted, ok := r.(controller.DeleteTopicsReply)
	if !ok {
		return fmt.Sprintf("%+v, %v", r, err)
	}
	text := ""
	for _, topic := range deleted.Topics {
		text += fmt.Sprintf("%s %s %v, ", *topic.Name, topic.ID, topic.Err)
	}
	return text
}

func (tr *trial) turn() {
	for tr.node.Poll(tr.node.env.Clock.Now()) {
	}
}

// disturb does something between two turns that must not matter.
func (tr *trial) disturb() {
	switch rapid.IntRange(0, 5).Draw(tr.t, "disturbance") {
	case 0:
		if err := tr.node.Close(); err != nil {
			tr.t.Fatal(err)
		}
		tr.open()
	case 1:
		tr.disk = tr.disk.CrashClone(rand.New(rand.NewPCG(rapid.Uint64().Draw(tr.t, "cut"), 1)))
		tr.node.Close() // on the disk that is left behind
		tr.open()
	case 2:
		tr.fill()
	}
}

// fill lets the node meet a full disk with a command that is not compared, and makes room again.
func (tr *trial) fill() {
	tr.disk.SetCapacity(tr.disk.UsedBytes())
	ids := controller.AllocateProducerIDs{BrokerID: testNode, BrokerEpoch: tr.node.Image().Broker(testNode).Epoch}
	for range 5 { // the first may find room that was reserved
		err := tr.node.Enqueue(ids, func(_ controller.Reply, err error) {
			if err != nil && kafka.CodeOf(err) != kafka.KafkaStorageError.Code {
				tr.t.Fatal(err)
			}
		})
		if err != nil {
			tr.t.Fatal(err)
		}
		tr.turn()
	}
	tr.disk.SetCapacity(1 << 30)
}

// drawCommands gives commands whose meaning does not depend on offsets, which restarts move, and that bring their ids.
func drawCommands(t *rapid.T) (commands []controller.Command) {
	names := []string{"a", "b", "a.b", "a_b", "c", "bad name"}
	for i := range rapid.IntRange(1, 30).Draw(t, "commands") {
		name := rapid.SampledFrom(names).Draw(t, "name")
		switch rapid.IntRange(0, 3).Draw(t, "command") {
		case 0:
			commands = append(commands, remove(name))
		default:
			cmd := create(name)
			cmd.Topics[0].ID = kafka.UUID{'t', byte(i)}
			cmd.Topics[0].Partitions = rapid.Int32Range(0, 3).Draw(t, "partitions")
			cmd.ValidateOnly = rapid.IntRange(0, 5).Draw(t, "validate") == 0
			commands = append(commands, cmd)
		}
	}
	return commands
}

// withoutOffsets is what an image holds beside the broker's epoch, which is an offset.
func withoutOffsets(img *image.Image) string {
	var out strings.Builder
	for topic := range img.Topics() {
		fmt.Fprintf(&out, "%s %s", topic.Name, topic.ID)
		for _, p := range topic.Partitions {
			fmt.Fprintf(&out, " %+v", *p)
		}
		fmt.Fprintf(&out, " %v\n", img.Configs(image.TopicResource(topic.Name)))
	}
	return out.String()
}

func TestHowANodeIsRunDoesNotShow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plain := &trial{t: rt, disk: newDisk(t), options: testOptions()}
		varied := &trial{t: rt, disk: newDisk(t), options: testOptions()}
		varied.options.SnapshotBytes = rapid.SampledFrom([]int64{1, 500, 3000, 1 << 30}).Draw(rt, "snapshot bytes")
		varied.options.SegmentBytes = rapid.SampledFrom([]int64{1, 700, 1 << 30}).Draw(rt, "segment bytes")
		for _, tr := range []*trial{plain, varied} {
			tr.open()
			tr.ask(register(1))
			tr.turn()
			tr.answers = nil // the epoch
		}
		for _, cmd := range drawCommands(rt) {
			plain.ask(cmd)
			plain.turn()
			varied.ask(cmd)
			if rapid.IntRange(0, 2).Draw(rt, "turn") == 0 {
				varied.turn()
				varied.disturb()
			}
		}
		varied.turn()
		if got, want := strings.Join(varied.answers, "\n"), strings.Join(plain.answers, "\n"); got != want {
			rt.Fatalf("the answers were\n%s\nand should be\n%s", got, want)
		}
		if got, want := withoutOffsets(varied.node.Image()), withoutOffsets(plain.node.Image()); got != want {
			rt.Fatalf("the image holds\n%s\nand should hold\n%s", got, want)
		}
		for _, tr := range []*trial{plain, varied} {
			if err := tr.node.Close(); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
