package main

import (
	"bufio"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"spate/cmd/spate/storage"
)

// newDump is "spate dump".
func newDump() *cobra.Command {
	var options storage.DumpOptions
	var output string
	cmd := &cobra.Command{
		Use:   "dump PATH...",
		Short: "Show what the files of a broker hold: logs, indexes, snapshots, checkpoints, the metadata log",
		Example: `  spate dump data/orders-0/00000000000000000000.log --records
  spate dump data/__cluster_metadata-0
  spate dump data/recovery-point-offset-checkpoint`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, paths []string) error {
			asJSON, err := parseOutput(output)
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10)
			for _, path := range paths {
				if err := dumpPath(out, path, options, asJSON); err != nil {
					out.Flush() // what was read so far; the error that counts is the other
					return err
				}
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVarP(&options.Records, "records", "r", false, "show the records of each batch, not its header only")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, or json: one object a line")
	return cmd
}

// dumpPath shows a file, or every file of a directory, each behind its name.
func dumpPath(out *bufio.Writer, path string, options storage.DumpOptions, asJSON bool) error {
	files, err := storage.Files(path)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no file that a broker writes", path)
	}
	for _, file := range files {
		if !asJSON {
			fmt.Fprintf(out, "# %s (%s)\n", file, storage.Classify(file))
		}
		err := storage.Dump(file, options, func(e storage.Entry) error {
			if !asJSON {
				_, err := fmt.Fprintln(out, e.Text())
				return err
			}
			e.Fields = append([]storage.Field{{Name: "file", Value: file}}, e.Fields...)
			encoder := json.NewEncoder(out)
			encoder.SetEscapeHTML(false)
			return encoder.Encode(e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
