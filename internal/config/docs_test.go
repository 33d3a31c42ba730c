package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// operations is the page that holds the table of keys.
const operations = "../../docs/operations.md"

// configTable is the table of keys of one scope, in Markdown.
func configTable(scope Scope) string {
	var table strings.Builder
	fmt.Fprintf(&table, "\n### Of the %s\n\n| key | type | default | valid | dynamic | |\n|---|---|---|---|---|---|\n",
		scope)
	for _, k := range Keys {
		if k.Scope != scope {
			continue
		}
		value, valid, dynamic := "`"+k.Default+"`", "", "no"
		switch {
		case k.Unset:
			value = "unset"
		case k.Default == "":
			value = "empty"
		case k.Default == maxLong:
			value = "2⁶³−1"
		case k.Default == maxInt:
			value = "2³¹−1"
		}
		if k.Valid != nil {
			valid = k.Valid.String()
		}
		if k.Dynamic {
			dynamic = "yes"
		}
		doc := k.Doc
		if len(k.Synonyms) > 0 {
			doc += " Default: `" + strings.Join(k.Synonyms, "`, `") + "`."
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s | %s |\n", k.Name, k.Type, value, valid, dynamic, doc)
	}
	return table.String()
}

// TestTheDocumentedTableIsCurrent compares the table in docs/operations.md with Keys.
func TestTheDocumentedTableIsCurrent(t *testing.T) {
	const begin, end = "<!-- configs: generated -->", "<!-- end -->"
	page, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s ... %s", operations, begin, end)
	}
	current := before + begin + "\n" + configTable(BrokerScope) + configTable(TopicScope) +
		configTable(GroupScope) + "\n" + end + after
	if *rewrite {
		if err := os.WriteFile(operations, []byte(current), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if current != string(page) {
		t.Errorf("%s is stale: go test ./internal/config -rewrite", operations)
	}
}
