package compat

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"spate/internal/proc"
)

// readings is how many records each consumer read back from each producer.
var readings struct {
	sync.Mutex
	count    map[[2]string]int
	fellBack map[string]bool // the producers that left out lz4, see fallsBack
}

func note(producer, consumer client, n int) {
	readings.Lock()
	defer readings.Unlock()
	if readings.count == nil {
		readings.count = map[[2]string]int{}
	}
	readings.count[[2]string{producer.name(), consumer.name()}] = n
}

func noteFallback(producer client) {
	readings.Lock()
	defer readings.Unlock()
	if readings.fellBack == nil {
		readings.fellBack = map[string]bool{}
	}
	readings.fellBack[producer.name()] = true
}

// writeResults writes the table: who read how many records of whom.
func writeResults(file string) error {
	all, err := installed()
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
	for _, c := range all {
		if readings.fellBack[c.name()] {
			fmt.Fprintf(&out, "\n%s sends lz4 batches uncompressed to a broker without FindCoordinator, "+
				"which comes with\nconsumer groups; it reads lz4.\n", c.name())
		}
	}
	fmt.Fprintf(&out, "\nKafka's own tools (%s) against the same broker: TopicCommand, ConfigCommand, GetOffsetShell, "+
		"BrokerApiVersionsCommand,\nand DumpLogSegments on the files of a running, a stopped and a killed broker.\n",
		proc.KafkaVersion)
	return os.WriteFile(file, []byte(out.String()), 0o644)
}
