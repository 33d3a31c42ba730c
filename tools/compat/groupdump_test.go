package compat

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGroupLog plays one script against Apache Kafka and against the broker under test, and has Kafka's
// DumpLogSegments read both logs of committed offsets: it must not complain, and the records must be the same, in the
// same order, but for ids and times.
func TestGroupLog(t *testing.T) {
	t.Parallel()
	settings := patientSettings()
	settings["offsets.topic.num.partitions"] = "1"
	settings["group.consumer.assignment.interval.ms"] = "0" // else it is chance what a newcomer is told first
	kafka, tested := startKafka(t, settings), startTarget(t, settings)
	for _, c := range []struct {
		name    string
		play    func(s *script)
		ordered bool // else chance decides in what order members are told, and through which states they go
	}{
		{"offsets", offsetLog, true}, {"classic", classicLog, true}, {"consumer", consumerLog, false},
		{"conversion", conversionLog, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var dumps [2][]string
			for i, tg := range []*target{kafka, tested} {
				s := startScript(t, tg)
				before := len(dumpOffsets(s))
				c.play(s)
				dumps[i] = dumpOffsets(s)[before:]
				if !c.ordered {
					dumps[i] = slices.DeleteFunc(dumps[i], logTransient.MatchString)
					slices.Sort(dumps[i])
					dumps[i] = slices.Compact(dumps[i])
				}
			}
			if d := cmp.Diff(dumps[0], dumps[1]); d != "" {
				t.Errorf("Apache Kafka's records (-), those of the broker under test (+):\n%s", d)
			}
			if len(dumps[0]) < 3 {
				t.Errorf("the script left no trace: %q", dumps[0])
			}
		})
	}
}

var (
	logRecord = regexp.MustCompile(`^\| offset: \d+ CreateTime: \d+ keySize: (-?\d+) valueSize: (-?\d+) sequence: -?\d+ ` +
		`headerKeys: \[\] (key: .*)$`)
	logBatch = regexp.MustCompile(`^baseOffset: \d+ lastOffset: \d+ count: \d+ baseSequence: -?\d+ lastSequence: -?\d+ ` +
		`producerId: -1 producerEpoch: -1 partitionLeaderEpoch: \d+ isTransactional: false isControl: false ` +
		`deleteHorizonMs: OptionalLong.empty position: \d+ CreateTime: \d+ size: \d+ magic: 2 compresscodec: none ` +
		`crc: \d+ isvalid: true$`)
	logTimes = regexp.MustCompile(`("[A-Za-z]*[tT]imestamp[A-Za-z]*"|"metadataHash"):-?[1-9]\d*`)
	logBytes = regexp.MustCompile(`"(subscription|assignment)":"[^"]*"`)
	// A member that has partitions to give up, or waits for some.
	logTransient = regexp.MustCompile(`"memberEpoch":\d+,"previousMemberEpoch":\d+,"state":[12],`)
	logRandom    = regexp.MustCompile(`-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// dumpOffsets gives the records of the log of committed offsets as the tool decodes them. Every line must be one that
// the tool writes about a log in order.
func dumpOffsets(s *script) []string {
	s.t.Helper()
	logs := glob(s.t, filepath.Join(s.target.dir, "__consumer_offsets-0"), "*.log")
	if len(logs) == 0 {
		return nil // made on first use
	}
	e := s.run("org.apache.kafka.tools.DumpLogSegments",
		[]string{"--offsets-decoder", "--files", strings.Join(logs, ",")})
	if e.Status != 0 || e.Err != "" {
		s.t.Fatalf("DumpLogSegments: status %d\n%s\n%s", e.Status, e.Err, e.Out)
	}
	var records []string
	for _, line := range strings.Split(strings.TrimSpace(e.Out), "\n") {
		m := logRecord.FindStringSubmatch(line)
		switch {
		case m != nil:
			text := logTimes.ReplaceAllString(m[3], "$1:SOME")
			text = logRandom.ReplaceAllString(text, "-UUID")
			text = uuids.ReplaceAllString(text, "UUID")
			text = base64IDs.ReplaceAllString(text, "${1}ID${2}")
			text = sortMembers(logBytes.ReplaceAllString(text, `"$1":"…"`))
			records = append(records, "key of "+m[1]+", value of "+m[2]+" bytes, "+text)
		case !slices.ContainsFunc([]*regexp.Regexp{dumpFile, dumpStart, logBatch}, func(r *regexp.Regexp) bool {
			return r.MatchString(line)
		}):
			s.t.Fatalf("DumpLogSegments complains: %.1000s", line)
		}
	}
	return records
}

// sortMembers puts the members of a classic group in order, because Kafka writes them in that of a hash map of random
// ids.
func sortMembers(text string) string {
	const list, member, end = `"members":[`, `{"memberId":`, `]}}`
	head, rest, found := strings.Cut(text, list+member)
	if !found || !strings.HasSuffix(rest, end) {
		return text
	}
	members := strings.Split(strings.TrimSuffix(rest, end), ","+member)
	slices.Sort(members)
	return head + list + member + strings.Join(members, ","+member) + end
}

func offsetLog(s *script) {
	s.topic("logged", 2, 4)
	s.commit("plain", "logged", 2, 3)
	s.commit("plain", "logged", 4)
	s.group("--delete-offsets --group plain --topic logged:1")
	s.group("--reset-offsets --group plain --topic logged --to-earliest --execute")
	s.group("--delete --group plain")
}

// classicLog lets two members come and go. They read nothing: how many commits they made would be chance.
func classicLog(s *script) {
	s.topic("empty-classic", 2, 0)
	o := memberOptions{group: "classics", protocol: "classic", assignor: "range"}
	s.join("first", "empty-classic", o)
	s.state("classics", "Stable", 1)
	o.instance = "static"
	s.join("second", "empty-classic", o)
	s.state("classics", "Stable", 2)
	s.leave("first")
	s.state("classics", "Stable", 1)
	s.leave("second")
	s.state("classics", "Empty", 0)
	s.group("--delete --group classics")
}

func consumerLog(s *script) {
	s.topic("empty-consumer", 2, 0)
	o := memberOptions{group: "moderns", protocol: "consumer"}
	s.join("first", "empty-consumer", o)
	s.state("moderns", "Stable", 1)
	o.instance = "static"
	s.join("second", "empty-consumer", o)
	s.state("moderns", "Stable", 2)
	s.leave("first")
	s.wait("the rest to have all", func(ctx context.Context) bool { return s.ownsAlone(ctx, "moderns", 2) })
	s.leave("second")
	s.state("moderns", "Empty", 0)
	s.group("--delete --group moderns")
}

// conversionLog upgrades a group of one classic member and back.
func conversionLog(s *script) {
	s.topic("empty-both", 2, 0)
	s.join("old", "empty-both", memberOptions{group: "both", protocol: "classic", assignor: "range"})
	s.state("both", "Stable", 1)
	s.join("new", "empty-both", memberOptions{group: "both", protocol: "consumer"})
	s.state("both", "Stable", 2)
	s.leave("new")
	s.state("both", "Stable", 1)
	s.leave("old")
	s.state("both", "Empty", 0)
}
