package chaos

import (
	"os"
	"testing"

	"spate/internal/proc"
)

// Goal: kill -9 at random moments under transactions loses nothing committed, shows nothing aborted or in part, repeats
// nothing, and leaves nothing open. Method: transactional producers, some of which leave their transactions to a
// successor, and readers of committed records live through the kills; the final log is compared with all they saw.
func TestTransactionsKillNine(t *testing.T) {
	plan := Plan{DataDir: t.TempDir(), Rounds: *rounds, Seed: *seed, Out: os.Stdout,
		Set: map[string]string{
			"transaction.abort.timed.out.transaction.cleanup.interval.ms": "500", "spate.ack.durability": "flush",
		},
		Fault: func(b *proc.Broker) error { b.Kill(); return nil }}
	summary, err := plan.RunTransactions(t.Context())
	proved := summary.Committed > 0 && summary.Aborted > 0 && summary.ReadLive > 0
	if err == nil && len(summary.Violations) == 0 && proved {
		return
	}
	t.Fatalf("%v\n%v\nagain: go test ./chaos -run '%s' -seed %d", err, summary, t.Name(), plan.Seed)
}
