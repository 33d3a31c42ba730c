package compat

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// franzChain is one process of a chain that is exactly once, with franz-go. See Chain.java for the commands and events.
type franzChain struct {
	Op, Member, Topic, To string
	Partitions            int64
	From                  int64
	Config                franzConfig
	Producer              struct {
		Bootstrap, ID string
		TimeoutMs     int64
	}
}

const (
	chainBatchRecords  = 50
	chainTransactionMs = 10_000
)

// runFranzChain takes one command.
func runFranzChain() {
	var c franzChain
	line, err := bufio.NewReader(os.Stdin).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c)
	}
	if err == nil && c.Op == "produce" {
		err = c.produce(context.Background())
	} else if err == nil {
		err = c.chain(context.Background())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (c *franzChain) tell(step string, fields map[string]any) {
	if fields == nil {
		fields = map[string]any{}
	}
	(&franzMember{name: c.Member}).write(step, fields)
}

func (c *franzChain) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(c.Producer.Bootstrap), kgo.TransactionalID(c.Producer.ID),
		kgo.TransactionTimeout(time.Duration(c.Producer.TimeoutMs) * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	}
}

func (c *franzChain) produce(ctx context.Context) error {
	client, err := kgo.NewClient(c.options()...)
	if err != nil {
		return err
	}
	pause := time.NewTicker(50 * time.Millisecond)
	for n := 1; ; n++ {
		<-pause.C
		end := c.From + 1 + rand.Int64N(40)
		c.tell("began", map[string]any{"from": c.From, "to": end})
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		var all kgo.FirstErrPromise
		for number := c.From; number < end; number++ {
			client.Produce(ctx, &kgo.Record{Topic: c.Topic, Partition: int32(number % c.Partitions),
				Value: strconv.AppendInt(nil, number, 10)}, all.Promise())
		}
		err := client.Flush(ctx)
		if err == nil {
			err = all.Err()
		}
		c.tell("ending", nil)
		done := map[string]any{"from": c.From, "records": end - c.From}
		c.From = end
		if err == nil && n%7 != 0 {
			if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
				return err
			}
			c.tell("committed", done)
			continue
		}
		if err != nil {
			done["error"] = err.Error()
		}
		if err := client.EndTransaction(ctx, kgo.TryAbort); err != nil {
			return err
		}
		c.tell("aborted", done)
	}
}

// transform gives what f makes of a record; see Chain.java.
func (c *franzChain) transform(partition int32, offset int64, value []byte) (outputs []*kgo.Record, err error) {
	number, err := strconv.ParseInt(string(value), 10, 64)
	for j := range number % 3 {
		outputs = append(outputs, &kgo.Record{Topic: c.To, Partition: int32((number/3 + j) % c.Partitions),
			Key:   fmt.Appendf(nil, "key-%d-%d", number%17, j),
			Value: fmt.Appendf(nil, "%d/%d/%d/%d", partition, offset, j, number)})
	}
	return outputs, err
}

func (c *franzChain) chain(ctx context.Context) error {
	c.Config.Committed = true
	options := append(c.options(), c.Config.options(c.Topic)...)
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		fetches := session.PollRecords(ctx, chainBatchRecords)
		for _, e := range fetches.Errors() {
			fmt.Fprintln(os.Stderr, c.Member, e.Err)
		}
		if fetches.NumRecords() == 0 {
			n--
			continue
		}
		if err := c.transact(ctx, session, fetches, n%5 != 0); err != nil {
			return err
		}
	}
}

func (c *franzChain) transact(ctx context.Context, s *kgo.GroupTransactSession, in kgo.Fetches, commit bool) error {
	if err := s.Begin(); err != nil {
		return err
	}
	c.tell("began", nil)
	var all kgo.FirstErrPromise
	outputs := 0
	for r := range in.RecordsAll() {
		made, err := c.transform(r.Partition, r.Offset, r.Value)
		if err != nil {
			return err
		}
		for _, output := range made {
			s.Produce(ctx, output, all.Promise())
		}
		outputs += len(made)
	}
	c.tell("produced", nil)
	err := s.Client().Flush(ctx)
	if err == nil {
		err = all.Err()
	}
	done := map[string]any{"records": in.NumRecords(), "outputs": outputs}
	if err != nil {
		done["error"] = err.Error()
	}
	c.tell("ending", nil)
	// An abort takes the session back to where the group is.
	committed, ended := s.End(ctx, kgo.TransactionEndTry(commit && err == nil))
	switch {
	case ended != nil:
		return ended
	case committed:
		c.tell("committed", done)
		return nil
	case commit && err == nil:
		done["error"] = "the group has changed" // the session does not say what it was
	}
	c.tell("aborted", done)
	return nil
}
