package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"spate/cmd/spate/adopt"
	"spate/internal/vfs"
)

// newAdopt is "spate adopt".
func newAdopt() *cobra.Command {
	var output string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "adopt DIR...",
		Short: "Take over the data of a stopped Apache Kafka node",
		Long: `Adopt makes the log directories of a stopped Apache Kafka 4 node ones that "spate broker" serves: the same
cluster id, topics with their ids and configs, records at their offsets, groups with their committed
offsets, the state of producers, and transactions, open ones too. Name all of log.dirs, and
metadata.log.dir if it is set.

It reads everything first and refuses, with a sentence for each reason, what it cannot take; nothing is
changed then. No record is copied or rewritten: the metadata log alone is written anew, and Kafka's is
kept beside it as __cluster_metadata-0.kafka. Interrupted, it is run again.

Exit status 0: taken over, or with --dry-run: can be. 1: refused.`,
		Example: "  spate adopt --dry-run /var/lib/kafka/data\n" +
			"  spate adopt /var/lib/kafka/data && spate broker --config server.properties",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			if output != "text" && output != "json" {
				return usageError{fmt.Errorf("--output %q: must be text or json", output)}
			}
			plan, err := adopt.Check(vfs.OS{}, adopt.Options{Dirs: dirs, Now: time.Now()})
			if err != nil {
				return err
			}
			err = errors.Join(printPlan(cmd.OutOrStdout(), plan, output), carryOut(plan, dryRun))
			return errors.Join(err, plan.Close())
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the plan and change nothing")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// carryOut does what the plan says, unless it is refused or for show.
func carryOut(plan *adopt.Plan, dryRun bool) error {
	if n := len(plan.Refusals); n > 0 {
		return fmt.Errorf("%s against it; nothing was changed", plural(int64(n), "reason"))
	}
	if dryRun {
		return nil
	}
	return adopt.Carry(vfs.OS{}, plan)
}

// printPlan prints what is there, what will be done, and what stands against it.
func printPlan(out io.Writer, p *adopt.Plan, output string) error {
	if output == "json" {
		return printJSON(out, p)
	}
	if p.Adopted {
		_, err := fmt.Fprintf(out, "%s is Spate's already: there is nothing to take over\n", p.Metadata)
		return err
	}
	if p.ClusterID != "" {
		fmt.Fprintf(out, "cluster %s, node %d\n", p.ClusterID, p.NodeID)
	}
	for _, t := range p.Topics {
		fmt.Fprintf(out, "topic %s: id %s, %s, %s, %s\n", t.Name, t.ID, plural(int64(t.Partitions), "partition"),
			plural(t.Records, "record"), byteText(t.Bytes))
	}
	if p.MetadataEnd > 0 {
		fmt.Fprintf(out, "in all: %s, %s, %s; %s with %s\n", plural(int64(len(p.Topics)), "topic"),
			plural(int64(p.Partitions), "partition"), byteText(p.Bytes), plural(int64(p.Groups), "group"),
			plural(int64(p.Offsets), "committed offset"))
	}
	for _, n := range p.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	for _, r := range p.Refusals {
		fmt.Fprintf(out, "refused: %s\n", r)
	}
	if len(p.Refusals) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "change: %s is written anew from offset %d on; Kafka's is kept as %s\n",
		p.Metadata, p.MetadataEnd, p.Backup)
	return err
}
