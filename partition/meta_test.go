package partition

import (
	"os"
	"testing"

	"spate/kafka"
)

func golden(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/kafka-4.3.1/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestMetaPropertiesGolden(t *testing.T) {
	m, err := parseMetaProperties(golden(t, "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	if m.NodeID != 1 || m.ClusterID == "" || m.DirectoryID == kafka.ZeroUUID {
		t.Errorf("read %+v", m)
	}
	again, err := parseMetaProperties(m.text())
	if err != nil || again != m {
		t.Errorf("came back as %+v, %v", again, err)
	}
}

func TestMetaPropertiesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"no version":        "cluster.id=c\nnode.id=1\ndirectory.id=qKgV9O8LTpufefV47_x_-Q\n",
		"another version":   "version=0\ncluster.id=c\nnode.id=1\ndirectory.id=qKgV9O8LTpufefV47_x_-Q\n",
		"no cluster":        "version=1\nnode.id=1\ndirectory.id=qKgV9O8LTpufefV47_x_-Q\n",
		"no node":           "version=1\ncluster.id=c\ndirectory.id=qKgV9O8LTpufefV47_x_-Q\n",
		"a negative node":   "version=1\ncluster.id=c\nnode.id=-1\ndirectory.id=qKgV9O8LTpufefV47_x_-Q\n",
		"no directory":      "version=1\ncluster.id=c\nnode.id=1\n",
		"a bad directory":   "version=1\ncluster.id=c\nnode.id=1\ndirectory.id=x\n",
		"a line of nothing": "version=1\ncluster.id\n",
	} {
		if m, err := parseMetaProperties([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
}

func TestPartitionMetadataGolden(t *testing.T) {
	text := golden(t, "probe-0/partition.metadata")
	id, err := parsePartitionMetadata(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := partitionMetadata(id); string(got) != string(text) {
		t.Errorf("wrote %q, Kafka wrote %q", got, text)
	}
	for _, text := range []string{
		"", "version: 1\ntopic_id: qKgV9O8LTpufefV47_x_-Q", "version: 0\n", "version: 0\ntopic_id: x",
		"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", "version: 0\ntopic_id: qKgV9O8LTpufefV47_x_-Q\nmore",
	} {
		if id, err := parsePartitionMetadata([]byte(text)); err == nil {
			t.Errorf("%q: read as %s", text, id)
		}
	}
}

func TestCleanShutdownGolden(t *testing.T) {
	text := golden(t, "kafka_cleanshutdown")
	epoch := parseCleanShutdown(text)
	if epoch != 14 {
		t.Errorf("broker epoch %d", epoch)
	}
	if got := (cleanShutdown{BrokerEpoch: 14}).text(); string(got) != string(text) {
		t.Errorf("wrote %q, Kafka wrote %q", got, text)
	}
	for _, text := range []string{"", "{}x", `{"version":1,"brokerEpoch":3}`, `{"version":0,"brokerEpoch":-7}`} {
		if epoch := parseCleanShutdown([]byte(text)); epoch != -1 {
			t.Errorf("%q: epoch %d", text, epoch)
		}
	}
}

// FuzzMetaFiles: the small text files of a log directory; what is accepted comes back the same.
func FuzzMetaFiles(f *testing.F) {
	f.Add([]byte("#\nversion=1\ncluster.id=c\nnode.id=1\ndirectory.id=qKgV9O8LTpufefV47_x_-Q\n"))
	f.Add([]byte("version: 0\ntopic_id: qKgV9O8LTpufefV47_x_-Q"))
	f.Add([]byte(`{"version":0,"brokerEpoch":14}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := parseMetaProperties(text); err == nil {
			if again, err := parseMetaProperties(m.text()); err != nil || again != m {
				t.Fatalf("%+v came back as %+v, %v", m, again, err)
			}
		}
		if id, err := parsePartitionMetadata(text); err == nil {
			if again, err := parsePartitionMetadata(partitionMetadata(id)); err != nil || again != id {
				t.Fatalf("%s came back as %s, %v", id, again, err)
			}
		}
		if epoch := parseCleanShutdown(text); epoch < -1 {
			t.Fatalf("epoch %d", epoch)
		}
	})
}
