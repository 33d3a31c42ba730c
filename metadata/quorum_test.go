package metadata

import (
	"errors"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
)

// Goal: the quorum is what the log says, and its epoch rises with every start. Method: starts over one disk, with a
// command in between, and a disk that fails.
func TestQuorum(t *testing.T) {
	disk := newDisk(t)
	n := polled(t, disk, testOptions())
	first, err := n.Quorum()
	if err != nil || first.Leader != testNode || first.Epoch < 1 || first.DirectoryID != testDirectory {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := now(n, aConfig("1")); err != nil {
		t.Fatal(err)
	}
	if second, _ := n.Quorum(); second.HighWatermark <= first.HighWatermark || second.Epoch != first.Epoch {
		t.Errorf("%+v after %+v", second, first)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	broken := false
	n = polled(t, vfs.NewFault(disk, func(op vfs.Op) error {
		if broken && op.Kind == vfs.OpWrite {
			return syscall.EIO
		}
		return nil
	}), testOptions())
	if third, err := n.Quorum(); err != nil || third.Epoch <= first.Epoch {
		t.Errorf("%+v after %+v, %v", third, first, err)
	}
	broken = true
	if _, err := now(n, aConfig("2")); err == nil {
		t.Fatal("the disk did not fail")
	}
	if _, err := n.Quorum(); !errors.Is(err, kafka.KafkaStorageError) {
		t.Errorf("without a leader: %v", err)
	}
}

// aConfig is a command that changes something, each time.
func aConfig(value string) controller.Command {
	return controller.AlterConfigs{Resources: []controller.AlteredResource{{
		Resource: image.GroupResource("g"),
		Changes:  []controller.ConfigChange{{Name: "consumer.session.timeout.ms", Value: &value}},
	}}}
}
