package controller

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"spate/kafka"
	"spate/metadata/image"
	"spate/metadata/record"
)

func resource(r image.Resource, changes ...ConfigChange) AlteredResource {
	return AlteredResource{Resource: r, Changes: changes}
}

func change(op ConfigOp, name, value string) ConfigChange {
	return ConfigChange{Name: name, Op: op, Value: &value}
}

// Goal: what becomes of alterations in the metadata log is what Kafka writes. Method: the commands of
// broker/api/testdata/answers/44_incremental_alter_configs, with the values of the records that a Kafka 4.3.1 had in
// its log after them.
func TestAlterationsAreRecordedAsKafkaDoes(t *testing.T) {
	orders, payments := image.TopicResource("orders"), image.TopicResource("payments")
	readers := image.GroupResource("readers")
	c := oneBroker(t, "orders", "payments")
	perform(t, c, AlterConfigs{Resources: []AlteredResource{resource(orders,
		change(SetConfig, "retention.ms", "60000"))}})
	var got []string
	for _, cmd := range []AlterConfigs{
		{Resources: []AlteredResource{
			resource(orders, change(SetConfig, "retention.ms", "70000"), change(SetConfig, "segment.ms", "7")),
			resource(readers, change(SetConfig, "consumer.session.timeout.ms", "50000")),
		}},
		{Resources: []AlteredResource{resource(orders, change(SubtractConfig, "cleanup.policy", "delete"))}},
		{Resources: []AlteredResource{
			resource(orders, change(AppendConfig, "cleanup.policy", "delete,delete")),
			resource(payments, change(AppendConfig, "cleanup.policy", " delete")),
		}},
		{Resources: []AlteredResource{resource(payments, change(SetConfig, "retention.ms", "6"))}},
		{Resources: []AlteredResource{
			resource(orders, ConfigChange{Name: "retention.ms", Op: DeleteConfig},
				change(DeleteConfig, "segment.ms", "7")),
			resource(readers, ConfigChange{Name: "consumer.session.timeout.ms", Op: DeleteConfig}),
		}},
	} {
		for _, r := range c.Decide(cmd).Records {
			got = append(got, fmt.Sprintf("%x", record.Append(nil, r)))
		}
		perform(t, c, cmd)
	}
	want := []string{
		"01040002076f72646572730d726574656e74696f6e2e6d7306373030303000",
		"01040002076f72646572730b7365676d656e742e6d73023700",
		"0104002008726561646572731c636f6e73756d65722e73657373696f6e2e74696d656f75742e6d7306353030303000",
		"01040002076f72646572730f636c65616e75702e706f6c6963790100",
		"01040002076f72646572730f636c65616e75702e706f6c6963790764656c65746500",
		"01040002097061796d656e74730f636c65616e75702e706f6c6963790f64656c6574652c2064656c65746500",
		"01040002097061796d656e74730d726574656e74696f6e2e6d73023600",
		"01040002076f72646572730d726574656e74696f6e2e6d730000",
		"01040002076f72646572730b7365676d656e742e6d730000",
		"0104002008726561646572731c636f6e73756d65722e73657373696f6e2e74696d656f75742e6d730000",
	}
	if diff := strings.Join(got, "\n"); diff != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", diff, strings.Join(want, "\n"))
	}
	if configs := c.Image().Configs(readers); configs != nil {
		t.Errorf("the group still has %v", configs)
	}
}

// One request cannot make the log stop for long, and a value cannot be of any size.
func TestAlterationsAreBounded(t *testing.T) {
	c := oneBroker(t, "orders")
	c.settings.ValidateConfigs = func(*image.Image, image.Resource, map[string]string) error { return nil }
	many := func(n int) AlterConfigs {
		altered := resource(image.TopicResource("orders"))
		for i := range n {
			altered.Changes = append(altered.Changes, change(SetConfig, fmt.Sprint("key", i), "1"))
		}
		return AlterConfigs{Resources: []AlteredResource{altered}}
	}
	if o := c.Decide(many(recordsMax)); o.Err != nil || len(o.Records) != recordsMax {
		t.Errorf("%v, %d records", o.Err, len(o.Records))
	}
	o := c.Decide(many(recordsMax + 1))
	if !errors.Is(o.Err, kafka.PolicyViolation) || o.Err.Error() != errTooManyChanges.Error() || o.Records != nil {
		t.Errorf("%v, %d records", o.Err, len(o.Records))
	}
	for n, want := range map[int]error{configValueBytesMax: nil, configValueBytesMax + 1: errConfigTooLong} {
		cmd := AlterConfigs{Resources: []AlteredResource{resource(image.TopicResource("orders"),
			change(SetConfig, "key", strings.Repeat("x", n)))}}
		if got := c.Decide(cmd).Reply.(AlterConfigsReply).Resources[0].Err; !errors.Is(got, want) {
			t.Errorf("%d bytes: %v", n, got)
		}
	}
}

// Goal: a list that is far too long is refused before its elements are compared with each other, which would keep the
// controller busy for minutes.
func TestALongListIsRefusedAtOnce(t *testing.T) {
	c := oneBroker(t, "orders")
	var long strings.Builder
	for i := range 300_000 {
		fmt.Fprint(&long, i, ",")
	}
	started := time.Now()
	for _, op := range []ConfigOp{AppendConfig, SubtractConfig} {
		cmd := AlterConfigs{Resources: []AlteredResource{
			resource(image.TopicResource("orders"), change(op, "cleanup.policy", long.String()))}}
		if got := c.Decide(cmd).Reply.(AlterConfigsReply).Resources[0].Err; !errors.Is(got, errConfigTooLong) {
			t.Errorf("%s: %v", op, got)
		}
	}
	if took := time.Since(started); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// A controller without rules, as in tests of the driver, takes all configs for right and none for a list.
func TestWithoutRules(t *testing.T) {
	c := New(Settings{}, image.Empty("cluster"))
	reply := perform(t, c, AlterConfigs{Resources: []AlteredResource{
		resource(image.GroupResource("g"), change(SetConfig, "any", "thing")),
		resource(image.GroupResource("h"), change(AppendConfig, "any", "thing")),
	}}).(AlterConfigsReply)
	if reply.Resources[0].Err != nil || !errors.Is(reply.Resources[1].Err, kafka.InvalidConfig) {
		t.Errorf("%+v", reply)
	}
}

// FuzzAlterConfigs alters anything: the machine answers for each resource, and what it lets pass is right afterwards.
func FuzzAlterConfigs(f *testing.F) {
	f.Add(int8(2), "orders", "retention.ms", int8(0), "5", "cleanup.policy", int8(2), "delete")
	f.Add(int8(32), "g", "consumer.session.timeout.ms", int8(0), "50000", "x", int8(1), "")
	f.Add(int8(4), "1", "", int8(3), ",", "", int8(9), "")
	f.Fuzz(func(
		t *testing.T, kind int8, name, key string, op int8, value, other string, otherOp int8, otherValue string,
	) {
		c := oneBroker(t, "orders")
		r := image.Resource{Type: image.ResourceType(kind), Name: name}
		cmd := AlterConfigs{Resources: []AlteredResource{
			resource(r, change(ConfigOp(op), key, value), change(ConfigOp(otherOp), other, otherValue)),
		}}
		reply := perform(t, c, cmd).(AlterConfigsReply)
		if len(reply.Resources) != 1 || reply.Resources[0].Resource != r {
			t.Fatalf("%+v", reply)
		}
		configs := c.Image().Configs(r)
		if reply.Resources[0].Err != nil && configs != nil {
			t.Fatalf("refused with %v, and yet %v", reply.Resources[0].Err, configs)
		}
		if err := settings().ValidateConfigs(c.Image(), r, configs); len(configs) > 0 && err != nil {
			t.Fatalf("%v: %v", configs, err)
		}
	})
}
