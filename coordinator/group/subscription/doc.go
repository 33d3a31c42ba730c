// Package subscription is the codec of Kafka's consumer protocol: the bytes that consumers put into JoinGroup and
// SyncGroup requests, and that the protocol of groups itself does not look into.
//
// A value begins with its version. Versions 0 to 3 are known; a later one is read as version 3, because each version
// only adds fields at the end, and bytes after the known fields are ignored. The package holds no state; the machines
// of coordinator/group call it with bytes from any client, so lengths are checked before anything is made of them.
//
//tidy:pure
package subscription
