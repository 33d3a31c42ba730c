package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// scrape is the answer of the handler.
func scrape(t *testing.T, r *Registry) (int, string) {
	t.Helper()
	recorder := httptest.NewRecorder()
	r.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	return recorder.Code, string(body)
}

// TestExposition reads the values of each kind in Prometheus' text form, with help, type and labels.
func TestExposition(t *testing.T) {
	r := New()
	r.Counter(RequestErrors, "Produce", "NOT_LEADER_OR_FOLLOWER").Add(3)
	r.Gauge(Connections).Set(2)
	h := r.Histogram(StageTime, "Fetch", "send")
	h.Observe(time.Millisecond)
	h.Observe(time.Hour)
	r.Each(PartitionEnd, func(emit func(Value)) {
		emit(Value{Labels: []string{"a", "0"}, Number: 10})
		emit(Value{Labels: []string{"a", "1"}, Number: 11})
	})
	code, body := scrape(t, r)
	if code != 200 {
		t.Fatalf("status %d: %s", code, body)
	}
	for _, line := range []string{
		"# TYPE spate_request_errors_total counter",
		"# HELP spate_connections Open connections.",
		`spate_request_errors_total{api="Produce",error="NOT_LEADER_OR_FOLLOWER"} 3`,
		"spate_connections 2",
		`spate_request_stage_seconds_bucket{api="Fetch",stage="send",le="0.0005"} 0`,
		`spate_request_stage_seconds_bucket{api="Fetch",stage="send",le="0.001"} 1`,
		`spate_request_stage_seconds_bucket{api="Fetch",stage="send",le="10"} 1`,
		`spate_request_stage_seconds_bucket{api="Fetch",stage="send",le="+Inf"} 2`,
		`spate_request_stage_seconds_sum{api="Fetch",stage="send"} 3600.001`,
		`spate_request_stage_seconds_count{api="Fetch",stage="send"} 2`,
		`spate_partition_log_end_offset{partition="1",topic="a"} 11`,
		"go_goroutines ",
		"process_open_fds ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("missing: %s", line)
		}
	}
}

// TestAWrongWalkFailsTheScrape: a value with labels that do not fit its row is reported, not dropped.
func TestAWrongWalkFailsTheScrape(t *testing.T) {
	r := New()
	r.Each(PartitionEnd, func(emit func(Value)) { emit(Value{Labels: []string{"a"}}) })
	if code, body := scrape(t, r); code != 500 || !strings.Contains(body, "spate_partition_log_end_offset") {
		t.Errorf("status %d: %s", code, body)
	}
}
