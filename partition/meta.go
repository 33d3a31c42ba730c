package partition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"

	"spate/internal/vfs"
	"spate/kafka"
)

const (
	lockFile              = ".lock"
	metaPropertiesFile    = "meta.properties"
	cleanShutdownFile     = ".kafka_cleanshutdown"
	partitionMetadataFile = "partition.metadata"
	metaVersion           = 1       // of meta.properties, since KRaft
	metaBytesMax          = 1 << 16 // of any of these files: they hold a few lines
)

// MetaProperties is a log directory's meta.properties.
type MetaProperties struct {
	ClusterID   string
	NodeID      kafka.BrokerID
	DirectoryID kafka.UUID
}

// ReadMetaProperties reads the meta.properties of the log directory at dir; found is false where there is none, as in
// a directory that was never formatted. The broker asks all its directories before it opens any.
func ReadMetaProperties(fsys vfs.FS, dir string) (m MetaProperties, found bool, err error) {
	name := path.Join(dir, metaPropertiesFile)
	text, err := readFile(fsys, name, metaBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return MetaProperties{}, false, nil
	}
	if err != nil {
		return MetaProperties{}, false, err
	}
	if m, err = parseMetaProperties(text); err != nil {
		return MetaProperties{}, false, fmt.Errorf("%s: %w", name, err)
	}
	return m, true, nil
}

// text is the file's content.
func (m MetaProperties) text() []byte {
	return fmt.Appendf(nil, "#\ncluster.id=%s\ndirectory.id=%s\nnode.id=%d\nversion=%d\n",
		m.ClusterID, m.DirectoryID, m.NodeID, metaVersion)
}

// parseMetaProperties reads the file in the plain form that Kafka writes: comments and key=value lines. Keys that are
// not known are left alone, a key that is missing is an error.
func parseMetaProperties(text []byte) (MetaProperties, error) {
	values := map[string]string{}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' || line[0] == '!' {
			continue
		}
		key, value, found := bytes.Cut(line, []byte("="))
		if !found {
			return MetaProperties{}, fmt.Errorf("%q is not key=value", clip(line))
		}
		values[string(bytes.TrimSpace(key))] = string(bytes.TrimSpace(value))
	}
	if v := values["version"]; v != strconv.Itoa(metaVersion) {
		return MetaProperties{}, fmt.Errorf("version %q is not %d", v, metaVersion)
	}
	m := MetaProperties{ClusterID: values["cluster.id"]}
	if m.ClusterID == "" {
		return MetaProperties{}, errors.New("cluster.id is missing")
	}
	node, err := parseInt([]byte(values["node.id"]), 32)
	if err != nil || node < 0 {
		return MetaProperties{}, fmt.Errorf("node.id %q is not a node's id", values["node.id"])
	}
	m.NodeID = kafka.BrokerID(node)
	if m.DirectoryID, err = kafka.ParseUUID(values["directory.id"]); err != nil {
		return MetaProperties{}, fmt.Errorf("directory.id: %w", err)
	}
	return m, nil
}

// partitionMetadata is the content of partition.metadata.
func partitionMetadata(topicID kafka.UUID) []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s", topicID)
}

// parsePartitionMetadata reads what partitionMetadata writes.
func parsePartitionMetadata(text []byte) (kafka.UUID, error) {
	version, rest := cutLine(text)
	if string(version) != "version: 0" {
		return kafka.ZeroUUID, fmt.Errorf("%q is not version 0", clip(version))
	}
	line, rest := cutLine(rest)
	id, found := bytes.CutPrefix(line, []byte("topic_id: "))
	if !found || len(bytes.TrimSpace(rest)) > 0 {
		return kafka.ZeroUUID, fmt.Errorf("%q is not a topic_id", clip(line))
	}
	topicID, err := kafka.ParseUUID(string(id))
	if err == nil && topicID == kafka.ZeroUUID {
		err = errors.New("the topic_id is zero")
	}
	return topicID, err
}

// cleanShutdown is the content of .kafka_cleanshutdown.
type cleanShutdown struct {
	Version     int   `json:"version"`
	BrokerEpoch int64 `json:"brokerEpoch"`
}

func (c cleanShutdown) text() []byte {
	return fmt.Appendf(nil, `{"version":%d,"brokerEpoch":%d}`, c.Version, c.BrokerEpoch)
}

// parseCleanShutdown reads the broker epoch. The file's presence is what counts: Kafka, too, takes a content that it
// cannot read for an unknown epoch.
func parseCleanShutdown(text []byte) kafka.BrokerEpoch {
	var c cleanShutdown
	if err := json.Unmarshal(text, &c); err != nil || c.Version != 0 || c.BrokerEpoch < 0 {
		return -1
	}
	return kafka.BrokerEpoch(c.BrokerEpoch)
}
