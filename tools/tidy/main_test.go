package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: each rule can fail. Method: a small tree with one planted breach a case; the report must name it, and a tree
// without a breach must be silent.
func TestEachRuleFindsItsBreach(t *testing.T) {
	const doc = "// Package p is here for the test.\n"
	cases := []struct {
		name, path, text, want string
	}{
		{"a clean file", "netpoll/a.go", doc + "package netpoll\n\nimport \"time\"\n\nvar start = time.Now()\n", ""},
		{"netpoll never imports kafka", "netpoll/a.go", doc + "package netpoll\n\nimport _ \"spate/kafka\"\n",
			"netpoll never imports kafka"},
		{
			"a lower layer imports a higher one",
			"segment/a.go",
			doc + "package segment\n\nimport _ \"spate/partition\"\n",
			"imports partition (layer 3)",
		},
		{
			"a sibling that is not named",
			"broker/session/a.go",
			doc + "package session\n\nimport _ \"spate/metadata/controller\"\n",
			"imports metadata/controller",
		},
		{"a package in no layer", "util/a.go", doc + "package util\n", "stands in no layer"},
		{
			"gnet outside netpoll",
			"broker/a.go",
			doc + "package broker\n\nimport _ \"github.com/panjf2000/gnet/v2/pkg/netpoll\"\n",
			"stays at the edge",
		},
		{
			"the clock is not injected",
			"segment/a.go",
			doc + "package segment\n\nimport \"time\"\n\nvar start = time.Now()\n",
			"the world is injected",
		},
		{"randomness is not injected", "metadata/a.go",
			doc + "package metadata\n\nimport \"math/rand/v2\"\n\nvar n = rand.Int()\n", "the world is injected"},
		{"a bare goroutine", "broker/a.go", doc + "package broker\n\nfunc f() { go f() }\n", "bare go statement"},
		{"a pure package with a mutex", "replica/state/a.go",
			doc + "//\n//tidy:pure\npackage state\n\nimport _ \"sync\"\n", "a pure package imports"},
		{"an untyped atomic", "netpoll/a.go",
			doc + "package netpoll\n\nimport \"sync/atomic\"\n\nvar n int64\n\nfunc f() { atomic.AddInt64(&n, 1) }\n",
			"typed atomics"},
		{
			"a test that sleeps",
			"netpoll/a_test.go",
			"package netpoll\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n",
			"a test that sleeps",
		},
		{"no package comment", "netpoll/a.go", "package netpoll\n", "has no comment that says"},
		{
			"an exported name without a comment",
			"netpoll/a.go",
			doc + "package netpoll\n\nfunc F() {}\n",
			"exported F has no comment",
		},
		{
			"a long line",
			"netpoll/a.go",
			doc + "package netpoll\n\n// " + strings.Repeat("x", 120) + "\n",
			"a line of",
		},
		{"a note left behind", "netpoll/a.go", doc + "package netpoll\n\n// TODO: later\n", "left behind"},
		{"a long file", "netpoll/a.go", doc + "package netpoll\n" + strings.Repeat("\n", 800), "two subjects"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, c.path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			findings, files, err := check(root)
			if err != nil || files != 1 {
				t.Fatalf("check read %d files: %v", files, err)
			}
			got := strings.Join(findings, "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("findings %q, want %q", got, c.want)
			}
		})
	}
	if _, _, err := check(t.TempDir()); err == nil {
		t.Error("a tree without Go files passed")
	}
}
