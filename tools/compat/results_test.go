package compat

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"spate/internal/proc"
)

// readings is how many records each consumer read back from each producer.
var readings struct {
	sync.Mutex
	count map[[2]string]int
}

func note(producer, consumer client, n int) {
	readings.Lock()
	defer readings.Unlock()
	if readings.count == nil {
		readings.count = map[[2]string]int{}
	}
	readings.count[[2]string{producer.name(), consumer.name()}] = n
}

// writeResults writes the table: who read how many records of whom.
func writeResults(file string) error {
	all, err := installed()
	if err != nil {
		return err
	}
	dir, err := aiokafkaDir()
	if err != nil {
		return err
	}
	aiokafka := program{[]string{"python3", "clients/aiokafka/host.py"}, []string{"PYTHONPATH=" + dir}}
	aiokafkaVersion, err := aiokafka.version()
	if err != nil {
		return err
	}
	var out strings.Builder
	out.WriteString(`# Other people's clients against Spate

Written by ` + "`go test -count=1 ./compat -results RESULTS.md`" + ` in tools/ after all tests passed. Each client, unmodified, produces
records with keys, headers, nulls, empty and large values in every codec, idempotent and not, with acks 0, 1 and all;
every client reads back what each one produced, by partition and offset, and finds the same records.

| client | version | codecs produced |
|---|---|---|
`)
	for _, c := range all {
		fmt.Fprintf(&out, "| %s | %s | %s |\n", c.name(), c.version, strings.Join(c.codecs(), ", "))
	}
	out.WriteString("\nRecords read back and compared, by producer (rows) and consumer (columns):\n\n|  |")
	for _, c := range all {
		fmt.Fprintf(&out, " %s |", c.name())
	}
	out.WriteString("\n|---|" + strings.Repeat("---:|", len(all)) + "\n")
	for _, producer := range all {
		fmt.Fprintf(&out, "| %s |", producer.name())
		for _, consumer := range all {
			fmt.Fprintf(&out, " %d |", readings.count[[2]string{producer.name(), consumer.name()}])
		}
		out.WriteString("\n")
	}
	writeGroupResults(&out, aiokafkaVersion)
	writeChainResults(&out)
	writeConnectResults(&out)
	writeStreamsResults(&out)
	fmt.Fprintf(&out, "\nKafka's own tools (%s) against the same broker: TopicCommand, ConfigCommand, GetOffsetShell, "+
		"BrokerApiVersionsCommand,\nand DumpLogSegments on the files of a running, a stopped and a killed broker. "+
		"ConsumerGroupCommand, GroupsCommand and\nConfigCommand for groups print the same as on Apache Kafka, and "+
		"DumpLogSegments finds the same records in __consumer_offsets, but for ids and times.\n", proc.KafkaVersion)
	return os.WriteFile(file, []byte(out.String()), 0o644)
}

// groupsSeen are the groups that ran, in the words of the table.
var groupsSeen struct {
	sync.Mutex
	rows []string
}

func noteGroup(library, protocol, assignor string, members int) {
	groupsSeen.Lock()
	defer groupsSeen.Unlock()
	if assignor == "" {
		assignor = "the broker's"
	}
	row := fmt.Sprintf("| %s | %s | %s | %d |", library, protocol, assignor, members)
	groupsSeen.rows = append(groupsSeen.rows, row)
}

func writeGroupResults(out *strings.Builder, aiokafkaVersion string) {
	fmt.Fprintf(out, `
## Groups

Members of one library (java is Kafka's VerifiableConsumer; aiokafka is %s) join, leave, are killed, and outlive kill -9
of the broker while records flow. Every record is read, in its partition's order; no partition has two owners (while many
join a group of the consumer protocol at once one may believe to own what it has just given up, as with Apache Kafka);
committed offsets never go back. Beside these: one group of all five libraries with the range assignor, with three more
groups on its topic, one of them of console consumers of both protocols; regular expressions resolved by the broker.

| library | protocol | assignor | members |
|---|---|---|---:|
`, aiokafkaVersion)
	groupsSeen.Lock()
	defer groupsSeen.Unlock()
	slices.Sort(groupsSeen.rows)
	for _, row := range groupsSeen.rows {
		out.WriteString(row + "\n")
	}
}
