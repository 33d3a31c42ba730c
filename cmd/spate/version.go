package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// newVersion is "spate version".
func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := parseOutput(output)
			if err != nil {
				return err
			}
			if asJSON {
				built := builtVersion{version, runtime.Version(), runtime.GOOS, runtime.GOARCH}
				return printJSON(cmd.OutOrStdout(), built)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "spate %s %s %s/%s\n",
				version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	addOutput(cmd, &output)
	return cmd
}

// builtVersion is what version prints.
type builtVersion struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}
