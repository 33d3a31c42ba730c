// Package classic is the machine of one group that speaks the classic protocol: members join, a leader among them
// assigns, all sync, and heartbeats keep them in. What the members assign is opaque; "consumer", "connect" and any
// other protocol type are the same to it, but for the topics of "consumer" groups, which offsets ask for.
//
// The machine has the shape decide/apply. A record is written when the leader hands in the assignment, when a static
// member takes the place of its predecessor in a stable group, when a rebalance leaves the group empty, and when a
// group begins to exist. Who joins, waits or is late, and the generation that is being formed, are volatile: Decide and
// Fired change them, and they are lost with the process, as in Kafka. Apply makes the recorded state the group's state.
// Live it follows each Decide at once; after a restart it builds the group, and Loaded starts the sessions.
//
// Every token that Decide takes is answered once: by its own outcome or by a later one.
//
// The package does no I/O, reads no clock, and starts no goroutine; one goroutine, that of the shard, calls it. Members
// are kept in the order in which they joined, and all that the machine says follows this order.
//
//tidy:pure
package classic
