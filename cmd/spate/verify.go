package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"spate/cmd/spate/storage"
)

// newVerify is "spate verify".
func newVerify() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Check data directories, partitions or single files, also those of a running broker",
		Long: `Verify reads every batch, checks its checksum and each record in it, and checks the indexes,
snapshots and checkpoints against it. It changes nothing.

Exit status 0: whole. 1: damage was found; each place is one line with file, position and reason.
Notes are no damage: such as the torn end of a log after a crash, which the next start cuts off.`,
		Example: "  spate verify data\n  spate verify data/orders-0",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			asJSON, err := parseOutput(output)
			if err != nil {
				return err
			}
			report, err := storage.Verify(paths)
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printReport(cmd.OutOrStdout(), report)
			}
			if err == nil && len(report.Damages) > 0 {
				err = fmt.Errorf("%s found", plural(int64(len(report.Damages)), "damaged place"))
			}
			return err
		},
	}
	addOutput(cmd, &output)
	return cmd
}

// printReport prints what was found as text.
func printReport(out io.Writer, r *storage.Report) error {
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s: %s\n", n.File, n.Text)
	}
	for _, d := range r.Damages {
		fmt.Fprintf(out, "damage: %v\n", d)
	}
	result := "whole"
	if len(r.Damages) > 0 {
		result = "DAMAGED"
	}
	_, err := fmt.Fprintf(out, "%s: %s, %s, %s, %s\n", result, plural(int64(r.Partitions), "partition"),
		plural(int64(r.Segments), "segment"), plural(r.Records, "record"), byteText(r.Bytes))
	return err
}
