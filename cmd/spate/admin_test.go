package main

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"spate/internal/proc"
)

// blurred are the parts of screens that differ from run to run, with what stands for them in the golden text.
var blurred = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b(id|cluster) [\w-]{22}`), "$1 ID"},
	{regexp.MustCompile(`(?m)(\d +)[\w-]{22}$`), "${1}ID"},
	{regexp.MustCompile(`(leader +\d+ +0 +- +- +)[\w-]{22}`), "${1}ID"},
	{regexp.MustCompile(`127\.0\.0\.1( +)\d+ `), "127.0.0.1${1}PORT "},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`\d+\.\d [KMG]iB  \d+\.\d [KMG]iB  online`), "FREE  ALL  online"},
	{regexp.MustCompile(`high watermark \d+`), "high watermark N"},
	{regexp.MustCompile(`leader +\d+ `), "leader  N "},
	{regexp.MustCompile(`\d+\.\d+ s\b|\d+ records/s`), "FAST"},
	{regexp.MustCompile(` +\n`), "\n"},
}

// wide is the space between two columns.
var wide = regexp.MustCompile(`(\S) {2,}`)

// TestScreens runs commands against a broker, one after the other, and compares what each shows, on standard output and
// standard error, with testdata/screens; -rewrite writes it anew.
func TestScreens(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "screens"), func(t *testing.T, path string) {
		dir := filepath.Join(t.TempDir(), "data")
		b, err := proc.Start(proc.Options{DataDir: dir, Set: groupSettings})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Kill()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var screen strings.Builder
			for line := range strings.Lines(d.Input) {
				r := spate(t, "a:1\nb:2\nc:3\n", append(words(line), "-b", b.Bootstrap)...)
				if d.Cmd == "quietly" && r.code == 0 {
					continue
				}
				screen.WriteString(r.out + r.err)
				if r.code != 0 {
					screen.WriteString("[status " + string(rune('0'+r.code)) + "]\n")
				}
			}
			text := strings.ReplaceAll(screen.String(), dir, "DIR")
			if strings.Contains(text, "DIR") || strings.Contains(text, "ENDPOINTS") { // columns of any width
				text = wide.ReplaceAllString(text, "$1  ")
			}
			for _, v := range blurred {
				text = v.pattern.ReplaceAllString(text, v.with)
			}
			return text
		})
	})
}

// words splits a line as a shell does with single quotes, in which \e is the character that begins control sequences.
func words(line string) []string {
	var found []string
	for i, part := range strings.Split(strings.TrimSpace(line), "'") {
		if i%2 == 1 {
			found = append(found, strings.ReplaceAll(part, `\e`, "\x1b"))
			continue
		}
		found = append(found, strings.Fields(part)...)
	}
	return found
}

// TestJSONErrors: with --output json every line of standard error is an object, of errors and of notes, and the status
// is the same as without.
func TestJSONErrors(t *testing.T) {
	b, _ := startBroker(t, nil)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"topic describe none", 1, `{"error":"topic none does not exist; \"spate topic list\" shows those that do",` +
			`"code":"UNKNOWN_TOPIC_OR_PARTITION"}`},
		{"topic delete x y", 1, `{"error":"topic x does not exist; \"spate topic list\" shows those that do",` +
			`"code":"UNKNOWN_TOPIC_OR_PARTITION"}` + "\n" + `{"error":"topic y does not exist; ` +
			`\"spate topic list\" shows those that do","code":"UNKNOWN_TOPIC_OR_PARTITION"}`},
		{"topic create a/b", 1, `{"error":"topic a/b: INVALID_TOPIC_EXCEPTION: `},
		{"topic list", 0, `{"note":"no topics yet; \"spate topic create NAME\" makes one"}`},
		{"topic list --frob", 2, `{"error":"unknown flag: --frob; \"spate topic list --help\" lists the flags"}`},
		{"topic list --under-replicated --unavailable", 2, `{"error":"--under-replicated and --unavailable exclude`},
		{"frob", 2, `{"error":"unknown command \"frob\" for \"spate\"; \"spate --help\" lists the commands"}`},
		{"group describe g", 1, `{"error":"group g does not exist; \"spate group list\" shows those that do",` +
			`"code":"GROUP_ID_NOT_FOUND"}`},
		{"config describe topic none", 1, `{"error":"topic none does not exist;`},
		{"cluster log-dirs --broker 9", 1, `{"error":"broker 9 is not in the cluster;`},
	} {
		r := spate(t, "", append(strings.Fields(c.args), "--output", "json", "-b", b.Bootstrap)...)
		if r.code != c.code || !strings.HasPrefix(strings.TrimSpace(r.err), c.want) {
			t.Errorf("%s: status %d\n got %swant %s", c.args, r.code, r.err, c.want)
		}
		for line := range strings.Lines(r.err) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: no JSON: %s", c.args, line)
			}
		}
	}
}
