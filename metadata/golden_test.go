package metadata

import (
	"fmt"
	"os"
	"path"
	"slices"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/image"
)

// Goal: a log that an earlier program wrote is read for ever. Method: testdata/v1 is the folder of a node of format
// version 1, with a snapshot, two segments after it, three terms and a change of the quorum in the log.

func TestFilesOfVersion1AreRead(t *testing.T) {
	disk := newDisk(t)
	if err := disk.MkdirAll(testFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("testdata/v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile("testdata/v1/" + entry.Name())
		if err == nil {
			err = vfs.ReplaceFile(disk, path.Join(testFolder, entry.Name()), data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	n := polled(t, disk, testOptions())
	img := n.Image()
	var want []string
	for run := range 3 {
		for _, i := range []int{0, 1, 3, 4, 5} {
			want = append(want, fmt.Sprintf("t-%d-%d", run, i))
		}
	}
	if got := topicNames(img); !slices.Equal(got, want) {
		t.Errorf("topics %v", got)
	}
	b := img.Broker(testNode)
	if b == nil || b.Epoch != 134 || b.Fenced || b.IncarnationID != (kafka.UUID{'p', 2}) {
		t.Errorf("broker %+v", b)
	}
	if p := img.Partition("t-0-0", 1); p == nil || p.Leader != testNode || p.LeaderEpoch != 8 || p.PartitionEpoch != 8 {
		t.Errorf("partition %+v", p)
	}
	if got := img.Configs(image.TopicResource("t-2-5")); len(got) != 1 || got["retention.ms"] != "5" {
		t.Errorf("configs %v", got)
	}
	if img.NextProducerID() != 3000 || img.Feature("metadata.version") != 30 || img.Epoch() != 4 ||
		img.EndOffset() != 245 {
		t.Errorf(
			"next producer id %d, features %v, epoch %d, end offset %d",
			img.NextProducerID(),
			img.Features(),
			img.Epoch(),
			img.EndOffset(),
		)
	}
	if n.applied != 41 {
		t.Errorf("the Raft index is %d", n.applied)
	}
}
