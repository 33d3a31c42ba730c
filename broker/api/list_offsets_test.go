package api

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/internal/clock"
	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/kafka/wire"
	"spate/partition"
	"spate/replica"
	"spate/replica/state"
)

// logWith is a log of one batch a timestamp, of which those below mark are committed; leader epochs begin at the
// offsets given.
func logWith(t *testing.T, mark kafka.Offset, epochs map[kafka.LeaderEpoch]kafka.Offset,
	timestamps ...int64) *partition.Log {
	t.Helper()
	env := partition.Env{
		Clock: clock.Real{}, FS: vfs.NewMem(), Random: zeros{}, Log: slog.New(slog.DiscardHandler),
	}
	options := partition.DefaultOptions()
	options.NodeID, options.ClusterID = 1, "c"
	dir, err := partition.OpenLogDir(env, "/logs", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close(1) })
	tp := kafka.TopicPartition{Topic: "t", Partition: 0}
	log, err := dir.OpenLog(tp, kafka.UUID{1}, partition.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	epoch := kafka.LeaderEpoch(0)
	for i := 0; i <= len(timestamps); i++ {
		for e, start := range epochs {
			if start == kafka.Offset(i) {
				log.AssignEpoch(e)
				epoch = e
			}
		}
		if i == len(timestamps) {
			break
		}
		b := record.NewBuilder(record.BuilderOptions{})
		b.Append(kafka.Timestamp(timestamps[i]), nil, []byte("x"))
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(batch, partition.AppendOptions{LeaderEpoch: epoch, ProduceVersion: 9}); err != nil {
			t.Fatal(err)
		}
	}
	log.AdvanceHighWatermark(mark)
	return log
}

// Goal: a consumer is told nothing past what is committed, and after an election nothing that may go back (KIP-207).
// Method: one log whose high watermark stands at, before and behind the start of the leader epoch.
func TestOffsetsPastTheHighWatermarkAreNotTold(t *testing.T) {
	epochs := map[kafka.LeaderEpoch]kafka.Offset{0: 0, 4: 2}
	found := func(ts kafka.Timestamp, o kafka.Offset, e kafka.LeaderEpoch) partition.TimestampOffset {
		return partition.TimestampOffset{Timestamp: ts, Offset: o, LeaderEpoch: e}
	}
	cases := []struct {
		name  string
		mark  kafka.Offset
		asks  kafka.Timestamp
		want  partition.TimestampOffset
		err   error
		admin bool // a follower or a debugger, whom nothing is kept from
	}{
		{"the end", 3, latestTimestamp, found(-1, 3, 4), nil, false},
		{"the end for a follower", 3, latestTimestamp, found(-1, 4, 4), nil, true},
		{"the end while the high watermark lags", 1, latestTimestamp, nothingFound, kafka.OffsetNotAvailable, false},
		{"the end for a follower, while the high watermark lags", 1, latestTimestamp, found(-1, 4, 4), nil, true},
		{"the beginning", 1, earliestTimestamp, found(-1, 0, 0), nil, false},
		{"a time that is committed", 3, 150, found(200, 1, 0), nil, false},
		{"a time that is not committed", 3, 400, nothingFound, nil, false},
		{"a time that is not committed, for a follower", 3, 400, found(400, 3, 4), nil, true},
		{"a time after all", 3, 401, nothingFound, nil, false},
		{"a time that is committed, while the high watermark lags", 1, 100, found(100, 0, 0), nil, false},
		{"a time that is not, while the high watermark lags", 1, 150, nothingFound, kafka.OffsetNotAvailable, false},
		{"a time after all, while the high watermark lags", 1, 401, nothingFound, kafka.OffsetNotAvailable, false},
		{"the largest timestamp, not committed", 3, maxTimestamp, nothingFound, nil, false},
		{"the largest timestamp", 4, maxTimestamp, found(400, 3, 4), nil, false},
		{"what is tiered", 1, latestTieredTimestamp, nothingFound, nil, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			log := logWith(t, c.mark, epochs, 100, 200, 300, 400)
			q := offsetQuery{
				view: &replica.View{View: state.View{LeaderEpoch: 4}, Log: log}, end: log.LogEndOffset(),
			}
			if !c.admin {
				q.restrict(wire.ReadUncommitted)
			}
			got, err := q.find(c.asks)
			if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, c.err) {
				t.Error(diff, err)
			}
		})
	}
}

// An error that is newer than the API has an older one's code.
func TestOffsetErrorCodeByVersion(t *testing.T) {
	for version, want := range map[int16]int16{4: kafka.LeaderNotAvailable.Code, 5: kafka.OffsetNotAvailable.Code} {
		if got := offsetErrorCode(kafka.OffsetNotAvailable, version); got != want {
			t.Errorf("v%d: %d", version, got)
		}
	}
	if got := offsetErrorCode(nil, 4); got != kafka.NoError {
		t.Error(got)
	}
}
