package partition

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
)

// newLogs is n logs to make, of one topic.
func newLogs(n int, c Config) []NewLog {
	var list []NewLog
	for i := range n {
		tp := kafka.TopicPartition{Topic: "many", Partition: kafka.PartitionIndex(i)}
		list = append(list, NewLog{tp, testTopicID, c})
	}
	return list
}

// TestOpenLogs: logs that are made together are there, also after a restart; what was open or on the disk before is
// found; the error of one is its own.
func TestOpenLogs(t *testing.T) {
	w := newWorld()
	w.options.FlushWorkers = 4
	d := w.openDir(t)
	list := newLogs(20, smallConfig())
	first := d.OpenLogs(list[:10])
	all := d.OpenLogs(list)
	for i, o := range all {
		if o.Err != nil || o.Log.TopicID() != testTopicID || d.Log(list[i].TopicPartition) != o.Log {
			t.Fatalf("%d: %+v", i, o)
		}
		if i < len(first) && o.Log != first[i].Log {
			t.Errorf("%d: opened twice", i)
		}
	}
	w.mustClient(t, all[3].Log, batchSpec{})
	other := list[5]
	other.TopicID = kafka.UUID{1}
	mixed := d.OpenLogs([]NewLog{other, list[6], newLogs(21, smallConfig())[20]})
	wantError(t, mixed[0].Err, kafka.InconsistentTopicID)
	if mixed[1].Err != nil || mixed[2].Err != nil || d.Failed() != nil {
		t.Errorf("%+v", mixed)
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
	d = w.openDir(t)
	again := d.OpenLogs(list) // not loaded before: found on the disk
	for i, o := range again {
		if o.Err != nil || o.Log.TopicID() != testTopicID || i == 3 && o.Log.LogEndOffset() != 1 {
			t.Errorf("%d: %+v", i, o)
		}
	}
	if err := d.Close(1); err != nil {
		t.Fatal(err)
	}
}

// TestOpenLogsFlushes: making many logs takes two flushes for each and one for all.
func TestOpenLogsFlushes(t *testing.T) {
	w := newWorld()
	var flushes atomic.Int64
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if op.Kind == vfs.OpSyncDir || op.Kind == vfs.OpDatasync {
			flushes.Add(1)
		}
		return nil
	})
	d := w.openDir(t)
	before := flushes.Load()
	d.OpenLogs(newLogs(50, smallConfig()))
	if n := flushes.Load() - before; n != 101 {
		t.Errorf("%d flushes for 50 logs", n)
	}
	before = flushes.Load()
	d.DeleteLogs(d.Logs())
	if n := flushes.Load() - before; n != 1 {
		t.Errorf("%d flushes to delete 50 logs", n)
	}
}

// TestOpenLogsForgetsEarlierOnes: what the checkpoint files know of logs of the same names is not held against new
// ones.
func TestOpenLogsForgetsEarlierOnes(t *testing.T) {
	w := newWorld()
	d := w.openDir(t)
	list := newLogs(3, smallConfig())
	for _, o := range d.OpenLogs(list) {
		w.mustClient(t, o.Log, batchSpec{count: 5})
		if err := o.Log.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.checkpointAll(); err != nil {
		t.Fatal(err)
	}
	for _, err := range d.DeleteLogs(d.Logs()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range list {
		list[i].TopicID = kafka.UUID{9}
	}
	for _, o := range d.OpenLogs(list) {
		if o.Err != nil || o.Log.LogEndOffset() != 0 || o.Log.TopicID() != (kafka.UUID{9}) {
			t.Errorf("%+v", o)
		}
	}
	if len(d.checkpoints.recoveryPoint) != 0 {
		t.Errorf("the checkpoints still know %v", d.checkpoints.recoveryPoint)
	}
}

// TestOpenLogsOnAFullDisk: the log that found no room is the only one that is not there, and can be made later.
func TestOpenLogsOnAFullDisk(t *testing.T) {
	for _, kind := range []vfs.OpKind{vfs.OpMkdir, vfs.OpCreate, vfs.OpWrite} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld()
			full := true
			w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
				ofOne := len(op.Name) >= 12 && op.Name[:12] == "/data/many-1"
				if full && ofOne && op.Kind == kind {
					return syscall.ENOSPC
				}
				return nil
			})
			d := w.openDir(t)
			for i, o := range d.OpenLogs(newLogs(3, smallConfig())) {
				if failed := o.Err != nil; failed != (i == 1) {
					t.Errorf("%d: %v", i, o.Err)
				}
				if i == 1 {
					wantError(t, o.Err, kafka.KafkaStorageError)
				}
			}
			if d.Failed() != nil || d.LogCount() != 2 {
				t.Fatalf("%d logs, failed %v", d.LogCount(), d.Failed())
			}
			full = false
			for i, o := range d.OpenLogs(newLogs(3, smallConfig())) {
				if o.Err != nil || o.Log.TopicID() != testTopicID {
					t.Errorf("%d: %+v", i, o)
				}
			}
		})
	}
}

// TestOpenLogsOnASickDisk: when the names of the folders cannot be made durable, no log is given out.
func TestOpenLogsOnASickDisk(t *testing.T) {
	w := newWorld()
	sick := false
	w.fs = vfs.NewFault(w.disk, func(op vfs.Op) error {
		if sick && op.Kind == vfs.OpSyncDir && op.Name == testDir {
			return syscall.EIO
		}
		return nil
	})
	d := w.openDir(t)
	sick = true
	for i, o := range d.OpenLogs(newLogs(3, smallConfig())) {
		if o.Log != nil || !errors.Is(o.Err, kafka.KafkaStorageError) {
			t.Errorf("%d: %+v", i, o)
		}
	}
	if d.Failed() == nil || d.LogCount() != 0 {
		t.Errorf("%d logs, failed %v", d.LogCount(), d.Failed())
	}
	for _, o := range d.OpenLogs(newLogs(1, smallConfig())) {
		wantError(t, o.Err, kafka.KafkaStorageError)
	}
}

// BenchmarkOpenLogs makes logs on the machine's own disk.
func BenchmarkOpenLogs(b *testing.B) {
	for _, n := range []int{1, 50, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld()
			w.fs, w.options.FlushWorkers = vfs.OS{}, DefaultOptions().FlushWorkers
			d, err := OpenLogDir(w.env(), b.TempDir(), w.options)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for _, o := range d.OpenLogs(newLogs(n, smallConfig())) {
					if o.Err != nil {
						b.Fatal(o.Err)
					}
				}
				b.StopTimer()
				d.DeleteLogs(d.Logs())
				b.StartTimer()
			}
		})
	}
}
