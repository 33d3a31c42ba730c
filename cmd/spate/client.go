package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// reachWithin bounds the first contact with a cluster: long enough for a far one, short enough to wait for.
const reachWithin = 5 * time.Second

// clientFlags are the flags of every command that talks to a cluster.
type clientFlags struct {
	bootstrap string
	output    string
}

// add declares the flags on a command.
func (f *clientFlags) add(cmd *cobra.Command) {
	addOutput(cmd, &f.output)
	cmd.Flags().StringVarP(&f.bootstrap, "bootstrap-server", "b", "127.0.0.1:9092",
		"brokers to connect to, host:port[,host:port...]")
}

// json reports whether the output is JSON.
func (f *clientFlags) json() (bool, error) { return parseOutput(f.output) }

// addOutput declares how what is found is printed.
func addOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "text or json")
}

// parseOutput reports whether --output asks for JSON.
func parseOutput(output string) (asJSON bool, err error) {
	if output != "text" && output != "json" {
		err = usageError{fmt.Errorf("--output %q: must be text or json", output)}
	}
	return output == "json", err
}

// open reads --output and connects: how every command that talks to a cluster begins.
func (f *clientFlags) open(ctx context.Context) (client *kgo.Client, asJSON bool, err error) {
	if asJSON, err = f.json(); err != nil {
		return nil, asJSON, err
	}
	client, err = f.connect(ctx)
	return client, asJSON, err
}

// connect makes a client and checks that a broker answers.
func (f *clientFlags) connect(ctx context.Context, options ...kgo.Opt) (*kgo.Client, error) {
	options = append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(f.bootstrap, ",")...),
		kgo.ClientID("spate"),
		kgo.DialTimeout(reachWithin),
	}, options...)
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no broker answers at %s: %s", f.bootstrap, whyUnreachable(err))
	}
	return client, nil
}

// whyUnreachable turns what the client met into a cause and what to do about it.
func whyUnreachable(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return `connection refused; start a broker with "spate broker", or name another with --bootstrap-server`
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s is not known; check --bootstrap-server", dns.Name)
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %v; check address and network; it may be a TLS listener", reachWithin)
	}
	return err.Error()
}

// explain makes a sentence of a protocol error about a topic, with what to do next where that is known.
func explain(topic string, err error, message string) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return sentence(err, `topic %s does not exist; "spate topic list" shows those that do`, topic)
	case errors.Is(err, kerr.TopicAlreadyExists):
		return sentence(err, "topic %s exists already; --if-not-exists makes that no error", topic)
	case errors.Is(err, kerr.MessageTooLarge):
		return sentence(
			err,
			"topic %s: a batch is larger than max.message.bytes; send smaller records or raise it",
			topic,
		)
	case errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		return sentence(err, "topic %s: fewer replicas are in sync than its min.insync.replicas asks for", topic)
	case errors.Is(err, kerr.KafkaStorageError):
		return sentence(err, "topic %s: the broker cannot use its log: full disk, failing disk or damage; see what "+
			"it logs", topic)
	}
	var protocol *kerr.Error
	if message != "" && errors.As(err, &protocol) {
		return sentence(err, "topic %s: %s: %s", topic, protocol.Message, message)
	}
	return fmt.Errorf("topic %s: %w", topic, err)
}

// printJSON prints a value as one indented JSON document.
func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
