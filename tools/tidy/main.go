// Command tidy checks the rules of the code base that a compiler does not: import directions, purity of state
// machines, an injected world, documented names, typed atomics, goroutines only in task groups, no sleeping tests.
// It reads the tree below the folder given (default "."), prints one line a finding and ends with status 1 if any.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const module = "spate"

// notSource are the folders that hold no source of ours.
var notSource = []string{"testdata", "node_modules", "bin", "data"}

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	findings, files, err := check(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		os.Exit(2)
	}
	for _, f := range findings {
		fmt.Println(f)
	}
	if len(findings) > 0 {
		fmt.Printf("tidy: %d findings in %d files\n", len(findings), files)
		os.Exit(1)
	}
	fmt.Printf("tidy: %d files are in order\n", files)
}

// source is one parsed Go file and where it belongs.
type source struct {
	path string // below root
	pkg  string // import path below the module; "" for the root
	test bool
	file *ast.File
	text string
}

type checker struct {
	fset     *token.FileSet
	findings []string
	pure     map[string]bool // packages marked //tidy:pure
	docs     map[string]bool // packages with a package comment
}

// check reads every Go file below root and returns the findings, sorted, and the number of files read.
func check(root string) ([]string, int, error) {
	c := &checker{fset: token.NewFileSet(), pure: map[string]bool{}, docs: map[string]bool{}}
	sources, err := c.load(root)
	if err != nil {
		return nil, 0, err
	}
	if len(sources) == 0 {
		return nil, 0, fmt.Errorf("no Go files below %s", root)
	}
	packages := map[string]string{}
	for _, s := range sources {
		if !s.test {
			packages[s.pkg] = filepath.Dir(s.path)
			c.docs[s.pkg] = c.docs[s.pkg] || s.file.Doc != nil
			c.pure[s.pkg] = c.pure[s.pkg] || strings.Contains(s.text, "//tidy:pure\n")
		}
	}
	for pkg, dir := range packages {
		if !c.docs[pkg] {
			c.findings = append(
				c.findings,
				dir+": the package has no comment that says what it is, owns and never does",
			)
		}
	}
	for _, s := range sources {
		c.checkText(s)
		c.checkImports(s)
		c.checkCode(s)
		c.checkDocs(s)
	}
	sort.Strings(c.findings)
	return c.findings, len(sources), nil
}

func (c *checker) load(root string) ([]*source, error) {
	var sources []*source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root &&
				(strings.HasPrefix(name, ".") || slices.Contains(notSource, name)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(c.fset, path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(below))
		if pkg == "." {
			pkg = ""
		}
		sources = append(
			sources,
			&source{path: below, pkg: pkg, test: strings.HasSuffix(name, "_test.go"), file: file, text: string(text)},
		)
		return nil
	})
	return sources, err
}

func (c *checker) report(pos token.Pos, format string, args ...any) {
	p := c.fset.Position(pos)
	c.findings = append(c.findings, fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...)))
}

func (c *checker) checkText(s *source) {
	lines := strings.Split(s.text, "\n")
	generated := strings.HasSuffix(s.path, "_gen.go")
	if len(lines) > fileLinesMax && !generated {
		c.findings = append(
			c.findings,
			fmt.Sprintf("%s: %d lines: past %d a file has two subjects", s.path, len(lines), fileLinesMax),
		)
	}
	raw := c.rawStringLines(s)
	for i, line := range lines {
		width := len([]rune(strings.ReplaceAll(line, "\t", "    ")))
		if width > lineCharactersMax && !generated && !raw[i+1] {
			c.findings = append(
				c.findings,
				fmt.Sprintf("%s:%d: a line of %d characters: at most %d", s.path, i+1, width, lineCharactersMax),
			)
		}
		if strings.HasPrefix(s.path, "tools/tidy/") {
			continue // the words below stand in this checker itself
		}
		for _, word := range []string{"TODO", "FIXME", "XXX"} {
			if strings.Contains(line, word) {
				c.findings = append(c.findings, fmt.Sprintf("%s:%d: %s left behind", s.path, i+1, word))
			}
		}
	}
}

// rawStringLines are the lines that belong to a raw string literal, which cannot be broken.
func (c *checker) rawStringLines(s *source) map[int]bool {
	lines := map[int]bool{}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && strings.HasPrefix(lit.Value, "`") {
			for line := c.fset.Position(lit.Pos()).Line; line <= c.fset.Position(lit.End()).Line; line++ {
				lines[line] = true
			}
		}
		return true
	})
	return lines
}

// matches tells whether pkg is the pattern, or lies below a pattern that ends in /... .
func matches(pattern, pkg string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == prefix || strings.HasPrefix(pkg, prefix+"/")
	}
	return pkg == pattern
}

func matchesAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, pkg) })
}

// layerOf finds the row of pkg in the table.
func layerOf(pkg string) (layer, bool) {
	for _, l := range layers {
		if matchesAny(l.packages, pkg) {
			return l, true
		}
	}
	return layer{}, false
}

func (c *checker) checkImports(s *source) {
	if strings.HasPrefix(s.pkg, "tools") {
		return // a module of its own: it may use anything
	}
	own, known := layerOf(s.pkg)
	if !known {
		c.findings = append(
			c.findings,
			fmt.Sprintf("%s: package %q stands in no layer of tools/tidy/rules.go", s.path, s.pkg),
		)
		return
	}
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if c.pure[s.pkg] && !s.test && slices.Contains(pureBans, path) {
			c.report(spec.Pos(), "a pure package imports %q", path)
		}
		below, ours := strings.CutPrefix(path, module+"/")
		switch {
		case ours && !s.test:
			c.checkOwnImport(s, own, below, spec.Pos())
		case !ours && !s.test:
			c.checkEdge(s, path, spec.Pos())
		}
	}
}

func (c *checker) checkOwnImport(s *source, own layer, below string, pos token.Pos) {
	target, known := layerOf(below)
	if !known {
		c.report(pos, "%q stands in no layer of tools/tidy/rules.go", below)
		return
	}
	if slices.Contains(bans[s.pkg], below) {
		c.report(pos, "%s never imports %s: %s", s.pkg, below, own.why)
	}
	if c.pure[s.pkg] && !matchesAny(pureMayImport, below) {
		c.report(pos, "a pure package imports %q", below)
	}
	if target.number < own.number || matchesAny(own.also, below) {
		return
	}
	c.report(pos, "%s (layer %d) imports %s (layer %d): %s", s.pkg, own.number, below, target.number, own.why)
}

func (c *checker) checkEdge(s *source, path string, pos token.Pos) {
	for prefix, allowed := range edges {
		if (path == prefix || strings.HasPrefix(path, prefix+"/")) && !matchesAny(allowed, s.pkg) {
			c.report(
				pos,
				"%s imports %s, which stays at the edge it serves: %s",
				s.pkg,
				path,
				strings.Join(allowed, ", "),
			)
		}
	}
}

// importNames maps the local name of each import of the file to its path.
func importNames(f *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		name := path[strings.LastIndexByte(path, '/')+1:]
		if name == "v2" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	return names
}

func (c *checker) checkCode(s *source) {
	names := importNames(s.file)
	injected := !s.test && !matchesAny(worldly, s.pkg) && !strings.HasPrefix(s.pkg, "tools")
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if !s.test && s.pkg != "internal/task" && !strings.HasPrefix(s.pkg, "tools") {
				c.report(n.Pos(), "a bare go statement: goroutines start through internal/task, named and joined")
			}
		case *ast.SelectorExpr:
			c.checkSelector(s, names, injected, n)
		}
		return true
	})
}

func (c *checker) checkSelector(s *source, names map[string]string, injected bool, n *ast.SelectorExpr) {
	id, ok := n.X.(*ast.Ident)
	if !ok || id.Obj != nil {
		return
	}
	path := names[id.Name]
	selector := n.Sel.Name
	if path == "time" && selector == "Sleep" && s.test {
		c.report(n.Pos(), "a test that sleeps: wait for a condition, or use fake time")
	}
	if path == "sync/atomic" &&
		slices.ContainsFunc([]string{"Add", "Load", "Store", "Swap", "CompareAndSwap", "And", "Or"},
			func(verb string) bool { return strings.HasPrefix(selector, verb) }) {
		c.report(n.Pos(), "atomic.%s: use the typed atomics", selector)
	}
	if c.pure[s.pkg] && !s.test && path == "time" && slices.Contains(worldCalls["time"], selector) {
		c.report(n.Pos(), "a pure package calls time.%s", selector)
	}
	if calls := worldCalls[path]; injected && (slices.Contains(calls, selector) || slices.Contains(calls, "*")) {
		c.report(n.Pos(), "%s.%s: the world is injected (clock, file system, network, randomness)", id.Name, selector)
	}
}

func (c *checker) checkDocs(s *source) {
	if s.test || s.file.Name.Name == "main" {
		return
	}
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
				c.report(d.Pos(), "exported %s has no comment", d.Name.Name)
			}
		case *ast.GenDecl:
			c.checkGenDocs(d)
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	expr := d.Recv.List[0].Type
	if star, ok := expr.(*ast.StarExpr); ok {
		expr = star.X
	}
	if generic, ok := expr.(*ast.IndexExpr); ok {
		expr = generic.X
	}
	id, ok := expr.(*ast.Ident)
	return ok && id.IsExported()
}

func (c *checker) checkGenDocs(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch sp := spec.(type) {
		case *ast.TypeSpec:
			if sp.Name.IsExported() && d.Doc == nil && sp.Doc == nil {
				c.report(sp.Pos(), "exported type %s has no comment", sp.Name.Name)
			}
		case *ast.ValueSpec:
			if d.Doc == nil && sp.Doc == nil && sp.Comment == nil && sp.Names[0].IsExported() {
				c.report(sp.Pos(), "exported %s has no comment", sp.Names[0].Name)
			}
		}
	}
}
