package controller

import (
	"unicode/utf8"

	"spate/kafka"
)

// topicNameMax leaves room, in a file name of 255 bytes, for the partition and a suffix.
const topicNameMax = 249

// clusterMetadataTopic is the metadata log, which no client may create.
const clusterMetadataTopic = "__cluster_metadata"

// CheckTopicName says what is wrong with the name of a topic, in Kafka's words, or nil.
func CheckTopicName(name string) error {
	switch {
	case name == "":
		return refuse(kafka.InvalidTopicException, "Topic name is invalid: the empty string is not allowed")
	case name == "." || name == "..":
		return refuse(kafka.InvalidTopicException, "Topic name is invalid: '%s' is not allowed", name)
	case utf8.RuneCountInString(name) > topicNameMax: // more bytes are of characters that are not allowed
		return refuse(kafka.InvalidTopicException, "Topic name is invalid: the length of '%s' is longer than the max "+
			"allowed length %d", name, topicNameMax)
	}
	for i := range len(name) {
		if !topicNameByte(name[i]) {
			return refuse(
				kafka.InvalidTopicException,
				"Topic name is invalid: '%s' contains one or more characters other "+
					"than ASCII alphanumerics, '.', '_' and '-'",
				name,
			)
		}
	}
	return nil
}

func topicNameByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		return true
	}
	return false
}

// checkNewName says why no topic of that name can be created. A name that is taken is reported as that, before a
// collision with another.
func (c *Controller) checkNewName(name string) error {
	if err := CheckTopicName(name); err != nil {
		return err
	}
	if name == clusterMetadataTopic {
		return refuse(kafka.InvalidRequest, "Creation of internal topic %s is prohibited.", name)
	}
	if c.image.Topic(name) != nil {
		return refuse(kafka.TopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if other, ok := c.image.CollidingTopic(name); ok {
		return refuse(kafka.InvalidTopicException, "Topic '%s' collides with existing topic: %s", name, other)
	}
	return nil
}
