package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"spate/bench"
	"spate/bench/limit"
)

// What the part "limit" compares with: a program in C, which is not started as brokers are.
const (
	nameLimit       = "C"
	nameLimitNoSums = "C without checksums"
)

// besideLimit is the table of the part "limit".
func besideLimit() table {
	const never = "page cache (its file is never flushed)"
	return table{title: "Spate beside the least that C needs", rows: limitOrder(), brokers: []broker{
		{name: "Spate", durability: "page cache (spate.ack.durability=page-cache)", start: startSpate("page-cache")},
		{name: nameLimit, durability: never},
		{name: nameLimitNoSums, durability: never},
	}, all: []results{{}, {}, {}}}
}

const (
	limitSliceBytes = 500_000_000 // of each row
	limitSlices     = 4           // as many times, and once that is not counted
	limitLogBytes   = 256 << 20   // of the log that is fetched from
)

// limitRow is a row of the part "limit": requests of one kind and size.
type limitRow struct {
	row, topic string
	fetch      bool
	bytes      int // of batches, in a request or an answer
}

var limitRows = []limitRow{
	{row: rowLimitProduceSmall, topic: "produce-128", bytes: 128 << 10},
	{row: rowLimitProduceLarge, topic: "produce-1024", bytes: 1 << 20},
	{row: rowLimitFetchSmall, topic: "fetch-64", fetch: true, bytes: 64 << 10},
	{row: rowLimitFetchLarge, topic: "fetch-1024", fetch: true, bytes: 1 << 20},
}

// limitOrder lists the rows in the order of the report.
func limitOrder() (order []string) {
	for _, l := range limitRows {
		order = append(order, l.row)
	}
	return order
}

// load is the requests of the row, and how many of them are a slice.
func (l limitRow) load(scale float64) (load limit.Load, requests int, err error) {
	requests = max(1, int(limitSliceBytes*scale/float64(l.bytes)))
	if l.fetch {
		answers := max(1, int(limitLogBytes*scale/float64(l.bytes)))
		load, err = limit.NewFetch(l.topic, l.bytes, answers*l.bytes)
	} else {
		load, err = limit.NewProduce(l.topic, l.bytes)
	}
	return load, requests, err
}

// measureLimit has a broker and the C program answer the same requests.
func measureLimit(t table, rounds int, scale float64, say sayer) error {
	dir, err := os.MkdirTemp("", "spate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := limit.Compile(dir)
	if err != nil {
		return err
	}
	return inTurn(t.brokers, rounds, say, func(n int) error {
		if b := t.brokers[n]; b.start != nil {
			return limitOfBroker(b, scale, t.all[n])
		}
		return limitOfProgram(program, t.brokers[n].name == nameLimit, dir, scale, t.all[n])
	})
}

// limitOfBroker measures every row on one fresh broker.
func limitOfBroker(b broker, scale float64, r results) error {
	return onFresh(b, 15*time.Minute, func(ctx context.Context, t *running, dir string) error {
		for _, l := range limitRows {
			load, requests, err := l.load(scale)
			if err != nil {
				return err
			}
			if err := bench.CreateTopic(ctx, t.Target, l.topic, 1); err != nil {
				return err
			}
			if err := load.Prepare(ctx, t.Target); err != nil {
				return fmt.Errorf("%s: %w", l.row, err)
			}
			err = limitOf(l.row, dir, load, requests, r, func(requests int) (float64, error) {
				return load.Broker(ctx, t.Target, requests)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// limitOfProgram measures every row in which the program does what the column says, each on a fresh process.
func limitOfProgram(program limit.Program, sums bool, dir string, scale float64, r results) error {
	file := filepath.Join(dir, "file")
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	for _, l := range limitRows {
		if l.fetch && !sums { // nobody computes any
			continue
		}
		load, requests, err := l.load(scale)
		if err != nil {
			return err
		}
		s, err := load.Start(program, file, sums)
		if err != nil {
			return err
		}
		err = limitOf(l.row, dir, load, requests, r, func(requests int) (float64, error) {
			return load.Server(ctx, s, requests)
		})
		s.Kill()
		if err = cmp.Or(err, os.Remove(file)); err != nil {
			return err
		}
	}
	return nil
}

// limitOf runs the slices of a row.
func limitOf(row, dir string, load limit.Load, requests int, r results,
	run func(requests int) (float64, error),
) error {
	sum := 0.0
	for slice := range 1 + limitSlices {
		err := touchMemory(filepath.Join(dir, "touched"), requests*load.Bytes())
		var cost float64
		if err == nil {
			cost, err = run(requests)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
		if slice > 0 {
			sum += cost
		}
	}
	r.add(row, sum/limitSlices)
	return nil
}

// touchMemory has the page cache use so many bytes, and free them: a virtual machine gets memory from its host at a
// cost that is not the programs' own, and some give back after seconds what is free.
func touchMemory(path string, size int) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer file.Close()
	zeros := make([]byte, 1<<20)
	for ; size > 0 && err == nil; size -= len(zeros) {
		_, err = file.Write(zeros)
	}
	return err
}
