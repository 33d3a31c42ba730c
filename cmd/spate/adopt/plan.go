package adopt

import (
	"errors"
	"io"
	"time"

	"spate/kafka"
	"spate/metadata"
)

// Options is what the operator asks for.
type Options struct {
	Dirs []string // log.dirs, and metadata.log.dir if it is one of its own
	Now  time.Time
}

// Plan is what is there, and what becomes of it.
type Plan struct {
	ClusterID     string         `json:"clusterId"`
	NodeID        kafka.BrokerID `json:"nodeId"`
	Dirs          []string       `json:"dirs"`
	CleanShutdown bool           `json:"cleanShutdown"`
	Adopted       bool           `json:"adopted"` // Spate's metadata log is in place already

	Topics     []Topic `json:"topics"`
	Partitions int     `json:"partitions"`
	Bytes      int64   `json:"bytes"`
	Groups     int     `json:"groups"`
	Offsets    int     `json:"committedOffsets"`

	Metadata    string       `json:"metadataLog"` // the folder that is replaced
	Backup      string       `json:"backup"`      // what it is kept as
	MetadataEnd kafka.Offset `json:"metadataEndOffset"`

	Refusals []string `json:"refusals"` // why it cannot be; none if it can
	Notes    []string `json:"notes"`

	foundation metadata.Foundation
	temp       string // the folder in which the new log is made
	dirs       []*dir
	locks      []io.Closer
}

// Topic is what a topic has in the directories.
type Topic struct {
	Name       string `json:"name"`
	ID         string `json:"id"` // in the text form
	Partitions int    `json:"partitions"`
	Records    int64  `json:"records"`
	Bytes      int64  `json:"bytes"`
}

// Close gives the directories back.
func (p *Plan) Close() error {
	var errs []error
	for _, l := range p.locks {
		errs = append(errs, l.Close())
	}
	p.locks = nil
	return errors.Join(errs...)
}

// Suffixes of the metadata log's folder: that of Kafka's when it has been replaced, and that of the new one until then.
const (
	backupSuffix = ".kafka"
	tempSuffix   = ".spate"
)
