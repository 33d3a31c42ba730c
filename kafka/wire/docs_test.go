package wire

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the table of docs/protocol.md anew")

// Goal: docs/protocol.md lists just what is served. Method: the table between its markers is compared with the one made
// from Served; go test ./kafka/wire -run ProtocolPage -rewrite writes it.
func TestProtocolPageListsWhatIsServed(t *testing.T) {
	const page, begin, end = "../../docs/protocol.md", "<!-- served:begin -->\n", "<!-- served:end -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no markers for the table", page)
	}
	var want strings.Builder
	want.WriteString("| key | API | versions served | advertised | flexible from |\n|---:|---|---|---|---:|\n")
	for _, a := range Served {
		flexible := "never"
		if a.Flexible != never {
			flexible = strconv.Itoa(int(a.Flexible))
		}
		fmt.Fprintf(&want, "| %d | %s | %d–%d | %d–%d | %s |\n",
			a.Key, a.Name, a.Min, a.Max, a.AdvertisedMin, a.Max, flexible)
	}
	if *rewrite {
		if err := os.WriteFile(page, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want.String() {
		t.Errorf("the table of %s is stale: run go test ./kafka/wire -run ProtocolPage -rewrite", page)
	}
}
