package partition

import (
	"os"
	"path"
	"testing"
)

// copyKafka puts the golden files of a real Kafka onto the test's disk.
func copyKafka(t testing.TB, w *world, clean bool) {
	t.Helper()
	const source = "testdata/kafka-4.3.1"
	if err := w.disk.MkdirAll("/data/probe-0", 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile := func(from, to string) {
		text, err := os.ReadFile(path.Join(source, from))
		if err != nil {
			t.Fatal(err)
		}
		writeText(t, w, path.Join(testDir, to), string(text))
	}
	for _, name := range []string{metaPropertiesFile, recoveryPointFile, logStartFile, highWatermarkFile} {
		copyFile(name, name)
	}
	if clean {
		copyFile("kafka_cleanshutdown", cleanShutdownFile)
	}
	entries, err := os.ReadDir(path.Join(source, "probe-0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		copyFile(path.Join("probe-0", e.Name()), path.Join("probe-0", e.Name()))
	}
}
