package main

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// table is text in columns. For a program that reads it, each row is one line with at least two spaces between columns
// and nothing is ever left out; on a terminal, long cells of the columns that may shrink are cut to fit its width.
type table struct {
	indent  string
	header  []string
	shrinks []int // columns whose cells may be cut, the first ones first
	rows    [][]string
}

// shrunkMin is how many characters a cut cell keeps: enough to tell member ids apart.
const shrunkMin = 12

// add adds a row; empty cells are shown as a dash, so that columns can be counted.
func (t *table) add(cells ...string) {
	for i, cell := range cells {
		cells[i] = cmp.Or(escaped(cell), "-")
	}
	t.rows = append(t.rows, cells)
}

// escaped replaces what is not to be printed as it is, such as line ends and the sequences that control terminals: any
// client may choose the name of a group, and its own.
func escaped(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return text
	}
	var safe strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			safe.WriteRune(r)
		} else {
			safe.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return safe.String()
}

// print writes the table for a width in characters; 0 is without bound.
func (t *table) print(out io.Writer, width int) error {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if width > 0 {
		t.shrink(widths, width)
	}
	var text strings.Builder
	for _, row := range append([][]string{t.header}, t.rows...) {
		line := t.indent
		for i, cell := range row {
			cell = cut(cell, widths[i])
			line += cell
			if i < len(row)-1 {
				line += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			}
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// shrink narrows columns until a row fits, as far as they may.
func (t *table) shrink(widths []int, width int) {
	total := len(t.indent) + 2*(len(widths)-1)
	for _, w := range widths {
		total += w
	}
	for _, column := range t.shrinks {
		spare := max(0, widths[column]-max(shrunkMin, utf8.RuneCountInString(t.header[column])))
		less := min(spare, max(0, total-width))
		widths[column] -= less
		total -= less
	}
}

// cut shortens a text to so many characters; an ellipsis stands for the middle, as ids often begin or end alike.
func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width || width < 3 {
		return text
	}
	head := (width - 1) / 2
	return string(slices.Concat(runes[:head], []rune{'…'}, runes[len(runes)-(width-1-head):]))
}

// proseColumns is how wide sentences are set where the width of the screen is not known.
const proseColumns = 100

// wrapped sets a text in lines of so many characters.
func wrapped(text string, columns int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(escaped(text)) {
		if line != "" && len(line)+1+len(word) > columns {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// widthOf is the width of a terminal in characters, or 0 where the stream is none.
func widthOf(stream any) int {
	f, ok := stream.(*os.File)
	if !ok || !isTerminal(stream) {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 0
	}
	return int(size.Col)
}
