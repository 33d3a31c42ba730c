package partition

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"spate/kafka"
)

// Suffixes of partition folders that are on their way out, and one.
const (
	deleteSuffix = "-delete"
	straySuffix  = "-stray"
	futureSuffix = "-future" // not on its way out, but in: the copy that a move makes
	// nameBytesMax is what file systems allow; Kafka cuts the topic to fit, since the id makes the name unique.
	nameBytesMax = 255
)

// parseFolder splits "topic-0" at its last dash.
func parseFolder(name string) (kafka.TopicPartition, bool) {
	dash := strings.LastIndexByte(name, '-')
	if dash <= 0 {
		return kafka.TopicPartition{}, false
	}
	n, err := strconv.ParseInt(name[dash+1:], 10, 32)
	if err != nil || n < 0 || name[dash+1] == '+' {
		return kafka.TopicPartition{}, false
	}
	return kafka.TopicPartition{Topic: name[:dash], Partition: kafka.PartitionIndex(n)}, true
}

// outgoing says whether name is that of a folder which waits for its removal (deleteSuffix) or was set aside
// (straySuffix).
func outgoing(name, suffix string) bool {
	rest, found := strings.CutSuffix(name, suffix)
	return found && strings.LastIndexByte(rest, '.') > 0
}

// outgoingName is <topic>-<partition>.<32 hex digits><suffix>.
func outgoingName(random io.Reader, tp kafka.TopicPartition, suffix string) (string, error) {
	var id [16]byte
	if _, err := io.ReadFull(random, id[:]); err != nil {
		return "", fmt.Errorf("draw a folder name: %w", err)
	}
	tail := fmt.Sprintf("-%d.%s%s", tp.Partition, hex.EncodeToString(id[:]), suffix)
	return tp.Topic[:min(len(tp.Topic), nameBytesMax-len(tail))] + tail, nil
}
