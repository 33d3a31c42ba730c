package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// logDirView is a directory in which a broker keeps logs.
type logDirView struct {
	Broker   int32         `json:"broker"`
	Dir      string        `json:"dir"`
	Bytes    int64         `json:"bytes"`           // of the logs that were asked for
	Total    *int64        `json:"totalBytes"`      // of the file system; null: not known
	Usable   *int64        `json:"usableBytes"`     // of the file system; null: not known
	Cordoned bool          `json:"cordoned"`        // gets no new partitions
	Error    string        `json:"error,omitempty"` // why it is not used
	Code     string        `json:"code,omitempty"`  // the protocol's name of the error
	Logs     []replicaView `json:"partitions"`
}

// replicaView is the log of one partition in a directory.
type replicaView struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Bytes     int64  `json:"bytes"`
	Lag       int64  `json:"offsetLag"` // records behind the high watermark, or, where it moves, behind the log it replaces
	Moving    bool   `json:"moving"`    // it is being filled, and takes the place of the partition's other log
}

// logDirFlags say which directories and logs are shown.
type logDirFlags struct {
	clientFlags
	brokers []int32
	topics  []string
	logs    bool
}

// newClusterLogDirs is "spate cluster log-dirs".
func newClusterLogDirs() *cobra.Command {
	var flags logDirFlags
	cmd := &cobra.Command{
		Use:   "log-dirs",
		Short: "Show the directories in which brokers keep logs, with sizes",
		Example: `  spate cluster log-dirs
  spate cluster log-dirs --topic 'orders-*'
  spate cluster log-dirs --broker 1 --partitions`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.run(cmd) },
	}
	flags.add(cmd)
	cmd.Flags().Int32SliceVar(&flags.brokers, "broker", nil, "only these brokers, by commas")
	cmd.Flags().
		StringSliceVarP(&flags.topics, "topic", "t", nil, "only logs of these topics, by name or pattern; shows "+
			"--partitions")
	cmd.Flags().BoolVarP(&flags.logs, "partitions", "p", false, "show each partition")
	return cmd
}

// run shows the directories.
func (f *logDirFlags) run(cmd *cobra.Command) error {
	if err := checkPatterns(f.topics); err != nil {
		return err
	}
	client, asJSON, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	dirs, failed := f.describe(cmd.Context(), client)
	switch {
	case asJSON:
		return errors.Join(printJSON(cmd.OutOrStdout(), dirs), failed)
	case len(dirs) == 0:
		return failed
	case f.logs || len(f.topics) > 0:
		return errors.Join(f.printLogs(cmd, dirs), failed)
	}
	return errors.Join(printLogDirs(cmd.OutOrStdout(), dirs), failed)
}

// describe asks the brokers. What some of them say comes along with the errors of others.
func (f *logDirFlags) describe(ctx context.Context, client *kgo.Client) ([]logDirView, error) {
	brokers := f.brokers
	if len(brokers) == 0 {
		cluster, err := describeCluster(ctx, client)
		if err != nil {
			return nil, err
		}
		for _, b := range cluster.Brokers {
			if !b.Fenced {
				brokers = append(brokers, b.ID)
			}
		}
	}
	dirs := []logDirView{}
	var failed []error
	for _, id := range brokers {
		raw, err := client.Broker(int(id)).Request(ctx, kmsg.NewPtrDescribeLogDirsRequest())
		if err == nil {
			err = kerr.ErrorForCode(raw.(*kmsg.DescribeLogDirsResponse).ErrorCode)
		}
		if err != nil {
			failed = append(failed, explainConfig(kindBroker, fmt.Sprint(id), notServed(err, "DescribeLogDirs")))
			continue
		}
		for _, d := range raw.(*kmsg.DescribeLogDirsResponse).Dirs {
			dirs = append(dirs, f.view(id, d))
		}
	}
	slices.SortStableFunc(dirs, func(a, b logDirView) int {
		return cmp.Or(cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.Dir, b.Dir))
	})
	return dirs, errors.Join(failed...)
}

// view is one directory, with the logs that were asked for.
func (f *logDirFlags) view(broker int32, d kmsg.DescribeLogDirsResponseDir) logDirView {
	view := logDirView{Broker: broker, Dir: d.Dir, Cordoned: d.IsCordoned, Logs: []replicaView{}}
	if d.TotalBytes >= 0 && d.UsableBytes >= 0 {
		view.Total, view.Usable = &d.TotalBytes, &d.UsableBytes
	}
	if err := kerr.ErrorForCode(d.ErrorCode); err != nil {
		view.Error, view.Code = err.Error(), protocolName(err)
	}
	for _, t := range d.Topics {
		taken := len(f.topics) == 0 || slices.ContainsFunc(f.topics, func(pattern string) bool {
			matches, _ := path.Match(pattern, t.Topic) // patterns were checked
			return matches
		})
		if !taken {
			continue
		}
		for _, p := range t.Partitions {
			view.Logs = append(view.Logs, replicaView{t.Topic, p.Partition, p.Size, p.OffsetLag, p.IsFuture})
			view.Bytes += p.Size
		}
	}
	slices.SortFunc(view.Logs, func(a, b replicaView) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return view
}

// printLogDirs writes a line for each directory.
func printLogDirs(out io.Writer, dirs []logDirView) error {
	t := table{
		header:  []string{"BROKER", "DIRECTORY", "PARTITIONS", "SIZE", "FREE", "OF", "STATE"},
		shrinks: []int{1},
	}
	for _, d := range dirs {
		free, total := "", ""
		if d.Total != nil {
			free, total = byteText(*d.Usable), byteText(*d.Total)
		}
		t.add(fmt.Sprint(d.Broker), d.Dir, fmt.Sprint(len(d.Logs)), byteText(d.Bytes), free, total, d.state())
	}
	return t.print(out, widthOf(out))
}

// state says in a word or two whether a directory is used.
func (d logDirView) state() string {
	switch {
	case d.Code == kerr.KafkaStorageError.Message:
		return "offline: see what the broker logs"
	case d.Error != "":
		return d.Error
	case d.Cordoned:
		return "cordoned"
	}
	return "online"
}

// printLogs writes a line for each partition.
func (f *logDirFlags) printLogs(cmd *cobra.Command, dirs []logDirView) error {
	t := table{
		header:  []string{"TOPIC", "PARTITION", "BROKER", "DIRECTORY", "SIZE", "LAG", "STATE"},
		shrinks: []int{3, 0},
	}
	type row struct {
		replicaView
		broker int32
		dir    string
	}
	var rows []row
	for _, d := range dirs {
		for _, l := range d.Logs {
			rows = append(rows, row{l, d.Broker, d.Dir})
		}
	}
	if len(rows) == 0 {
		of := ""
		if len(f.topics) > 0 {
			of = " of " + strings.Join(f.topics, ", ")
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "no partition%s is there\n", of)
		return nil
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, r := range rows {
		state := ""
		if r.Moving {
			state = "moving here"
		}
		t.add(
			r.Topic,
			fmt.Sprint(r.Partition),
			fmt.Sprint(r.broker),
			r.dir,
			byteText(r.Bytes),
			fmt.Sprint(r.Lag),
			state,
		)
	}
	return t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout()))
}

// newClusterMoveReplica is "spate cluster move-replica".
func newClusterMoveReplica() *cobra.Command {
	var flags clientFlags
	var broker int32
	var dir string
	cmd := &cobra.Command{
		Use:   "move-replica TOPIC[:PARTITION,...]... --to DIRECTORY",
		Short: "Move partitions to another log directory of their broker, while they are served",
		Long: `Move partitions to another log directory of the broker that has them. The broker copies each log while it goes on
serving it, and then puts the copy in its place; "spate cluster log-dirs --topic NAME" shows how far it is.`,
		Example: "  spate cluster move-replica orders:0,1 --to /data2\n" +
			"  spate cluster move-replica orders --broker 2 --to /data2",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			topics, err := parseTopics("", args)
			switch {
			case err != nil:
				return err
			case dir == "":
				return usageError{
					errors.New(`say where to: --to DIRECTORY; "spate cluster log-dirs" shows those that there are`),
				}
			}
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if !cmd.Flags().Changed("broker") {
				if broker, err = onlyBroker(cmd.Context(), client); err != nil {
					return err
				}
			}
			outcomes, err := moveReplicas(cmd.Context(), client, broker, dir, topics)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), outcomes, asJSON)
		},
	}
	flags.add(cmd)
	cmd.Flags().
		Int32Var(&broker, "broker", -1, "the broker that has the partitions; may be left out where there is one")
	cmd.Flags().StringVar(&dir, "to", "", "the log directory, one of the broker's log.dirs")
	return cmd
}

// onlyBroker is the broker of a cluster that has one.
func onlyBroker(ctx context.Context, client *kgo.Client) (int32, error) {
	cluster, err := describeCluster(ctx, client)
	switch {
	case err != nil:
		return 0, err
	case len(cluster.Brokers) != 1:
		return 0, usageError{fmt.Errorf("the cluster has %d brokers: say which with --broker", len(cluster.Brokers))}
	}
	return cluster.Brokers[0].ID, nil
}

// moveReplicas asks a broker to move logs, of all partitions where a topic's list is nil.
func moveReplicas(ctx context.Context, client *kgo.Client, broker int32, dir string, topics map[string][]int32) (
	[]outcome, error,
) {
	details, err := kadm.NewClient(client).ListTopicsWithInternal(ctx, slices.Sorted(maps.Keys(topics))...)
	if err != nil {
		return nil, err
	}
	target := kmsg.NewAlterReplicaLogDirsRequestDir()
	target.Dir = dir
	var outcomes []outcome
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		if err := details[name].Err; err != nil {
			outcomes = append(outcomes, outcome{Topic: name}.ended(false, explain(name, err, ""), ""))
			continue
		}
		t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
		t.Topic, t.Partitions = name, topics[name]
		if t.Partitions == nil {
			t.Partitions = slices.Sorted(maps.Keys(details[name].Partitions))
		}
		target.Topics = append(target.Topics, t)
	}
	if len(target.Topics) == 0 {
		return outcomes, nil
	}
	request := kmsg.NewPtrAlterReplicaLogDirsRequest()
	request.Dirs = append(request.Dirs, target)
	raw, err := client.Broker(int(broker)).Request(ctx, request)
	if err != nil {
		return nil, explainConfig(
			kindBroker,
			fmt.Sprint(broker),
			notServed(err, "moves between log directories (AlterReplicaLogDirs)"),
		)
	}
	for _, t := range raw.(*kmsg.AlterReplicaLogDirsResponse).Topics {
		for _, p := range t.Partitions {
			o := outcome{Topic: t.Topic, Partition: &p.Partition, Broker: &broker, Dir: dir}
			err := kerr.ErrorForCode(p.ErrorCode)
			if err != nil {
				err = moveError(t.Topic, p.Partition, broker, dir, err)
			}
			outcomes = append(
				outcomes,
				o.ended(true, err, "moving %s-%d to %s on broker %d", t.Topic, p.Partition, dir, broker),
			)
		}
	}
	return outcomes, nil
}

// moveError explains why a partition is not moved.
func moveError(topic string, partition, broker int32, dir string, err error) error {
	switch {
	case errors.Is(err, kerr.LogDirNotFound):
		return sentence(
			err,
			`%s-%d: broker %d has no log directory %s, or it is offline; "spate cluster log-dirs" shows `+
				"those that it has",
			topic,
			partition,
			broker,
			dir,
		)
	case errors.Is(err, kerr.ReplicaNotAvailable), errors.Is(err, kerr.UnknownTopicOrPartition):
		return sentence(
			err,
			`%s-%d: broker %d has no such partition; "spate topic describe %s" shows who has it`,
			topic,
			partition,
			broker,
			topic,
		)
	}
	return sentence(err, "%s-%d: %v", topic, partition, err)
}
