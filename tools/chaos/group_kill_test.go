package chaos

import (
	"os"
	"testing"
)

// Goal: a group outlives kill -9 of the broker at any moment of its life: no acknowledged commit is lost or moved back,
// no partition has two owners in one generation, every record is read.
// Method: members join and leave just before each kill; the broker is asked for offsets and assignments all the time.
func TestGroupKillNine(t *testing.T) {
	for _, protocol := range []string{"classic", "consumer"} {
		t.Run(protocol, func(t *testing.T) {
			runGroupPlan(t, GroupPlan{Members: 4, Consumer: protocol == "consumer", Plan: Plan{
				DataDir: t.TempDir(), Rounds: *rounds, Seed: *seed, Out: os.Stdout, Fault: killNine}})
		})
	}
}

func runGroupPlan(t *testing.T, plan GroupPlan) {
	t.Helper()
	summary, err := plan.Run(t.Context())
	if err != nil {
		t.Fatalf("%v\nagain: go test ./chaos -run '%s' -seed %d", err, t.Name(), plan.Seed)
	}
	if len(summary.Violations) > 0 {
		t.Fatalf("%v\nagain: go test ./chaos -run '%s' -seed %d", summary, t.Name(), plan.Seed)
	}
	if summary.Commits < plan.Rounds*commitsPerRound || summary.Fetches == 0 || summary.Snapshots == 0 {
		t.Fatalf("the run proved nothing: %v", summary)
	}
}
