package metadata

import "spate/kafka"

// Quorum is the state of the metadata quorum: this node is its one voter, and so its leader.
type Quorum struct {
	Leader        kafka.BrokerID
	Epoch         kafka.LeaderEpoch
	HighWatermark kafka.Offset // of the metadata log, and its end as far as others can know
	DirectoryID   kafka.UUID   // of the log directory that the voter's log lies in
}

// Quorum tells the state of the quorum, or why it has no leader. Any goroutine may call it.
func (n *Node) Quorum() (Quorum, error) {
	if err := n.Err(); err != nil {
		return Quorum{}, err
	}
	return Quorum{
		Leader: n.options.NodeID, Epoch: kafka.LeaderEpoch(n.epoch.Load()),
		HighWatermark: n.Image().EndOffset(), DirectoryID: n.options.DirectoryID,
	}, nil
}
