package compat

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestDynamicConfigsSurviveAKill sets configs of the broker and of all brokers, kills the process at once, and asks the
// next one.
func TestDynamicConfigsSurviveAKill(t *testing.T) {
	t.Parallel()
	tg := startTarget(t, map[string]string{})
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(tg.bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := adminOf(client)
	set := func(value string, id ...int32) {
		t.Helper()
		configs := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "message.max.bytes", Value: &value}}
		altered, err := admin.AlterBrokerConfigs(ctx, configs, id...)
		if err != nil || altered[0].Err != nil {
			t.Fatalf("%v, %+v", err, altered)
		}
	}
	set("70000", 1)
	set("80000")
	for range 2 {
		if err := tg.restart(); err != nil {
			t.Fatal(err)
		}
		described, err := admin.DescribeBrokerConfigs(ctx, 1)
		if err != nil || described[0].Err != nil {
			t.Fatalf("%v, %+v", err, described)
		}
		for _, c := range described[0].Configs {
			if c.Key != "message.max.bytes" {
				continue
			}
			if c.MaybeValue() != "70000" || len(c.Synonyms) != 3 || *c.Synonyms[1].Value != "80000" {
				t.Errorf("%s, %+v", c.MaybeValue(), c.Synonyms)
			}
		}
	}
}
