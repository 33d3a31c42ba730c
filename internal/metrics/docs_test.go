package metrics

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// operations is the page that holds the table of metrics.
const operations = "../../docs/operations.md"

// TestTheDocumentedTableIsCurrent compares the table in docs/operations.md with Table.
func TestTheDocumentedTableIsCurrent(t *testing.T) {
	const begin, end = "<!-- metrics: generated -->", "<!-- end -->"
	kinds := map[Kind]string{Count: "counter", Level: "gauge", Duration: "histogram"}
	var table strings.Builder
	table.WriteString("\n| metric | kind | labels | |\n|---|---|---|---|\n")
	for _, d := range Table {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", d.Name, kinds[d.Kind], strings.Join(d.Labels, ", "), d.Help)
	}
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s ... %s", operations, begin, end)
	}
	current := before + begin + "\n" + table.String() + "\n" + end + after
	if *rewrite {
		if err := os.WriteFile(operations, []byte(current), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if current != string(page) {
		t.Errorf("%s is stale: go test ./internal/metrics -rewrite", operations)
	}
}
