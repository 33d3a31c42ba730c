package main

import (
	"context"
	"fmt"
	"time"

	"spate/bench"
)

// transactionSizes are the workloads of transactions: records of each, how many producers commit at a time, and how
// many transactions each of them commits.
var transactionSizes = []struct {
	records, producers, each int
}{
	{1, 8, 500}, {100, 8, 100}, {10_000, 4, 10},
}

// The end-to-end workload of transactions.
const (
	transactionRate    = 100 // a second
	transactionRecords = 10
)

// measureTransactions commits transactions of each size, after as many that are not counted, and then times them from
// end to end.
func measureTransactions(b broker, scale float64, r results) error {
	return onFresh(b, 10*time.Minute, func(ctx context.Context, t *running, _ string) error {
		if err := commitTransactions(ctx, t, scale, r); err != nil {
			return err
		}
		return timeTransactions(ctx, t, scale, r)
	})
}

func commitTransactions(ctx context.Context, t *running, scale float64, r results) error {
	for _, size := range transactionSizes {
		x := bench.Transactions{
			Topic: fmt.Sprintf("transactions-%d", size.records), Producers: size.producers,
			Each: max(1, int(float64(size.each)*scale)), Records: size.records, RecordBytes: recordBytes,
		}
		if err := bench.CreateTopic(ctx, t.Target, x.Topic, partitions); err != nil {
			return err
		}
		if _, err := x.Run(ctx, t.Target); err != nil {
			return err
		}
		sample, err := x.Run(ctx, t.Target)
		if err != nil {
			return err
		}
		rows := rowsOfTransactions(size.records, size.producers)
		r.add(rows.cpu, float64(sample.CPU().Microseconds())/float64(x.Count()))
		if size.records > 1 {
			r.add(rows.cpuRecord, sample.CPUMicrosPerRecord())
		}
		r.add(rows.rate, float64(x.Count())/sample.Elapsed.Seconds())
		r.add(rows.p50, float64(sample.P50.Microseconds())/1000)
		r.add(rows.p99, float64(sample.P99.Microseconds())/1000)
	}
	return nil
}

func timeTransactions(ctx context.Context, t *running, scale float64, r results) error {
	e := bench.TransactionsEndToEnd{
		Topic: "transactions", Partitions: partitions, Producers: 8, RatePerSec: transactionRate,
		Length:  max(time.Second, time.Duration(10*scale*float64(time.Second))),
		Records: transactionRecords, RecordBytes: recordBytes,
	}
	if err := bench.CreateTopic(ctx, t.Target, e.Topic, partitions); err != nil {
		return err
	}
	sample, err := e.Run(ctx, t.Target)
	if err != nil {
		return err
	}
	r.add(rowTransactionsP50, float64(sample.P50.Microseconds())/1000)
	r.add(rowTransactionsP99, float64(sample.P99.Microseconds())/1000)
	return nil
}

// transactionRows are the rows of one size.
type transactionRows struct {
	cpu, cpuRecord, rate, p50, p99 string
}

func rowsOfTransactions(records, producers int) transactionRows {
	what := fmt.Sprintf("transactions of %d records, %d producers: ", records, producers)
	if records == 1 {
		what = fmt.Sprintf("transactions of 1 record, %d producers: ", producers)
	}
	return transactionRows{
		what + "broker CPU µs a transaction", what + "broker CPU µs a record", what + "transactions/s",
		what + "commit p50, ms", what + "commit p99, ms",
	}
}

// transactionOrder lists the rows in the order of the report.
func transactionOrder() (order []string) {
	for _, size := range transactionSizes {
		rows := rowsOfTransactions(size.records, size.producers)
		order = append(order, rows.cpu)
		if size.records > 1 {
			order = append(order, rows.cpuRecord)
		}
		order = append(order, rows.rate, rows.p50, rows.p99)
	}
	return append(order, rowTransactionsP50, rowTransactionsP99)
}
