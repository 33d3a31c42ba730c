package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// hangingTxn is a transaction that is open in a partition and that no coordinator will end.
type hangingTxn struct {
	Topic            string `json:"topic"`
	Partition        int32  `json:"partition"`
	ProducerID       int64  `json:"producerId"`
	ProducerEpoch    int16  `json:"producerEpoch"`
	CoordinatorEpoch int32  `json:"coordinatorEpoch"`
	StartOffset      int64  `json:"startOffset"`
	LastTimestamp    int64  `json:"lastTimestamp"`
	DurationMinutes  int64  `json:"durationMinutes"`
}

// hangingFlags say where hanging transactions are looked for.
type hangingFlags struct {
	clientFlags
	topics []string
	broker int32
	longer time.Duration
}

// newTxnFindHanging is "spate txn find-hanging".
func newTxnFindHanging() *cobra.Command {
	var flags hangingFlags
	cmd := &cobra.Command{
		Use:   "find-hanging",
		Short: "Find transactions that are open in a partition and that no coordinator will end",
		Long: `Looks for transactions that have had no records for longer than --max-transaction-timeout, and that their
coordinators do not know of. Records after such a transaction are not given to consumers of committed records;
"spate txn abort" ends it.`,
		Example: `  spate txn find-hanging
  spate txn find-hanging --topic orders --topic payments:0,1 --max-transaction-timeout 1h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.find(cmd) },
	}
	flags.add(cmd)
	cmd.Flags().StringArrayVar(&flags.topics, "topic", nil, "only in this topic, or topic:partition,partition")
	cmd.Flags().Int32Var(&flags.broker, "broker-id", -1, "only in partitions that this broker leads")
	cmd.Flags().DurationVar(&flags.longer, "max-transaction-timeout", 15*time.Minute,
		"the longest timeout that a producer may ask for: transaction.max.timeout.ms of the brokers")
	return cmd
}

func (f *hangingFlags) find(cmd *cobra.Command) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	topics, err := parseTopics("--topic ", f.topics)
	if err != nil {
		return err
	}
	client, err := f.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	hanging, failed := f.search(cmd.Context(), client, topics)
	switch {
	case asJSON:
		return errors.Join(printJSON(cmd.OutOrStdout(), hanging), failed)
	case len(hanging) == 0 && failed == nil:
		fmt.Fprintln(cmd.ErrOrStderr(), "no transaction hangs")
		return nil
	case len(hanging) == 0:
		return failed
	}
	t := table{header: []string{"TOPIC", "PARTITION", "PRODUCER-ID", "EPOCH", "COORDINATOR-EPOCH", "START-OFFSET",
		"LAST-TIMESTAMP", "DURATION-MIN"}, shrinks: []int{0}}
	for _, h := range hanging {
		t.add(h.Topic, fmt.Sprint(h.Partition), fmt.Sprint(h.ProducerID), fmt.Sprint(h.ProducerEpoch),
			fmt.Sprint(h.CoordinatorEpoch), fmt.Sprint(h.StartOffset), fmt.Sprint(h.LastTimestamp),
			fmt.Sprint(h.DurationMinutes))
	}
	return errors.Join(t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout())), failed)
}

// search finds what hangs; what some brokers answered is given along with the errors of others.
func (f *hangingFlags) search(
	ctx context.Context, client *kgo.Client, topics map[string][]int32,
) ([]hangingTxn, error) {
	admin := kadm.NewClient(client)
	set, err := f.partitions(ctx, admin, topics)
	if err != nil {
		return nil, err
	}
	if len(set) == 0 {
		return []hangingTxn{}, nil
	}
	candidates, failed := f.open(ctx, admin, set, time.Now())
	if len(candidates) == 0 {
		return candidates, failed
	}
	request := kmsg.NewPtrListTransactionsRequest()
	request.DurationFilterMillis = -1
	for _, c := range candidates {
		if !slices.Contains(request.ProducerIDFilters, c.ProducerID) {
			request.ProducerIDFilters = append(request.ProducerIDFilters, c.ProducerID)
		}
	}
	listed, err := listTxns(ctx, client, request)
	if err != nil {
		return []hangingTxn{}, errors.Join(failed, err) // who is not heard may know of them
	}
	known := map[int64]kadm.TopicsSet{}
	for _, l := range listed {
		described, err := admin.DescribeTransactions(ctx, l.ID)
		if err == nil {
			err = described[l.ID].Err
		}
		if err != nil && !errors.Is(err, kerr.TransactionalIDNotFound) {
			return []hangingTxn{}, errors.Join(failed, explainTxn(l.ID, err))
		}
		known[l.ProducerID] = described[l.ID].Topics
	}
	hanging := slices.DeleteFunc(candidates, func(h hangingTxn) bool {
		return known[h.ProducerID].Lookup(h.Topic, h.Partition)
	})
	return hanging, failed
}

// partitions lists what is searched: what was asked for, or all partitions, of one broker or of all.
func (f *hangingFlags) partitions(
	ctx context.Context, admin *kadm.Client, topics map[string][]int32,
) (kadm.TopicsSet, error) {
	var names []string
	for name := range topics {
		names = append(names, name)
	}
	details, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	for _, t := range details.Sorted() {
		if err := explain(t.Topic, t.Err, ""); err != nil {
			return nil, err
		}
		asked := topics[t.Topic]
		for _, p := range asked {
			if _, there := t.Partitions[p]; !there {
				return nil, fmt.Errorf("topic %s has no partition %d", t.Topic, p)
			}
		}
		for _, p := range t.Partitions.Sorted() {
			if (asked == nil || slices.Contains(asked, p.Partition)) && (f.broker < 0 || p.Leader == f.broker) {
				set.Add(t.Topic, p.Partition)
			}
		}
	}
	return set, nil
}

// open finds transactions that are open and have had no records for long.
func (f *hangingFlags) open(
	ctx context.Context, admin *kadm.Client, set kadm.TopicsSet, now time.Time,
) ([]hangingTxn, error) {
	found := []hangingTxn{}
	answers, err := admin.DescribeProducers(ctx, set)
	failed := []error{err}
	for _, p := range answers.SortedPartitions() {
		if p.Err != nil {
			failed = append(failed, fmt.Errorf("%s-%d: %w", p.Topic, p.Partition, p.Err))
			continue
		}
		for _, producer := range p.ActiveProducers.Sorted() {
			silent := now.UnixMilli() - producer.LastTimestamp
			if producer.CurrentTxnStartOffset < 0 || silent <= f.longer.Milliseconds() {
				continue
			}
			found = append(found, hangingTxn{
				Topic: p.Topic, Partition: p.Partition, ProducerID: producer.ProducerID,
				ProducerEpoch: producer.ProducerEpoch, CoordinatorEpoch: producer.CoordinatorEpoch,
				StartOffset: producer.CurrentTxnStartOffset, LastTimestamp: producer.LastTimestamp,
				DurationMinutes: silent / 60_000,
			})
		}
	}
	return found, errors.Join(failed...)
}

// abortFlags name a transaction in a partition.
type abortFlags struct {
	clientFlags
	startOffset      int64
	producerID       int64
	producerEpoch    int16
	coordinatorEpoch int32
}

// newTxnAbort is "spate txn abort".
func newTxnAbort() *cobra.Command {
	var flags abortFlags
	cmd := &cobra.Command{
		Use:   "abort TOPIC PARTITION --start-offset OFFSET",
		Short: "Abort a transaction in a partition, which no coordinator will end",
		Long: `Writes an abort marker into one partition. Only for transactions that "spate txn find-hanging" has found: a
producer that is at work loses the records that it has written to this partition, and does not know of it.`,
		Example: `  spate txn abort orders 0 --start-offset 4711
  spate txn abort orders 0 --producer-id 1000 --producer-epoch 3 --coordinator-epoch 5`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return flags.abort(cmd, args[0], args[1]) },
	}
	flags.add(cmd)
	cmd.Flags().Int64Var(&flags.startOffset, "start-offset", -1, "where the transaction begins in the partition")
	cmd.Flags().Int64Var(&flags.producerID, "producer-id", -1, "its producer, if the start offset is not given")
	cmd.Flags().Int16Var(&flags.producerEpoch, "producer-epoch", -1, "the epoch of the producer")
	cmd.Flags().Int32Var(&flags.coordinatorEpoch, "coordinator-epoch", -1, "the epoch of its last marker, or -1")
	return cmd
}

// abortedTxn is the answer of abort.
type abortedTxn struct {
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	ProducerID int64  `json:"producerId"`
	Done       bool   `json:"done"`
}

func (f *abortFlags) abort(cmd *cobra.Command, topic, partition string) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(partition, 10, 32)
	if err != nil || index < 0 {
		return usageError{fmt.Errorf("%q is not a partition", partition)}
	}
	if f.startOffset < 0 && (f.producerID < 0 || f.producerEpoch < 0) {
		return usageError{errors.New("which transaction: --start-offset, or --producer-id with --producer-epoch and " +
			"--coordinator-epoch")}
	}
	client, err := f.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	set := kadm.TopicsSet{}
	set.Add(topic, int32(index))
	marker := kadm.TxnMarkers{
		ProducerID: f.producerID, ProducerEpoch: f.producerEpoch, CoordinatorEpoch: f.coordinatorEpoch, Topics: set,
	}
	if f.startOffset >= 0 {
		if err := f.identify(cmd.Context(), admin, &marker, topic, int32(index)); err != nil {
			return err
		}
	}
	// A producer whose first transaction hangs has had no marker, so that no epoch is known. 0 is that of no later one.
	marker.CoordinatorEpoch = max(marker.CoordinatorEpoch, 0)
	answers, err := admin.WriteTxnMarkers(cmd.Context(), marker)
	if err == nil {
		answers.EachPartition(func(p kadm.TxnMarkersPartitionResponse) { err = errors.Join(err, p.Err) })
	}
	if err != nil {
		return explainAbort(topic, int32(index), err)
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), abortedTxn{topic, int32(index), marker.ProducerID, true})
	}
	fmt.Fprintf(cmd.OutOrStdout(), "aborted the transaction of producer %d in %s-%d\n", marker.ProducerID, topic, index)
	return nil
}

// explainAbort makes a sentence of why no marker was written.
func explainAbort(topic string, partition int32, err error) error {
	if errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.TransactionCoordinatorFenced) {
		return fmt.Errorf("%s-%d: the transaction is not the producer's last one any more: %w", topic, partition, err)
	}
	return explain(topic, err, "")
}

// identify finds the producer whose transaction begins at the offset.
func (f *abortFlags) identify(
	ctx context.Context, admin *kadm.Client, marker *kadm.TxnMarkers, topic string, partition int32,
) error {
	answers, err := admin.DescribeProducers(ctx, marker.Topics)
	if err != nil {
		return err
	}
	for _, p := range answers.SortedPartitions() {
		if p.Err != nil {
			return explain(topic, p.Err, "")
		}
		for _, producer := range p.ActiveProducers {
			if producer.CurrentTxnStartOffset == f.startOffset {
				marker.ProducerID, marker.ProducerEpoch = producer.ProducerID, producer.ProducerEpoch
				marker.CoordinatorEpoch = producer.CoordinatorEpoch
				return nil
			}
		}
	}
	return fmt.Errorf("no open transaction begins at offset %d of %s-%d; \"spate txn find-hanging --topic %s\" "+
		"shows those that hang", f.startOffset, topic, partition, topic)
}
