// Package consumer is the machine of one consumer group of the protocol of KIP-848: members say what they subscribe to
// and what they own, and the group decides who is to own what and leads each member there, step by step.
//
// A Group owns the members, their subscriptions, the target assignment and what each member owns now. Members that
// still speak the classic protocol may be among them: a classic group becomes a consumer group when the first consumer
// member joins (Upgrade), and a classic group again when the last one leaves. The package never reads a clock, writes
// or sends: it decides, and what follows is a coordinator.Outcome. The shard of package group calls it, on the shard's
// goroutine.
//
//tidy:pure
package consumer
