package broker

import (
	"strconv"
	"sync/atomic"

	"spate/broker/quota"
	"spate/coordinator/group"
	"spate/coordinator/group/classic"
	"spate/coordinator/group/consumer"
	"spate/coordinator/runtime"
	txnrecord "spate/coordinator/txn/record"
	"spate/internal/metrics"
	"spate/kafka"
	"spate/netpoll"
	"spate/partition"
	"spate/replica"
)

// watch has the registry read at each scrape what is counted elsewhere.
func (b *Broker) watch() {
	b.watchNetwork()
	b.watchLogs()
	b.watchDirs()
	b.watchCleaner()
	b.watchMoves()
	b.watchCoordinators(ofGroups, b.coordinators.host)
	b.watchCoordinators(ofTransactions, b.transactions.host)
	b.watchGroups()
	b.watchTransactions()
	level := func(name metrics.Name, read func() int64, labels ...string) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			emit(metrics.Value{Labels: labels, Number: float64(read())})
		})
	}
	for kind := range quota.Kinds {
		level(metrics.QuotaClients, func() int64 { return int64(b.quotas.Clients(kind)) }, kind.String())
	}
	level(metrics.Topics, func() int64 { return int64(b.metadata.Image().TopicCount()) })
	level(metrics.MetadataOffset, func() int64 { return int64(b.metadata.Image().EndOffset()) - 1 })
	level(metrics.FetchSessions, func() int64 { return int64(b.node.Sessions.Stats().Sessions) })
	level(metrics.Delayed, func() int64 { return int64(b.node.Produces.Len()) }, "produce")
	level(metrics.Delayed, func() int64 { return int64(b.node.Fetches.Len()) }, "fetch")
}

func (b *Broker) watchNetwork() {
	count := func(name metrics.Name, read func(*netpoll.Stats) int64, labels ...string) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			emit(metrics.Value{Labels: labels, Number: float64(read(b.server.Stats()))})
		})
	}
	count(metrics.BytesIn, func(s *netpoll.Stats) int64 { return s.BytesIn })
	count(metrics.BytesOut, func(s *netpoll.Stats) int64 { return s.BytesOut })
	count(metrics.Sendfiles, func(s *netpoll.Stats) int64 { return s.Sendfiles })
	count(metrics.SendfileBytes, func(s *netpoll.Stats) int64 { return s.SendfileBytes })
	count(metrics.Connections, func(s *netpoll.Stats) int64 { return s.Open })
	count(metrics.ConnectionsAccepted, func(s *netpoll.Stats) int64 { return s.Accepted })
	count(metrics.ConnectionsRefused, func(s *netpoll.Stats) int64 { return s.RefusedTotal }, "total")
	count(metrics.ConnectionsRefused, func(s *netpoll.Stats) int64 { return s.RefusedPerIP }, "per-ip")
	count(metrics.ConnectionsRefused, func(s *netpoll.Stats) int64 { return s.RefusedFiles }, "descriptors")
	count(metrics.ConnectionsRefused, func(s *netpoll.Stats) int64 { return s.RefusedRate }, "rate")
	count(metrics.ConnectionsRefused, func(s *netpoll.Stats) int64 { return s.RefusedHandler }, "handler")
	count(metrics.ConnectionsDelayed, func(s *netpoll.Stats) int64 { return s.DelayedRate })
	count(metrics.ColdReads, func(s *netpoll.Stats) int64 { return s.ColdReads }, "send")
	count(metrics.ColdReads, func(*netpoll.Stats) int64 { return b.node.Meters.ColdFetches.Load() }, "fetch")
	count(metrics.MemoryWaits, func(s *netpoll.Stats) int64 { return s.Starved })
	count(metrics.RequestMemory, func(s *netpoll.Stats) int64 { return s.MemoryBytes })
}

func (b *Broker) watchLogs() {
	partitions := func(name metrics.Name, counts func(*replica.View) bool) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			n := 0
			b.replicas.Each(func(r *replica.Replica) {
				if counts(r.View()) {
					n++
				}
			})
			emit(metrics.Value{Number: float64(n)})
		})
	}
	partitions(metrics.Partitions, func(*replica.View) bool { return true })
	partitions(metrics.PartitionsOffline, func(v *replica.View) bool { return v.Unavailable != nil })
	perLog := func(name metrics.Name, read func(*partition.Log) int64) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			b.replicas.Each(func(r *replica.Replica) {
				log := r.View().Log
				if log == nil {
					return
				}
				tp := r.TopicPartition()
				emit(metrics.Value{
					Labels: []string{tp.Topic, strconv.Itoa(int(tp.Partition))}, Number: float64(read(log)),
				})
			})
		})
	}
	perLog(metrics.PartitionBytes, (*partition.Log).Bytes)
	perLog(metrics.PartitionStart, func(l *partition.Log) int64 { return int64(l.LogStartOffset()) })
	perLog(metrics.PartitionEnd, func(l *partition.Log) int64 { return int64(l.LogEndOffset()) })
	perLog(metrics.PartitionHW, func(l *partition.Log) int64 { return int64(l.HighWatermark()) })
	perLog(metrics.PartitionLSO, func(l *partition.Log) int64 { return int64(l.LastStableOffset()) })
}

func (b *Broker) watchMoves() {
	count := func(name metrics.Name, read func(*replica.MoveStats) *atomic.Int64) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			emit(metrics.Value{Number: float64(read(b.replicas.MoveStats()).Load())})
		})
	}
	count(metrics.MovesDone, func(s *replica.MoveStats) *atomic.Int64 { return &s.Done })
	count(metrics.MovesFailed, func(s *replica.MoveStats) *atomic.Int64 { return &s.Failures })
	count(metrics.MovedBytes, func(s *replica.MoveStats) *atomic.Int64 { return &s.CopiedBytes })
	b.registry.Each(metrics.Moves, func(emit func(metrics.Value)) {
		emit(metrics.Value{Number: float64(len(b.replicas.Moves()))})
	})
	b.registry.Each(metrics.MovesLag, func(emit func(metrics.Value)) {
		lag := kafka.Offset(0)
		for _, m := range b.replicas.Moves() {
			lag += m.Lag
		}
		emit(metrics.Value{Number: float64(lag)})
	})
}

func (b *Broker) watchDirs() {
	perDir := func(name metrics.Name, read func(*partition.LogDir) int64) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			for _, dir := range b.dirs.logs {
				emit(metrics.Value{Labels: []string{dir.Path()}, Number: float64(read(dir))})
			}
		})
	}
	stat := func(name metrics.Name, of func(*partition.Stats) *atomic.Int64) {
		perDir(name, func(d *partition.LogDir) int64 { return of(d.Stats()).Load() })
	}
	perDir(metrics.LogDirBytes, func(d *partition.LogDir) (sum int64) {
		for _, log := range d.Logs() {
			sum += log.Bytes()
		}
		return sum
	})
	perDir(metrics.LogDirFreeBytes, func(d *partition.LogDir) int64 {
		free, err := d.FreeBytes()
		if err != nil {
			return 0 // a disk that cannot say is no place to write to
		}
		return free
	})
	b.registry.Each(metrics.FilesOpen, func(emit func(metrics.Value)) {
		emit(metrics.Value{Number: float64(b.dirs.files.Count())})
	})
	stat(metrics.FilesRefused, func(s *partition.Stats) *atomic.Int64 { return &s.FilesRefused })
	stat(metrics.DiskFull, func(s *partition.Stats) *atomic.Int64 { return &s.DiskFull })
	stat(metrics.SlowOperations, func(s *partition.Stats) *atomic.Int64 { return &s.SlowOperations })
	stat(metrics.Corruptions, func(s *partition.Stats) *atomic.Int64 { return &s.Corruptions })
	stat(metrics.SegmentsRolled, func(s *partition.Stats) *atomic.Int64 { return &s.SegmentsRolled })
	stat(metrics.SegmentsDeleted, func(s *partition.Stats) *atomic.Int64 { return &s.SegmentsDeleted })
	stat(metrics.CleanedBytes, func(s *partition.Stats) *atomic.Int64 { return &s.CleanedBytes })
	stat(metrics.ReclaimedBytes, func(s *partition.Stats) *atomic.Int64 { return &s.ReclaimedBytes })
}

func (b *Broker) watchCleaner() {
	if b.dirs.cleaner == nil {
		return
	}
	stats := b.dirs.cleaner.Stats()
	number := func(name metrics.Name, read func() float64) {
		b.registry.Each(name, func(emit func(metrics.Value)) { emit(metrics.Value{Number: read()}) })
	}
	number(metrics.Cleanings, func() float64 { return float64(stats.Cleanings.Load()) })
	number(metrics.CleanerLastRun, func() float64 { return float64(stats.LastRun.Load()) / 1000 })
	number(metrics.DirtyRatioMax, stats.DirtyRatioMax)
	number(metrics.Uncleanable, func() float64 { return float64(stats.Uncleanable.Load()) })
}

// What coordinators are for, in the label of their metrics.
const (
	ofGroups       = "groups"
	ofTransactions = "transactions"
)

func (b *Broker) watchCoordinators(of string, host *runtime.Host) {
	count := func(name metrics.Name, n *atomic.Int64, labels ...string) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			emit(metrics.Value{Labels: append([]string{of}, labels...), Number: float64(n.Load())})
		})
	}
	stats := host.Stats()
	count(metrics.CoordinatorCommands, &stats.Commands)
	count(metrics.CoordinatorRecords, &stats.Records)
	count(metrics.CoordinatorBytes, &stats.Bytes)
	count(metrics.CoordinatorLoaded, &stats.Replayed)
	count(metrics.CoordinatorErrors, &stats.AppendErrors, "append")
	count(metrics.CoordinatorErrors, &stats.Corrupt, "corrupt")
	count(metrics.CoordinatorErrors, &stats.Unknown, "unknown")
	count(metrics.CoordinatorErrors, &stats.TooLarge, "too-large")
	count(metrics.CoordinatorErrors, &stats.NoRoom, "no-room")
	count(metrics.CoordinatorErrors, &stats.Overflows, "overflow")
	b.registry.Each(metrics.Coordinators, func(emit func(metrics.Value)) {
		var states [runtime.Resigned]int
		for _, s := range host.Shards() {
			if s.State < runtime.Resigned {
				states[s.State]++
			}
		}
		for state, n := range states {
			emit(metrics.Value{Labels: []string{of, runtime.State(state).String()}, Number: float64(n)})
		}
	})
	b.registry.Each(metrics.CoordinatorQueue, func(emit func(metrics.Value)) {
		queued := 0
		for _, s := range host.Shards() {
			queued += s.Queued
		}
		emit(metrics.Value{Labels: []string{of}, Number: float64(queued)})
	})
}

func (b *Broker) watchTransactions() {
	b.registry.Each(metrics.TransactionalIDs, func(emit func(metrics.Value)) {
		sum := b.transactions.report()
		for state := txnrecord.Empty; state <= txnrecord.CompleteAbort; state++ {
			emit(metrics.Value{Labels: []string{state.String()}, Number: float64(sum.States[state])})
		}
	})
	b.registry.Each(metrics.MarkersPending, func(emit func(metrics.Value)) {
		emit(metrics.Value{Number: float64(b.transactions.pending())})
	})
}

// watchGroups sums up what the shards report of themselves.
func (b *Broker) watchGroups() {
	report := func(name metrics.Name, read func(r *group.Report, emit func(metrics.Value))) {
		b.registry.Each(name, func(emit func(metrics.Value)) {
			sum := b.coordinators.report()
			read(&sum, emit)
		})
	}
	report(metrics.Groups, func(r *group.Report, emit func(metrics.Value)) {
		for state, n := range r.Classic {
			emit(metrics.Value{Labels: []string{"classic", classic.State(state).String()}, Number: float64(n)})
		}
		for state, n := range r.Consumer {
			emit(metrics.Value{Labels: []string{"consumer", consumer.State(state).String()}, Number: float64(n)})
		}
	})
	report(metrics.GroupMembers, func(r *group.Report, emit func(metrics.Value)) {
		emit(metrics.Value{Number: float64(r.Members)})
	})
	report(metrics.GroupOffsets, func(r *group.Report, emit func(metrics.Value)) {
		emit(metrics.Value{Number: float64(r.Offsets)})
	})
}
