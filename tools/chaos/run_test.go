package chaos

import (
	"context"
	"strings"
	"testing"

	"spate/internal/proc"
)

// onRound is an output that calls a function when a round is over.
type onRound func()

func (f onRound) Write(text []byte) (int, error) {
	if strings.Contains(string(text), "round 0: ") {
		f()
	}
	return len(text), nil
}

// A run whose clients fail after its last fault says what the broker has logged: that a key is not known, at least, and
// what came after it, if that was much.
func TestFailuresTellTheLastWords(t *testing.T) {
	for name, run := range map[string]func(context.Context, Plan) error{
		"records": func(ctx context.Context, p Plan) error {
			_, err := p.Run(ctx)
			return err
		},
		"transactions": func(ctx context.Context, p Plan) error {
			_, err := TxnPlan{Plan: p}.RunTransactions(ctx)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := run(ctx, Plan{DataDir: t.TempDir(), Rounds: 1, Seed: *seed, Out: onRound(cancel),
				Set:   map[string]string{"no.such.key": "1"},
				Fault: func(*proc.Broker) error { return nil }})
			if err == nil || !strings.Contains(err.Error(), "level=") {
				t.Errorf("%v", err)
			}
		})
	}
}
