package metadata

import (
	"io"

	"spate/kafka"
)

// NewClusterID draws the id of a new cluster: a UUID in Kafka's text form, as `kafka-storage random-uuid` gives it.
func NewClusterID(random io.Reader) (string, error) {
	id, err := kafka.NewUUID(random)
	if err != nil {
		return "", err
	}
	return id.String(), nil
}
