package replica

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/metadata/controller"
	"spate/metadata/image"
	"spate/partition"
)

// Goal: what the controller decides about configs is in force on every replica when the command is answered, and a
// topic of many partitions is made as a whole. Method: commands to the controller, over disks in memory.

// alter sets or, with an empty value, takes back a config of a topic.
func (h *host) alter(topic, name, value string) {
	h.t.Helper()
	change := controller.ConfigChange{Name: name, Op: controller.SetConfig, Value: &value}
	if value == "" {
		change.Op = controller.DeleteConfig
	}
	reply := h.decide(controller.AlterConfigs{Resources: []controller.AlteredResource{
		{Resource: image.TopicResource(topic), Changes: []controller.ConfigChange{change}},
	}}).(controller.AlterConfigsReply)
	if err := reply.Resources[0].Err; err != nil {
		h.t.Fatal(err)
	}
}

func TestAlteredConfigsAreInForceAtOnce(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a")
	topic := h.create("orders", 3)
	other := h.create("payments", 1).Partition(0)
	check := func(flushed bool, isrMin int) {
		t.Helper()
		for _, r := range topic.Replicas() {
			durability := partition.DurabilityPageCache
			if flushed {
				durability = partition.DurabilityFlush
			}
			v := r.View()
			if v.AckFlushed != flushed || v.Log.Config().Durability != durability || r.isrMin != isrMin {
				t.Errorf("%s: flushed %v, durability %v, min ISR %d",
					r.tp, v.AckFlushed, v.Log.Config().Durability, r.isrMin)
			}
		}
		if !other.View().AckFlushed {
			t.Error("the other topic has changed")
		}
	}
	check(true, 1)
	h.alter("orders", "spate.ack.durability", "page-cache")
	check(false, 1)
	h.alter("orders", "min.insync.replicas", "2")
	check(false, 2)
	h.alter("orders", "spate.ack.durability", "")
	check(true, 2)
	h.close()
	h.open() // and after a restart
	topic, other = h.TopicNamed("orders"), h.TopicNamed("payments").Partition(0)
	check(true, 2)
}

func TestManyPartitionsAreSpread(t *testing.T) {
	h := newHost(t, vfs.NewMem(), "/a", "/b", "/c")
	h.create("one", 1)
	topic := h.create("many", 101)
	for _, dir := range h.dirs {
		if n := dir.LogCount(); n != 34 {
			t.Errorf("%s has %d of 102 logs", dir.Path(), n)
		}
	}
	for i, r := range topic.Replicas() {
		if v := r.View(); v.Unavailable != nil || v.Log.TopicPartition().Partition != kafka.PartitionIndex(i) {
			t.Errorf("partition %d: %v", i, v.Unavailable)
		}
	}
	h.close()
	h.open()
	for _, r := range h.TopicNamed("many").Replicas() {
		if v := r.View(); v.Unavailable != nil {
			t.Errorf("%s: %v after a restart", r.tp, v.Unavailable)
		}
	}
	h.delete("many")
	for _, dir := range h.dirs {
		if n := dir.LogCount(); n > 1 {
			t.Errorf("%s still has %d logs", dir.Path(), n)
		}
	}
}

// A partition for which there is no room does not keep the others of its topic from being made, and follows later.
func TestOnePartitionOfManyFindsNoRoom(t *testing.T) {
	var full atomic.Bool
	full.Store(true)
	disk := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
		if full.Load() && strings.HasPrefix(op.Name, "/a/many-7") && op.Kind == vfs.OpMkdir {
			return syscall.ENOSPC
		}
		return nil
	})
	h := newHost(t, disk, "/a")
	topic := h.create("many", 20)
	for i, r := range topic.Replicas() {
		if missing := r.View().Unavailable != nil; missing != (i == 7) {
			t.Errorf("partition %d: %v", i, r.View().Unavailable)
		}
	}
	full.Store(false)
	h.clock.Advance(retryEvery + time.Second)
	eventually(t, "the last one has its log", func() bool { return topic.Partition(7).View().Unavailable == nil })
}

// Appends go on while the settings change under them, and nothing of them is lost or left behind.
func TestAppendsBesideChanges(t *testing.T) {
	const writers, each = 4, 100
	h := newHost(t, vfs.NewMem(), "/a")
	r := h.create("orders", 1).Partition(0)
	var appending sync.WaitGroup
	for range writers {
		appending.Go(func() {
			for range each {
				if _, err := appendOne(t, r, AcksAll); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 200 {
		s := h.options.Settings(nil)
		if i%2 == 0 {
			s = h.options.Settings(map[string]string{"spate.ack.durability": "page-cache"})
		}
		s.Log.SegmentBytes = int64(500 + 300*(i%5))
		r.configure(s)
	}
	r.configure(h.options.Settings(nil))
	appending.Wait()
	log := r.View().Log
	eventually(t, "all is flushed", func() bool {
		return r.HighWatermark() == writers*each && log.FlushedOffset() == writers*each
	})
	if log.LogEndOffset() != writers*each || log.FlushedOffset() != writers*each || h.dirs[0].Failed() != nil {
		t.Errorf("end %d, flushed %d, %v", log.LogEndOffset(), log.FlushedOffset(), h.dirs[0].Failed())
	}
}
