package controller

// Charger is asked for each topic that a command creates, deletes or makes larger, with the number of partitions, when
// nothing else stands against it; an error refuses the topic. It is called once for each decision, and is the one thing
// by which decisions about the same image may differ: what a client may do at this moment (KIP-599) is not part of the
// cluster's state. It must not wait. A nil Charger refuses nothing.
type Charger func(partitions int) error

func (charge Charger) take(partitions int) error {
	if charge == nil {
		return nil
	}
	return charge(partitions)
}
