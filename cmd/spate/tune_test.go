package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestTune shows what tune prints for machines that are described in testdata/tune, and what --apply leaves of them;
// -rewrite writes it anew. "machine" adds files, a line each as path = text (\n begins a new line) or path -> target of
// a link; "spate" runs command lines on that machine; "show" prints files of it.
func TestTune(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "tune"), func(t *testing.T, path string) {
		root := t.TempDir()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var screen strings.Builder
			for line := range strings.Lines(d.Input) {
				line = strings.TrimSpace(line)
				switch d.Cmd {
				case "machine":
					addFile(t, root, line)
				case "show":
					text, err := os.ReadFile(filepath.Join(root, line))
					if err != nil {
						t.Fatal(err)
					}
					screen.WriteString(line + ": " + string(text))
				case "spate":
					r := spate(t, "", append(words(line), "--root", root)...)
					screen.WriteString(r.out + r.err)
					if r.code != 0 {
						screen.WriteString("[status " + string(rune('0'+r.code)) + "]\n")
					}
				}
			}
			return blankless(strings.ReplaceAll(screen.String(), root, "ROOT"))
		})
	})
}

// blankless replaces empty lines, which end an expectation.
func blankless(text string) string { return strings.ReplaceAll(text, "\n\n", "\n.\n") }

// addFile makes a file or a link as a line describes it.
func addFile(t *testing.T, root, line string) {
	t.Helper()
	name, target, link := strings.Cut(line, " -> ")
	if !link {
		var found bool
		if name, target, found = strings.Cut(line, " = "); !found {
			t.Fatalf("%q is neither a file nor a link", line)
		}
	}
	path := filepath.Join(root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil && link {
		err = os.Symlink(target, path)
	} else if err == nil {
		err = os.WriteFile(path, []byte(strings.ReplaceAll(target, `\n`, "\n")+"\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTuneHere runs on the machine that the tests run on: everything that it can say is said, as text and as JSON.
func TestTuneHere(t *testing.T) {
	out := must(t, "", "tune", t.TempDir())
	for _, want := range []string{"Linux ", "limit.nofile", "vm.max_map_count", "clock.source", "filesystem./"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing about %q in\n%s", want, out)
		}
	}
	if out := must(t, "", "tune", "--output", "json"); !strings.Contains(out, `"key": "limit.nofile"`) {
		t.Errorf("JSON: %s", out)
	}
	for args, want := range map[string]string{
		"--pid 4000000": "spate: no process 4000000 is there\n",
		"--apply frob":  "spate: no setting is called frob; those found are listed without --apply\n",
		"/dev/null/x":   "spate: /dev/null/x: not a directory\n",
	} {
		if r := spate(t, "", append([]string{"tune"}, strings.Fields(args)...)...); r.code != 1 || r.err != want {
			t.Errorf("tune %s: status %d, %q, want %q", args, r.code, r.err, want)
		}
	}
}
