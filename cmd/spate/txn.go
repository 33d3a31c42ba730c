package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTxn is "spate txn".
func newTxn() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "txn",
		Short: "List and describe transactions, find those that hang, and abort them",
		Long: `Transactions of producers, as their coordinators and the partitions see them.

  spate txn list                        transactional ids and their states
  spate txn describe payments           one of them: its producer, since when, and in which partitions
  spate txn find-hanging --topic orders transactions that are open in a partition and that no coordinator will end:
                                        they keep consumers of committed records from going on
  spate txn abort orders 0 --start-offset 4711
                                        ends one of these`,
	}
	cmd.AddCommand(newTxnList(), newTxnDescribe(), newTxnFindHanging(), newTxnAbort())
	return cmd
}

// explainTxn makes a sentence of a protocol error about a transactional id.
func explainTxn(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.TransactionalIDNotFound):
		return sentence(err, `transactional id %s is not known; "spate txn list" shows those that are`, id)
	case errors.Is(err, kerr.CoordinatorNotAvailable), errors.Is(err, kerr.CoordinatorLoadInProgress),
		errors.Is(err, kerr.NotCoordinator):
		return fmt.Errorf("transactional id %s: its coordinator is not ready (%w); try again in a moment", id, err)
	}
	return fmt.Errorf("transactional id %s: %w", id, err)
}

// txnStates are the states of transactions, as brokers write them.
var txnStates = []string{"Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Empty",
	"PrepareEpochFence", "Dead"}

// listedTxn is one transactional id as list prints it.
type listedTxn struct {
	ID          string `json:"transactionalId"`
	Coordinator int32  `json:"coordinator"`
	ProducerID  int64  `json:"producerId"`
	State       string `json:"state"`
}

// txnListFlags say which transactional ids are listed.
type txnListFlags struct {
	clientFlags
	states    []string
	producers []int64
	longer    time.Duration
	pattern   string
}

// newTxnList is "spate txn list".
func newTxnList() *cobra.Command {
	var flags txnListFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List transactional ids with their producers and states",
		Example: `  spate txn list --state ongoing --longer-than 1m
  spate txn list --matching 'payments-.*' --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return flags.list(cmd) },
	}
	flags.add(cmd)
	cmd.Flags().StringSliceVar(&flags.states, "state", nil, "only those in these states, such as ongoing,empty")
	cmd.Flags().Int64SliceVar(&flags.producers, "producer-id", nil, "only those of these producer ids")
	cmd.Flags().DurationVar(&flags.longer, "longer-than", -1, "only transactions that have been open for longer")
	cmd.Flags().StringVar(&flags.pattern, "matching", "", "only ids that match this regular expression (RE2) in full")
	return cmd
}

func (f *txnListFlags) list(cmd *cobra.Command) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	request := kmsg.NewPtrListTransactionsRequest()
	if request.StateFilters, err = known("--state", f.states, txnStates); err != nil {
		return err
	}
	request.ProducerIDFilters, request.DurationFilterMillis = f.producers, -1
	if f.longer >= 0 {
		request.DurationFilterMillis = f.longer.Milliseconds()
	}
	if f.pattern != "" {
		request.TransactionalIDPattern = &f.pattern
	}
	client, err := f.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	listed, failed := listTxns(cmd.Context(), client, request)
	switch {
	case asJSON:
		return errors.Join(printJSON(cmd.OutOrStdout(), listed), failed)
	case len(listed) == 0 && failed == nil:
		fmt.Fprintln(cmd.ErrOrStderr(), "no transactional ids")
		return nil
	case len(listed) == 0:
		return failed
	}
	t := table{header: []string{"TRANSACTIONAL-ID", "COORDINATOR", "PRODUCER-ID", "STATE"}, shrinks: []int{0}}
	for _, l := range listed {
		t.add(l.ID, fmt.Sprint(l.Coordinator), fmt.Sprint(l.ProducerID), l.State)
	}
	return errors.Join(t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout())), failed)
}

// listTxns asks every broker for the transactional ids that it coordinates. What some brokers answered is given along
// with the errors of others.
func listTxns(ctx context.Context, client *kgo.Client, request *kmsg.ListTransactionsRequest) ([]listedTxn, error) {
	listed := []listedTxn{}
	var failed []error
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			failed = append(failed, fmt.Errorf("list transactions: %w", shard.Err))
			continue
		}
		response := shard.Resp.(*kmsg.ListTransactionsResponse)
		if err := kerr.ErrorForCode(response.ErrorCode); err != nil {
			failed = append(failed, fmt.Errorf("list transactions of broker %d: %w", shard.Meta.NodeID, err))
			continue
		}
		for _, s := range response.TransactionStates {
			listed = append(listed, listedTxn{s.TransactionalID, shard.Meta.NodeID, s.ProducerID, s.TransactionState})
		}
	}
	slices.SortFunc(listed, func(a, b listedTxn) int { return cmp.Compare(a.ID, b.ID) })
	return listed, errors.Join(failed...)
}

// describedTxn is one transactional id as describe prints it. What there is only of an open transaction is null
// otherwise.
type describedTxn struct {
	ID            string   `json:"transactionalId"`
	Coordinator   int32    `json:"coordinator"`
	ProducerID    int64    `json:"producerId"`
	ProducerEpoch int16    `json:"producerEpoch"`
	State         string   `json:"state"`
	TimeoutMs     int32    `json:"timeoutMs"`
	StartedMs     *int64   `json:"startedMs"`
	DurationMs    *int64   `json:"durationMs"`
	Partitions    []string `json:"partitions"`
}

// newTxnDescribe is "spate txn describe".
func newTxnDescribe() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "describe TRANSACTIONAL-ID...",
		Short: "Show the producer, the state and the partitions of transactions",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, ids []string) error { return flags.describeTxns(cmd, ids) },
	}
	flags.add(cmd)
	return cmd
}

func (f *clientFlags) describeTxns(cmd *cobra.Command, ids []string) error {
	asJSON, err := f.json()
	if err != nil {
		return err
	}
	client, err := f.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer client.Close()
	answers, err := kadm.NewClient(client).DescribeTransactions(cmd.Context(), ids...)
	if err != nil && len(answers) == 0 {
		return err
	}
	described := []describedTxn{}
	failed := []error{err}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		d, there := answers[id]
		if !there {
			continue
		}
		if d.Err != nil {
			failed = append(failed, explainTxn(id, d.Err))
			continue
		}
		described = append(described, describeTxn(&d, time.Now()))
	}
	if asJSON {
		return errors.Join(append(failed, printJSON(cmd.OutOrStdout(), described))...)
	}
	if len(described) == 0 {
		return errors.Join(failed...)
	}
	t := table{header: []string{"TRANSACTIONAL-ID", "COORDINATOR", "PRODUCER-ID", "EPOCH", "STATE", "TIMEOUT-MS",
		"STARTED-MS", "DURATION-MS", "PARTITIONS"}, shrinks: []int{0}}
	for _, d := range described {
		t.add(d.ID, fmt.Sprint(d.Coordinator), fmt.Sprint(d.ProducerID), fmt.Sprint(d.ProducerEpoch), d.State,
			fmt.Sprint(d.TimeoutMs), optionalNumber(d.StartedMs), optionalNumber(d.DurationMs),
			strings.Join(d.Partitions, ","))
	}
	failed = append(failed, t.print(cmd.OutOrStdout(), widthOf(cmd.OutOrStdout())))
	return errors.Join(failed...)
}

func describeTxn(d *kadm.DescribedTransaction, now time.Time) describedTxn {
	described := describedTxn{
		ID: d.TxnID, Coordinator: d.Coordinator, ProducerID: d.ProducerID, ProducerEpoch: d.ProducerEpoch,
		State: d.State, TimeoutMs: d.TimeoutMillis, Partitions: []string{},
	}
	if d.StartTimestamp >= 0 {
		duration := now.UnixMilli() - d.StartTimestamp
		described.StartedMs, described.DurationMs = &d.StartTimestamp, &duration
	}
	for _, t := range d.Topics.Sorted() {
		for _, p := range t.Partitions {
			described.Partitions = append(described.Partitions, fmt.Sprintf("%s-%d", t.Topic, p))
		}
	}
	return described
}

// optionalNumber is a number, or nothing.
func optionalNumber(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}
