// Command spate is the broker and its command line: it runs a broker, administers any Kafka-compatible cluster by the
// protocol, and reads and checks every file that a broker writes. Each subcommand has a file of its own. What is
// printed for programs goes to standard output; logs, progress and errors go to standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
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
	exitFailure = 1   // the work could not be done, or verify found damage
	exitUsage   = 2   // wrong flags, arguments or configuration: nothing was opened
	exitGivenUp = 130 // a second Ctrl-C ended a run of bench; as of a process that Ctrl-C ends
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
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	printError(stderr, err, wantsJSON(cmd, args))
	_, usage := err.(usageError)
	switch {
	case usage || !started:
		return exitUsage
	case errors.Is(err, errGivenUp):
		return exitGivenUp
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
  spate bench e2e --rate 1000  loads a cluster, measures it, and checks that nothing is lost
  spate verify data            checks every file of a data directory`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			*started = true
			if status := cmd.ErrOrStderr(); wantsJSON(cmd, nil) && !isTerminal(status) {
				cmd.SetErr(&noteWriter{out: status})
			}
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(explainFlag)
	root.AddCommand(newBroker(began), newTopic(), newConfig(), newCluster(), newGroup(), newTxn(), newQuota(),
		newProduce(), newConsume(), newBench(), newDump(), newVerify(), newAdopt(), newTune(), newVersion())
	explainArguments(root)
	return root
}

// explainArguments makes a command with commands below it, and these, say how they are used when their arguments are
// wrong. Left alone, cobra prints the help for a wrong subcommand, and calls that a success.
func explainArguments(parent *cobra.Command) {
	parent.DisableFlagsInUseLine = true
	parent.SuggestionsMinimumDistance = 2
	parent.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	if parent.RunE == nil { // one may do something by itself
		parent.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, cmd := range parent.Commands() {
		if cmd.HasSubCommands() {
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
