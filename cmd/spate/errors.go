package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
)

// explained is a sentence in place of an error: people read the sentence, programs the name of the protocol's error.
type explained struct {
	text  string
	cause error
}

// Error implements error.
func (e explained) Error() string { return e.text }

// Unwrap gives the error that the sentence stands for.
func (e explained) Unwrap() error { return e.cause }

// sentence makes a sentence of an error.
func sentence(cause error, format string, args ...any) error {
	return explained{fmt.Sprintf(format, args...), cause}
}

// answered makes an error of what a broker answered: its code, and its message if there is one. Nil where it is none.
func answered(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || orEmpty(message) == "" {
		return err
	}
	return sentence(err, "%s: %s", protocolName(err), strings.TrimSuffix(*message, "."))
}

// protocolName is the protocol's name of an error, such as TOPIC_ALREADY_EXISTS, or empty.
func protocolName(err error) string {
	var protocol *kerr.Error
	if errors.As(err, &protocol) {
		return protocol.Message
	}
	return ""
}

// errorLine is one error on standard error, with --output json.
type errorLine struct {
	Error string `json:"error"`
	Code  string `json:"code,omitempty"` // the protocol's name of the error
}

// printError writes an error: each line behind the program's name, or as JSON each error as an object on a line.
func printError(w io.Writer, err error, asJSON bool) {
	if several, ok := err.(interface{ Unwrap() []error }); ok &&
		errors.Join(several.Unwrap()...).Error() == err.Error() {
		for _, one := range several.Unwrap() {
			printError(w, one, asJSON)
		}
		return
	}
	if asJSON {
		_ = lineEncoder(w).Encode(errorLine{err.Error(), protocolName(err)}) // to a standard error that is closed
		return
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(w, "spate: %s\n", escaped(strings.TrimSuffix(line, "\n")))
	}
}

// lineEncoder writes JSON, each value on a line.
func lineEncoder(w io.Writer) *json.Encoder {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder
}

// noteWriter makes an object of each line that a command says beside its result, so that with --output json standard
// error is read by programs too.
type noteWriter struct {
	out  io.Writer
	line []byte // what has come of a line so far
}

// Write implements io.Writer.
func (n *noteWriter) Write(text []byte) (int, error) {
	n.line = append(n.line, text...)
	for {
		line, rest, whole := bytes.Cut(n.line, []byte("\n"))
		if !whole {
			return len(text), nil
		}
		note := struct {
			Note string `json:"note"`
		}{string(line)}
		if err := lineEncoder(n.out).Encode(note); err != nil {
			return 0, err
		}
		n.line = rest
	}
}

// wantsJSON reports whether a command line asks for JSON. What could not be parsed is looked at as it was written.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if flag := cmd.Flags().Lookup("output"); flag != nil && flag.Value.String() == "json" {
		return true
	}
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "--output=json", "-ojson", "-o=json":
			return true
		case "--output", "-o":
			if slices.Contains(args[i+1:min(i+2, len(args))], "json") {
				return true
			}
		}
	}
	return false
}

// flagName is where the parser of flags names one in its error.
var flagName = regexp.MustCompile(` for "(?:-\w, )?--([\w-]+)" flag: `)

// flagForms is what a value of each type of flag looks like.
var flagForms = map[string]string{
	"int": "a number", "int16": "a number", "int32": "a number", "int64": "a number",
	"int32Slice": "numbers, separated by commas", "int64Slice": "numbers, separated by commas",
	"duration": "a duration such as 10s or 1h30m", "bool": "true or false",
}

// explainFlag says what is wrong with a flag, in words for people.
func explainFlag(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 { // the flag is one of a command misspelt
		return unknownCommand(cmd, args[0])
	}
	var value interface{ GetValue() string }
	name := flagName.FindStringSubmatch(err.Error())
	if errors.As(err, &value) && name != nil {
		form := flagForms[cmd.Flags().Lookup(name[1]).Value.Type()]
		switch {
		case errors.Is(err, strconv.ErrRange):
			err = fmt.Errorf("--%s %q: the number is too large", name[1], value.GetValue())
		case form != "":
			err = fmt.Errorf("--%s %q: must be %s", name[1], value.GetValue(), form)
		}
	}
	return fmt.Errorf(`%w; "%s --help" lists the flags`, err, cmd.CommandPath())
}

// unknownCommand says that there is no such command, and which was perhaps meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	meant := ""
	if names := cmd.SuggestionsFor(name); len(names) > 0 {
		meant = " did you mean " + strings.Join(names, " or ") + "?"
	}
	return fmt.Errorf(`unknown command %q for %q;%s "%s --help" lists the commands`, name, cmd.CommandPath(), meant,
		cmd.CommandPath())
}
