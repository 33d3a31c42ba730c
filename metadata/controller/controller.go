package controller

import (
	"fmt"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Settings are the parts of the configuration that decisions depend on.
type Settings struct {
	PartitionsDefault        int32 // num.partitions
	ReplicationFactorDefault int16 // default.replication.factor
	NodeID                   kafka.BrokerID
	Features                 []record.FeatureRange // that this node supports
	// ValidateConfigs says what is wrong with the configs that a resource is to have, in words for the client: a
	// Refusal, or an error that makes it an invalid config. ListDefault gives the default of a config of such a
	// resource, and whether it is a list. Both must depend on nothing but their arguments, and not change them. Where
	// they are nil everything is right, and nothing is known.
	ValidateConfigs func(now *image.Image, r image.Resource, configs map[string]string) error
	ListDefault     func(t image.ResourceType, name string) (text string, kind ConfigKind)
}

// ConfigKind is what the controller has to know of a config.
type ConfigKind uint8

// The kinds.
const (
	UnknownConfig ConfigKind = iota
	PlainConfig
	ListConfig
)

// Controller is the machine. Its image is ahead of what is committed by the records that are still on their way.
type Controller struct {
	settings Settings
	image    *image.Image
}

// New is a controller that goes on from an image.
func New(settings Settings, start *image.Image) *Controller {
	if settings.ValidateConfigs == nil {
		settings.ValidateConfigs = func(*image.Image, image.Resource, map[string]string) error { return nil }
	}
	if settings.ListDefault == nil {
		settings.ListDefault = func(image.ResourceType, string) (string, ConfigKind) { return "", UnknownConfig }
	}
	return &Controller{settings: settings, image: start}
}

// Image is the state after all records that Apply has seen.
func (c *Controller) Image() *image.Image { return c.image }

// Command is a request to the controller: one of the structs of this package.
type Command interface {
	decide(c *Controller) Outcome
}

// Reply is the answer to a command that was not refused as a whole.
type Reply interface {
	reply()
}

// Outcome is what follows from a command: records to append, all or none, and the answer to give when they and
// everything before them are committed.
type Outcome struct {
	Records []record.Record
	Reply   Reply
	Err     error // the command is refused: no records, no reply
}

// Decide answers a command. It changes nothing. No decision depends on the time yet, so there is no now to hand in.
func (c *Controller) Decide(cmd Command) Outcome { return cmd.decide(c) }

// Apply takes over the records of the log from the image's end offset up to end, which were appended in that leader
// epoch, and gives what changed. Control records take up offsets but change nothing, so records may be fewer than
// the offsets. An error means that the log does not fit the image; the controller stays as it was.
func (c *Controller) Apply(records []record.Record, end kafka.Offset, epoch kafka.LeaderEpoch) (*image.Delta, error) {
	b := image.NewBuilder(c.image)
	for _, r := range records {
		if err := b.Apply(r); err != nil {
			return nil, err
		}
	}
	b.AdvanceTo(end, epoch)
	next, delta := b.Build()
	c.image = next
	return delta, nil
}

// Refusal is a protocol error with the sentence that goes to the client.
type Refusal struct {
	Code    *kafka.Error
	Message string
}

// Error is the sentence alone, as Kafka sends it.
func (e *Refusal) Error() string { return e.Message }

// Unwrap gives the protocol error.
func (e *Refusal) Unwrap() error { return e.Code }

// Refuse is a *Refusal, for those who answer questions about the cluster in the controller's manner.
func Refuse(code *kafka.Error, format string, args ...any) error {
	return refuse(code, format, args...)
}

func refuse(code *kafka.Error, format string, args ...any) error {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, args...)}
}

func refused(code *kafka.Error, format string, args ...any) Outcome {
	return Outcome{Err: refuse(code, format, args...)}
}

// Bootstrap finalizes the features of a new cluster. On a cluster that has features already it changes nothing.
type Bootstrap struct {
	Features []image.Feature
}

// BootstrapReply is the reply to Bootstrap.
type BootstrapReply struct{}

func (BootstrapReply) reply() {}

func (cmd Bootstrap) decide(c *Controller) Outcome {
	if len(c.image.Features()) > 0 {
		return Outcome{Reply: BootstrapReply{}}
	}
	var records []record.Record
	for _, f := range cmd.Features {
		records = append(records, &record.FeatureLevel{Name: f.Name, Level: f.Level})
	}
	return Outcome{Records: records, Reply: BootstrapReply{}}
}

// ProducerIDBlock is how many producer ids a broker gets at a time, as in Kafka.
const ProducerIDBlock = 1000

// AllocateProducerIDs gives a broker the next block of producer ids.
type AllocateProducerIDs struct {
	BrokerID    kafka.BrokerID
	BrokerEpoch kafka.BrokerEpoch
}

// AllocateProducerIDsReply is the block: First and the ProducerIDBlock-1 ids after it.
type AllocateProducerIDsReply struct {
	First kafka.ProducerID
}

func (AllocateProducerIDsReply) reply() {}

func (cmd AllocateProducerIDs) decide(c *Controller) Outcome {
	if _, err := c.broker(cmd.BrokerID, cmd.BrokerEpoch); err != nil {
		return Outcome{Err: err}
	}
	first := c.image.NextProducerID()
	next := first + ProducerIDBlock
	if next < first {
		return refused(kafka.UnknownServerError,
			"Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
	}
	return Outcome{
		Records: []record.Record{&record.ProducerIDs{
			BrokerID: cmd.BrokerID, BrokerEpoch: cmd.BrokerEpoch, NextProducerID: next}},
		Reply: AllocateProducerIDsReply{First: first},
	}
}
