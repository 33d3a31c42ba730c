package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// volatile are the values in JSON that differ from run to run, with what stands for them in expectations.
var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`"id":"[^"]{22}"`), `"id":"ID"`},
	{regexp.MustCompile(`"timestamp":"[^"]*"`), `"timestamp":"T"`},
	{regexp.MustCompile(`"lagSeconds":[0-9.e-]+`), `"lagSeconds":0`},
	{regexp.MustCompile(`"(go|arch)":"[^"]*"`), `"$1":"X"`},
	{regexp.MustCompile(`"bytes":[0-9]+`), `"bytes":0`},
	{regexp.MustCompile(`"seconds":[0-9.e-]+`), `"seconds":0`},
	{regexp.MustCompile(`"clusterId":"[^"]{22}"`), `"clusterId":"ID"`},
	{regexp.MustCompile(`"directory":"[^"]{22}"`), `"directory":"ID"`},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), `127.0.0.1:PORT`},
	{regexp.MustCompile(`"port":[0-9]+`), `"port":0`},
	{regexp.MustCompile(`"(totalBytes|usableBytes|epoch|highWatermark|logEnd)":[0-9]+`), `"$1":0`},
	{regexp.MustCompile(`"dir":"/[^"]*"`), `"dir":"DIR"`},
}

// TestJSON pins what every command prints with --output json. Programs rely on it: fields may be added, and none goes.
func TestJSON(t *testing.T) {
	b, dir := startBroker(t, groupSettings)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"version", 0, `{"version":"v0-test","go":"X","os":"linux","arch":"X"}`},
		{"topic list", 0, `[]`},
		{"group list", 0, `[]`},
		{"group describe", 0, `[]`},
		{"topic create orders -p 2 -c retention.ms=5000000", 0, `[{"topic":"orders","partitions":2,"done":true}]`},
		{"topic create orders more", 1, `[{"topic":"more","partitions":1,"done":true},` +
			`{"topic":"orders","done":false,"error":"topic orders exists already; --if-not-exists makes that no error",` +
			`"code":"TOPIC_ALREADY_EXISTS"}]`},
		{"topic create orders --if-not-exists", 0, `[{"topic":"orders","done":false}]`},
		{"topic list", 0, `[{"topic":"more","id":"ID","partitions":1,"replicationFactor":1,"internal":false},` +
			`{"topic":"orders","id":"ID","partitions":2,"replicationFactor":1,"internal":false}]`},
		{"topic describe orders", 0, `[{"topic":"orders","id":"ID","partitions":2,"replicationFactor":1,"internal":false,` +
			`"configs":{"retention.ms":"5000000"},"minInsyncReplicas":1,"partitionDetails":[` +
			`{"partition":0,"leader":1,"leaderEpoch":0,"replicas":[1],"isr":[1],"start":0,"end":0},` +
			`{"partition":1,"leader":1,"leaderEpoch":0,"replicas":[1],"isr":[1],"start":0,"end":0}]}]`},
		{"topic describe none", 1, `[]`},
		{"produce orders -p 1 -k : -H h=1 --null N", 0, `{"topic":"orders","records":2,"bytes":0,"seconds":0}`},
		{"consume orders --to-end", 0, `{"topic":"orders","partition":1,"offset":0,"timestamp":"T","headers":` +
			`[{"key":"h","value":"1"}],"key":"k","value":"v"}` + "\n" + `{"topic":"orders","partition":1,"offset":1,` +
			`"timestamp":"T","headers":[{"key":"h","value":"1"}],"key":{"base64":"/w=="},"value":null}`},
		{"consume orders --group g --count 1", 0, `{"topic":"orders","partition":1,"offset":0,"timestamp":"T",` +
			`"headers":[{"key":"h","value":"1"}],"key":"k","value":"v"}`},
		{"group list", 0, `[{"group":"g","type":"classic","state":"Empty","protocolType":"consumer","coordinator":1}]`},
		{"group describe g", 0, `[{"group":"g","type":"classic","state":"Empty","protocolType":"consumer",` +
			`"assignor":"","coordinator":1,"members":[],"lag":1,"lagSeconds":0,"partitions":[` +
			`{"topic":"orders","partition":0,"committed":0,"start":0,"end":0,"lastStable":0,"lag":0,"lagSeconds":0},` +
			`{"topic":"orders","partition":1,"committed":1,"start":0,"end":2,"lastStable":2,"lag":1,"lagSeconds":0}],` +
			`"reasons":["no members: nobody consumes this group's records; start a consumer with this group id"]}]`},
		{"group reset-offsets g --topic orders:1 --to-latest", 0, `[{"topic":"orders","partition":1,"current":1,` +
			`"new":2,"start":0,"end":2}]`},
		{"topic alter orders --set retention.ms=7000000 --partitions 3", 0, `[{"topic":"orders","config":"retention.ms",` +
			`"done":true},{"topic":"orders","partitions":3,"done":true}]`},
		{"topic alter orders --partitions 2", 1, `[{"topic":"orders","done":false,"error":"topic orders has 3 partitions: ` +
			`it cannot have fewer; make a new topic with 2 and copy the records"}]`},
		{"topic delete-records orders --before latest -p 1", 0, `[{"topic":"orders","partition":1,"start":0,"before":2,` +
			`"end":2,"deleted":false}]`},
		{"config describe topic orders --key retention.ms", 0, `[{"kind":"topic","name":"orders","configs":[` +
			`{"name":"retention.ms","value":"7000000","source":"topic","type":"long","readOnly":false,` +
			`"sensitive":false,"synonyms":[{"name":"retention.ms","value":"7000000","source":"topic"}]}]}]`},
		{"config set group g consumer.session.timeout.ms=50000", 0, `[{"kind":"group","name":"g",` +
			`"config":"consumer.session.timeout.ms","done":true}]`},
		{"config unset topic none a", 1, `[{"kind":"topic","name":"none","done":false,"error":"topic none does not exist; ` +
			`\"spate topic list\" shows those that do","code":"UNKNOWN_TOPIC_OR_PARTITION"}]`},
		{"config list group", 0, `[{"kind":"group","name":"g"}]`},
		{"cluster describe", 0, `{"clusterId":"ID","controller":1,"brokers":[{"broker":1,"host":"127.0.0.1","port":0,` +
			`"fenced":false}]}`},
		{"cluster quorum", 0, `{"leader":1,"leaderEpoch":1,"highWatermark":0,"replicas":[{"node":1,"role":"leader",` +
			`"directory":"ID","logEnd":0,"lag":0,"lastFetch":null,"lastCaughtUp":null,` +
			`"endpoints":["PLAINTEXT://127.0.0.1:PORT"]}]}`},
		{"cluster log-dirs --topic more", 0, `[{"broker":1,"dir":"DIR","bytes":0,"totalBytes":0,"usableBytes":0,` +
			`"cordoned":false,"partitions":[{"topic":"more","partition":0,"bytes":0,"offsetLag":0,"moving":false}]}]`},
		{"group delete-offsets g --topic orders:0", 0, `[{"topic":"orders","partition":0,"done":true}]`},
		{"group delete g none", 1, `[{"group":"g","done":true},{"group":"none","done":false,` +
			`"error":"group none does not exist; \"spate group list\" shows those that do","code":"GROUP_ID_NOT_FOUND"}]`},
		{"group delete g --if-exists", 0, `[{"group":"g","done":false}]`},
		{"topic delete more none", 1, `[{"topic":"more","done":true},{"topic":"none","done":false,` +
			`"error":"topic none does not exist; \"spate topic list\" shows those that do","code":"UNKNOWN_TOPIC_OR_PARTITION"}]`},
	} {
		args := strings.Fields(c.args)
		args = append(args, "-o", "json")
		if args[0] != "version" {
			args = append(args, "-b", b.Bootstrap)
		}
		r := spate(t, "k:v\n\xff:N\n", args...)
		if got := settled(r.out); r.code != c.code || got != c.want {
			t.Errorf("%s: status %d\n got %s\nwant %s\n%s", c.args, r.code, got, c.want, r.err)
		}
	}
	log := filepath.Join(dir, "orders-1")
	for _, c := range []struct{ args, want string }{
		{"verify " + log, `{"partitions":1,"segments":1,"batches":1,"records":2,"bytes":0,"damages":[],"notes":[]}`},
		{"dump " + filepath.Join(dir, "meta.properties"), `{"file":"` + dir + `/meta.properties",`},
		{"dump " + log + "/00000000000000000000.log", `{"file":"` + log + `/00000000000000000000.log","position":0,"bytes":0,`},
	} {
		r := spate(t, "", append(strings.Fields(c.args), "-o", "json")...)
		if got := settled(r.out); r.code != 0 || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: status %d\n got %s\nwant %s\n%s", c.args, r.code, got, c.want, r.err)
		}
	}
}

// settled is JSON without spaces, each document on a line, with what differs from run to run taken out.
func settled(text string) string {
	var lines []string
	for decoder := json.NewDecoder(strings.NewReader(text)); decoder.More(); {
		var document json.RawMessage
		if err := decoder.Decode(&document); err != nil {
			return err.Error()
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, document); err != nil {
			return err.Error()
		}
		lines = append(lines, compact.String())
	}
	got := strings.Join(lines, "\n")
	for _, v := range volatile {
		got = v.pattern.ReplaceAllString(got, v.with)
	}
	return got
}
