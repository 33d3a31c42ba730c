package compat

import (
	"context"
	"errors"
	"os/exec"
	"testing"
)

// diffCommand runs diff; status 1 says that the files differ.
func diffCommand(a, b string) (string, error) {
	out, err := exec.Command("diff", "-U", "6", "--label", "kafka", "--label", "tested", a, b).CombinedOutput()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	return string(out), err
}

// TestGroupTools runs scripts of Kafka's own group tools against Apache Kafka and against the broker under test: the
// texts must be equal, but for ids and ports.
func TestGroupTools(t *testing.T) {
	t.Parallel()
	settings := patientSettings()
	kafka, tested := startKafka(t, settings), startTarget(t, settings)
	t.Run("offsets of groups without members", func(t *testing.T) { bothSay(t, kafka, tested, offsetScript) })
	t.Run("groups with members", func(t *testing.T) { bothSay(t, kafka, tested, memberScript) })
	t.Run("configs of groups", func(t *testing.T) { bothSay(t, kafka, tested, configScript) })
}

// offsetScript is about groups that have committed offsets and nothing else.
func offsetScript(s *script) {
	for _, line := range []string{
		"--list", "--list --state", "--list --type", "--describe --all-groups", "--describe --group nobody",
		"--describe --group nobody --members", "--describe --group nobody --state", "--delete --group nobody",
		"--reset-offsets --group nobody --topic orders --to-earliest --dry-run",
		"--delete-offsets --group nobody --topic orders",
	} {
		s.group(line)
	}
	s.topic("orders", 3, 10)
	s.topic("audit", 2, 5)
	s.commit("empty", "orders", 4, 5, 6)
	s.commit("empty", "audit", 1, 2)
	s.commit("other", "orders", 0, 11)
	for _, line := range []string{
		"--list", "--list --state", "--list --type", "--list --state --type", "--list --state empty",
		"--list --state stable", "--list --type classic", "--list --type consumer", "--list --state nonsense",
		"--list --type nonsense", "--list --state Empty,Dead --type Classic",
		"--describe --group empty", "--describe --group empty --offsets --verbose",
		"--describe --group empty --members",
		"--describe --group empty --members --verbose", "--describe --group empty --state",
		"--describe --group empty --state --verbose", "--describe --all-groups", "--describe --all-groups --state",
		"--describe --all-groups --members", "--describe --group empty --group other --offsets",
		"--describe --group empty --group nobody --state",
	} {
		s.group(line)
	}
	s.tool(groupsCommand, "--list")
	s.tool(groupsCommand, "--list", "--consumer")
	s.tool(groupsCommand, "--list", "--protocol", "consumer")
	resets(s)
	for _, line := range []string{
		"--delete-offsets --group empty --topic audit:1", "--describe --group empty",
		"--delete-offsets --group empty --topic audit --topic orders:0,2", "--describe --group empty",
		"--delete-offsets --group empty --topic missing", "--delete-offsets --group empty --topic orders:99",
		"--delete --group nobody --group other", "--list", "--delete --group empty", "--list",
		"--describe --group empty", "--delete --all-groups", "--list",
		"--validate-regex a(b", "--validate-regex a.*b", "--validate-regex [a-", "--validate-regex a(?=b)",
		"--describe", "--reset-offsets --group empty", "--delete",
	} {
		s.group(line)
	}
}

// resets moves the offsets of a group in every way that the tool has.
func resets(s *script) {
	s.export("plan.csv", "--reset-offsets --group empty --all-topics --to-current --export --dry-run")
	for _, how := range []string{
		"--to-earliest", "--to-latest", "--to-offset 7", "--to-offset 99", "--to-offset -1", "--shift-by 2",
		"--shift-by -100", "--shift-by 100", "--to-current", "--to-datetime 2026-01-01T03:30:00.000",
		"--to-datetime 2026-01-01T03:00:00.000Z", "--to-datetime 2030-01-01T00:00:00.000", "--to-datetime yesterday",
		"--by-duration PT1M", "--by-duration P3650D", "--by-duration nonsense",
	} {
		s.group("--reset-offsets --group empty --topic orders " + how + " --dry-run")
	}
	for _, line := range []string{
		"--reset-offsets --group empty --topic orders --to-earliest", // without --dry-run: the same, with a warning
		"--reset-offsets --group empty --all-topics --to-latest --execute", "--describe --group empty",
		"--reset-offsets --group empty --topic orders:1,2 --to-offset 3 --execute", "--describe --group empty",
		"--reset-offsets --group empty --topic orders:0 --topic audit --shift-by -2 --execute",
		"--describe --group empty",
		"--reset-offsets --group empty --from-file DIR/plan.csv --execute", "--describe --group empty",
		"--reset-offsets --group empty --topic missing --to-earliest --execute",
		"--reset-offsets --group empty --topic orders:99 --to-earliest --execute",
		"--reset-offsets --group empty --to-earliest --execute",
		"--reset-offsets --group new --topic orders --to-offset 2 --execute", "--describe --group new",
		"--reset-offsets --all-groups --topic orders --to-latest --execute", "--describe --all-groups",
		"--delete --group new",
	} {
		s.group(line)
	}
}

// memberScript is about groups with members of both protocols.
func memberScript(s *script) {
	s.topic("flights", 4, 3)
	classic := memberOptions{group: "classics", protocol: "classic", assignor: "range"}
	s.join("classic-1", "flights", classic)
	s.state("classics", "Stable", 1)
	classic.instance = "instance-2"
	s.join("classic-2", "flights", classic)
	s.state("classics", "Stable", 2)
	modern := memberOptions{group: "moderns", protocol: "consumer"}
	s.join("modern-1", "flights", modern)
	s.state("moderns", "Stable", 1)
	modern.instance = "instance-3"
	s.join("modern-2", "flights", modern)
	s.state("moderns", "Stable", 2)
	for _, group := range []string{"classics", "moderns"} {
		s.offsets(group, "flights", 3, 4, 5, 6)
	}
	for _, line := range []string{
		"--list", "--list --state", "--list --type", "--list --state stable --type", "--list --state empty",
		"--list --type consumer --state", "--list --type classic",
		"--describe --group classics", "--describe --group classics --offsets --verbose",
		"--describe --group classics --members", "--describe --group classics --members --verbose",
		"--describe --group classics --state", "--describe --group classics --state --verbose",
		"--describe --group moderns", "--describe --group moderns --offsets --verbose",
		"--describe --group moderns --members", "--describe --group moderns --members --verbose",
		"--describe --group moderns --state", "--describe --group moderns --state --verbose",
		"--describe --all-groups --members", "--describe --all-groups --state",
		"--reset-offsets --group classics --topic flights --to-earliest --execute",
		"--reset-offsets --group moderns --topic flights --to-earliest --execute",
		"--reset-offsets --group moderns --topic flights --to-earliest --dry-run",
		"--delete --group classics", "--delete --group moderns", "--delete --group classics --group moderns",
		"--delete-offsets --group classics --topic flights", "--delete-offsets --group moderns --topic flights:1",
	} {
		s.group(line)
	}
	s.tool(groupsCommand, "--list")
	s.leave("classic-1")
	s.leave("modern-1")
	s.state("classics", "Stable", 1)
	s.wait("modern-2 to have all", func(ctx context.Context) bool { return s.ownsAlone(ctx, "moderns", 4) })
	for _, line := range []string{
		"--describe --group classics --members --verbose", "--describe --group classics --state",
		"--describe --group moderns --members --verbose", "--describe --group moderns --state --verbose",
	} {
		s.group(line)
	}
	s.leave("classic-2") // static: they stay in the group until their session is over
	s.leave("modern-2")
	s.state("classics", "Empty", 0)
	s.state("moderns", "Empty", 0)
	for _, line := range []string{
		"--list --state", "--list --type", "--describe --group classics", "--describe --group classics --members",
		"--describe --group classics --state", "--describe --group moderns", "--describe --group moderns --members",
		"--describe --group moderns --state", "--describe --group moderns --state --verbose",
		"--reset-offsets --group moderns --topic flights --shift-by -1 --execute",
		"--reset-offsets --group classics --topic flights --to-earliest --execute",
		"--delete-offsets --group moderns --topic flights:1", "--describe --all-groups",
		"--delete --group moderns --group classics", "--list", "--describe --group moderns",
	} {
		s.group(line)
	}
}

// configScript is about the configs of groups.
func configScript(s *script) {
	of := func(group string, args ...string) {
		s.tool(configCommand, append([]string{"--entity-type", "groups", "--entity-name", group}, args...)...)
	}
	of("tuned", "--describe")
	of("tuned", "--describe", "--all")
	for _, set := range []string{
		"consumer.session.timeout.ms=50000", "consumer.heartbeat.interval.ms=4000",
		"consumer.session.timeout.ms=50001,consumer.heartbeat.interval.ms=4001",
		"consumer.session.timeout.ms=1", "consumer.heartbeat.interval.ms=nonsense", "nonsense=1",
		"consumer.session.timeout.ms=5000,consumer.heartbeat.interval.ms=6000", "consumer.session.timeout.ms=99999999",
	} {
		of("tuned", "--alter", "--add-config", set)
		of("tuned", "--describe")
	}
	of("tuned", "--describe", "--all")
	s.tool(configCommand, "--entity-type", "groups", "--describe")
	of("tuned", "--alter", "--delete-config", "consumer.heartbeat.interval.ms")
	of("tuned", "--describe")
	of("tuned", "--alter", "--delete-config", "consumer.heartbeat.interval.ms,consumer.session.timeout.ms")
	of("tuned", "--describe")
	s.tool(configCommand, "--entity-type", "groups", "--describe")
}
