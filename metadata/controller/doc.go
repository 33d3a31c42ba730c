// Package controller decides what happens to the cluster's metadata: a machine in the shape decide/apply. Decide
// looks at a command and at the image of everything decided so far, and answers with the records to append and the
// reply to give once they are committed. Apply is the only writer; the live path and the replay after a restart both
// use it. Topic ids come with the commands, because a machine draws no random numbers.
//
// The package does no I/O, reads no clock and starts no goroutine; one goroutine, the metadata driver's, calls it.
// Replies never depend on the order of a map.
//
//tidy:pure
package controller
