// Package image is the cluster's metadata as immutable views: an Image of topics, partitions, brokers, configs and
// features at one offset of the metadata log, a Builder that applies records to an image and gives the next one, and
// the Delta between the two. Images share what did not change, so that one new topic among ten thousand copies a few
// small tree nodes and nothing per topic.
//
// An Image may be read by any goroutine for as long as it likes. A Builder belongs to one goroutine. The package never
// decides whether a change is allowed, that is the controller's part; it does no I/O and has no clock.
//
//tidy:pure
package image
