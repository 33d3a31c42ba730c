package image

import (
	"fmt"
	"slices"

	"spate/kafka"
	"spate/metadata/record"
)

func (b *Builder) applyRegisterBroker(r *record.RegisterBroker) {
	b.putBroker(&Broker{
		ID: r.BrokerID, Epoch: r.BrokerEpoch, IncarnationID: r.IncarnationID, Endpoints: r.Endpoints,
		Features: r.Features, Rack: r.Rack, Fenced: r.Fenced, InControlledShutdown: r.InControlledShutdown,
		LogDirs: r.LogDirs, CordonedLogDirs: r.CordonedLogDirs,
	})
}

// putBroker adds or replaces a registration.
func (b *Builder) putBroker(broker *Broker) {
	b.brokers[broker.ID] = struct{}{}
	at, found := b.next.findBroker(broker.ID)
	b.next.brokers = slices.Clone(b.next.brokers)
	if found {
		b.next.brokers[at] = broker
		return
	}
	b.next.brokers = slices.Insert(b.next.brokers, at, broker)
}

// registered is the registration of a broker, if it has that epoch.
func (b *Builder) registered(id kafka.BrokerID, epoch kafka.BrokerEpoch) (*Broker, error) {
	broker := b.next.Broker(id)
	if broker == nil {
		return nil, fmt.Errorf("broker %d is not registered", id)
	}
	if broker.Epoch != epoch {
		return nil, fmt.Errorf("broker %d has epoch %d, not %d", id, broker.Epoch, epoch)
	}
	return broker, nil
}

func (b *Builder) applyUnregisterBroker(r *record.UnregisterBroker) error {
	if _, err := b.registered(r.BrokerID, r.BrokerEpoch); err != nil {
		return err
	}
	b.brokers[r.BrokerID] = struct{}{}
	at, _ := b.next.findBroker(r.BrokerID)
	b.next.brokers = slices.Delete(slices.Clone(b.next.brokers), at, at+1)
	return nil
}

func (b *Builder) applyRegistrationChange(r *record.BrokerRegistrationChange) error {
	old, err := b.registered(r.BrokerID, r.BrokerEpoch)
	if err != nil {
		return err
	}
	next := *old
	if r.Fenced != record.NoChange {
		next.Fenced = r.Fenced == record.Fence
	}
	if r.InControlledShutdown == record.ControlledShutdown {
		next.InControlledShutdown = true
	}
	if len(r.LogDirs) > 0 {
		next.LogDirs = r.LogDirs
	}
	if r.CordonedLogDirs != nil {
		next.CordonedLogDirs = r.CordonedLogDirs
	}
	b.putBroker(&next)
	return nil
}
