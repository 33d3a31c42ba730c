package api

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
	"spate/kafka/wire"
	"spate/metadata/image"
	"spate/metadata/record"
)

// Goal: a list of what has settings leaves the event loop alone when it is long, and so does every alteration, which
// waits for the disk. Method: images of so many topics and configured groups.
func TestConfigResourcesBlock(t *testing.T) {
	value := "50000"
	for _, c := range []struct {
		topics, groups int
		want           bool
	}{
		{0, 0, false}, {inlineMax, 0, false}, {inlineMax + 1, 0, true}, {0, inlineMax, false},
		{0, inlineMax + 1, true}, {inlineMax, 1, true},
	} {
		b := image.NewBuilder(image.Empty("c"))
		var records []record.Record
		for i := range c.topics {
			records = append(records, &record.Topic{Name: fmt.Sprint("t", i), ID: kafka.UUID{byte(i >> 8), byte(i), 1}})
		}
		for i := range c.groups {
			records = append(records, &record.Config{ResourceType: int8(image.ResourceGroup),
				ResourceName: fmt.Sprint("g", i), Name: "consumer.session.timeout.ms", Value: &value})
		}
		for _, r := range records {
			if err := b.Apply(r); err != nil {
				t.Fatal(err)
			}
		}
		if img, _ := b.Build(); manyResources(img) != c.want {
			t.Errorf("%d topics, %d groups: %v", c.topics, c.groups, !c.want)
		}
	}
	if !HandlerOf(wire.KeyIncrementalAlterConfigs).Blocks(nil, &kmsg.IncrementalAlterConfigsRequest{}) {
		t.Error("altering configs waits for the disk")
	}
}
