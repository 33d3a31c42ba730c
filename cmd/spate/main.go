// Command spate is the broker and its command line: it runs a broker, administers any Kafka-compatible cluster by the
// protocol, and reads and checks every file that a broker writes. Each subcommand has a file of its own. What is
// printed for programs goes to standard output; logs, progress and errors go to standard error.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "dev"

// Exit statuses. Scripts rely on them.
const (
	exitOK      = 0
	exitFailure = 1 // the work could not be done, or verify found damage
	exitUsage   = 2 // wrong flags, arguments or configuration: nothing was opened
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// usageError is an error in what the caller wrote, found after the flags were parsed.
type usageError struct{ error }

// Unwrap gives the error itself.
func (e usageError) Unwrap() error { return e.error }

// run executes one command line and gives the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)        // a second signal ends the process at once
	began, started := time.Now(), false // started: flags and arguments were right
	root := newRoot(began, &started)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	text := err.Error()
	if !started { // cobra sets "Did you mean this?" on lines of its own
		text = strings.Join(strings.Fields(text), " ")
	}
	for line := range strings.Lines(text) { // several topics can fail, each on a line
		fmt.Fprintf(stderr, "spate: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if _, usage := err.(usageError); usage || !started {
		return exitUsage
	}
	return exitFailure
}

// newRoot is the tree of commands. began is when the process did; started is set when a command begins to run.
func newRoot(began time.Time, started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "spate",
		Short: "An event-streaming broker that speaks Kafka's protocol, and its tools",
		Long: `Spate is an event-streaming broker that speaks Kafka's protocol.

  spate broker                 runs a broker: PLAINTEXT://127.0.0.1:9092, data in ./data
  spate topic create orders    administers this or any Kafka-compatible cluster
  spate produce orders         sends lines from standard input
  spate consume orders         prints records
  spate group describe billing shows how far a consumer group is, and why if it is stuck
  spate verify data            checks every file of a data directory`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { *started = true },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf(`%w; "%s --help" lists the flags`, err, cmd.CommandPath())
	})
	root.AddCommand(newBroker(began), newTopic(), newGroup(), newTxn(), newProduce(), newConsume(),
		newDump(), newVerify(), newAdopt(), newVersion())
	explainArguments(root)
	return root
}

// explainArguments makes the commands below one say how they are used when their arguments are wrong.
func explainArguments(parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		if cmd.HasSubCommands() { // left alone, cobra prints the help for a wrong subcommand, and calls that a success
			cmd.DisableFlagsInUseLine = true
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return fmt.Errorf(`unknown command %q for %q; "%s --help" lists the commands`, args[0],
						cmd.CommandPath(), cmd.CommandPath())
				}
				return nil
			}
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
			explainArguments(cmd)
			continue
		}
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return fmt.Errorf("%w; usage: %s", err, cmd.UseLine())
				}
				return nil
			}
		}
	}
}

// isTerminal reports whether a stream is a terminal, where a person reads along.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
