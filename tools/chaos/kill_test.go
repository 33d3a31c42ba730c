package chaos

import (
	"flag"
	"os"
	"testing"
	"time"

	"spate/internal/proc"
)

var (
	rounds = flag.Int("rounds", 8, "faults a run")
	seed   = flag.Uint64("seed", uint64(time.Now().UnixNano()), "the seed that chooses the moments of the faults")
)

// Goal: kill -9 at random moments under load loses nothing acknowledged and changes nothing read.
// Method: idempotent producers and a consumer live through the kills; the final log is compared with all they saw.
func TestKillNine(t *testing.T) {
	for _, durability := range []string{"flush", "page-cache"} { // a killed process loses no page cache
		t.Run(durability, func(t *testing.T) {
			plan := Plan{DataDir: t.TempDir(), Rounds: *rounds, Seed: *seed, Out: os.Stdout,
				Set: map[string]string{"spate.ack.durability": durability}, Fault: killNine}
			runPlan(t, plan)
		})
	}
}

// killNine is the fault of most plans.
func killNine(b *proc.Broker) error {
	b.Kill()
	return nil
}

func runPlan(t *testing.T, plan Plan) {
	t.Helper()
	summary, err := plan.Run(t.Context())
	if err != nil {
		t.Fatalf("%v\nagain: go test ./chaos -run '%s' -seed %d", err, t.Name(), plan.Seed)
	}
	if len(summary.Violations) > 0 {
		t.Fatalf("%v\nagain: go test ./chaos -run '%s' -seed %d", summary, t.Name(), plan.Seed)
	}
	if summary.Acked < plan.Rounds*recordsPerRound || summary.ReadLive == 0 {
		t.Fatalf("the run proved nothing: %v", summary)
	}
}
