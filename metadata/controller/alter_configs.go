package controller

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

// AlterConfigs changes the configs of resources, each resource on its own: some may fail and others not.
type AlterConfigs struct {
	Resources    []AlteredResource
	ValidateOnly bool // only say what would happen
	// Replace puts back to its default what a resource has and the command does not name.
	Replace bool
}

// AlteredResource is what to change on one resource.
type AlteredResource struct {
	Resource image.Resource
	Changes  []ConfigChange
}

// ConfigOp is what to do with a config, numbered as on the wire.
type ConfigOp int8

// The operations.
const (
	SetConfig      ConfigOp = 0
	DeleteConfig   ConfigOp = 1 // back to the default
	AppendConfig   ConfigOp = 2 // add the elements of the value to the list
	SubtractConfig ConfigOp = 3 // take the elements of the value out of the list
)

// String is the operation as Kafka's messages have it.
func (op ConfigOp) String() string {
	if names := [...]string{"SET", "DELETE", "APPEND", "SUBTRACT"}; op >= 0 && int(op) < len(names) {
		return names[op]
	}
	return fmt.Sprintf("operation %d", int8(op))
}

// ConfigChange changes one config.
type ConfigChange struct {
	Name  string
	Op    ConfigOp
	Value *string // nil only with DeleteConfig, which ignores it
}

// AlterConfigsReply has one result for each resource of the request, in its order.
type AlterConfigsReply struct {
	Resources []AlteredConfigs
}

func (AlterConfigsReply) reply() {}

// AlteredConfigs is what became of one resource.
type AlteredConfigs struct {
	Resource image.Resource
	Err      error // a *Refusal
}

// errTooManyChanges is Kafka's answer to more records than recordsMax, which refuses the request as a whole.
var errTooManyChanges error = &Refusal{Code: kafka.PolicyViolation,
	Message: "Unable to perform excessively large batch operation."}

func (cmd AlterConfigs) decide(c *Controller) Outcome {
	counts := make(map[image.Resource]int, len(cmd.Resources))
	for i := range cmd.Resources {
		counts[cmd.Resources[i].Resource]++
	}
	var records []record.Record
	var reply AlterConfigsReply
	for i := range cmd.Resources {
		altered := &cmd.Resources[i]
		result := AlteredConfigs{Resource: altered.Resource}
		if counts[altered.Resource] > 1 {
			result.Err = refuse(kafka.InvalidRequest, "Each resource must appear at most once.")
		} else {
			var changes []record.Record
			changes, result.Err = c.alterResource(altered, cmd.Replace)
			records = append(records, changes...)
		}
		if len(records) > recordsMax {
			return Outcome{Err: errTooManyChanges}
		}
		reply.Resources = append(reply.Resources, result)
	}
	if cmd.ValidateOnly {
		records = nil
	}
	return Outcome{Records: records, Reply: reply}
}

// alterResource gives the records that change the configs of one resource: none for what is so already.
func (c *Controller) alterResource(altered *AlteredResource, replace bool) ([]record.Record, error) {
	if err := altered.check(); err != nil {
		return nil, err
	}
	r := altered.Resource
	before := c.image.Configs(r)
	if replace {
		altered = altered.replacing(before)
	}
	after := make(map[string]string, len(before)+len(altered.Changes))
	for name, value := range before {
		after[name] = value
	}
	var records []record.Record
	for i := range altered.Changes {
		change := &altered.Changes[i]
		value, err := c.changed(r, change)
		if err != nil {
			return nil, err
		}
		old, was := before[change.Name]
		if value == nil && !was || value != nil && was && *value == old {
			continue
		}
		records = append(records, &record.Config{
			ResourceType: int8(r.Type), ResourceName: r.Name, Name: change.Name, Value: value})
		if value == nil {
			delete(after, change.Name)
			continue
		}
		if len(*value) > configValueBytesMax {
			return nil, errConfigTooLong
		}
		after[change.Name] = *value
	}
	if err := c.checkConfigs(r, after); err != nil {
		return nil, err
	}
	return records, nil
}

// replacing is the changes with the removal of everything else that the resource has.
func (a *AlteredResource) replacing(before map[string]string) *AlteredResource {
	named := make(map[string]bool, len(a.Changes))
	for i := range a.Changes {
		named[a.Changes[i].Name] = true
	}
	whole := AlteredResource{Resource: a.Resource, Changes: slices.Clone(a.Changes)}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if !named[name] {
			whole.Changes = append(whole.Changes, ConfigChange{Name: name, Op: DeleteConfig})
		}
	}
	return &whole
}

// check looks at the request for one resource by itself.
func (a *AlteredResource) check() error {
	var nulls []string
	seen := make(map[string]bool, len(a.Changes))
	for i := range a.Changes {
		change := &a.Changes[i]
		switch {
		case seen[change.Name]:
			return refuse(kafka.InvalidRequest, "Error due to duplicate config keys")
		case (change.Op < SetConfig || change.Op > SubtractConfig) && a.Resource.Type == image.ResourceBroker:
			return refuse(kafka.InvalidRequest, "Unknown operations type %d", int8(change.Op))
		case change.Op < SetConfig || change.Op > SubtractConfig:
			return refuse(kafka.InvalidRequest, "Unknown %s on config %s", change.Op, change.Name)
		case change.Op != DeleteConfig && change.Value == nil:
			nulls = append(nulls, change.Name)
		}
		seen[change.Name] = true
	}
	if len(nulls) > 0 {
		return refuse(kafka.InvalidRequest, "Null value not supported for : %s", strings.Join(nulls, ", "))
	}
	switch a.Resource.Type {
	case image.ResourceTopic, image.ResourceGroup, image.ResourceBroker, image.ResourceClientMetrics:
		return nil
	}
	return refuse(kafka.InvalidRequest, "Unknown resource type %d", int8(a.Resource.Type))
}

// changed is the value that a config gets by a change, nil for none.
func (c *Controller) changed(r image.Resource, change *ConfigChange) (*string, error) {
	switch change.Op {
	case SetConfig:
		return change.Value, nil
	case DeleteConfig:
		return nil, nil
	}
	if len(*change.Value) > configValueBytesMax { // before time is spent on its elements
		return nil, errConfigTooLong
	}
	text, kind := c.settings.ListDefault(r.Type, change.Name)
	if kind != ListConfig {
		return nil, notList(r, change, kind)
	}
	if own, ok := c.image.Configs(r)[change.Name]; ok {
		text = own
	}
	elements := slices.DeleteFunc(strings.Split(text, ","), func(element string) bool { return element == "" })
	for element := range strings.SplitSeq(*change.Value, ",") {
		at := slices.Index(elements, element)
		switch {
		case change.Op == AppendConfig && at < 0:
			elements = append(elements, element)
		case change.Op == SubtractConfig && at >= 0:
			elements = slices.Delete(elements, at, at+1)
		}
	}
	joined := strings.Join(elements, ",")
	return &joined, nil
}

// notList refuses to add to, or to take from, what is no list. Of brokers' configs Kafka says it in other words,
// because the broker looks at them and not the controller.
func notList(r image.Resource, change *ConfigChange, kind ConfigKind) error {
	switch {
	case r.Type != image.ResourceBroker:
		return refuse(kafka.InvalidConfig, "Can't %s to key %s because its type is not LIST.", change.Op, change.Name)
	case kind == UnknownConfig:
		return refuse(kafka.InvalidConfig, "Unknown config name: %s", change.Name)
	}
	return refuse(kafka.InvalidConfig, "Config value %s is not allowed for config key: %s",
		strings.ToLower(change.Op.String()), change.Name)
}

// checkConfigs looks at all configs that a resource is to have, and then, as Kafka does, whether there is such a
// resource at all.
func (c *Controller) checkConfigs(r image.Resource, configs map[string]string) error {
	if r.Name == "" && (r.Type == image.ResourceTopic || r.Type == image.ResourceGroup) {
		return refuse(kafka.InvalidRequest, "Default %s resources are not allowed.", strings.ToLower(r.Type.String()))
	}
	if r.Type == image.ResourceTopic {
		if err := CheckTopicName(r.Name); err != nil {
			return err
		}
	}
	if err := c.settings.ValidateConfigs(c.image, r, configs); err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return refusal
		}
		return refuse(kafka.InvalidConfig, "%s", err)
	}
	if r.Type == image.ResourceTopic && c.image.Topic(r.Name) == nil {
		return refuse(kafka.UnknownTopicOrPartition, "The topic '%s' does not exist.", r.Name)
	}
	return nil
}

// errConfigTooLong is Kafka's answer to a value past configValueBytesMax.
var errConfigTooLong = refuse(kafka.InvalidConfig, "The configuration value cannot be added because it exceeds the "+
	"maximum value size of %d bytes.", configValueBytesMax)

// configValueBytesMax is Kafka's limit of a config's value.
const configValueBytesMax = 1<<15 - 1
