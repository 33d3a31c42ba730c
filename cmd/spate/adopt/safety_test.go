package adopt

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"spate/internal/vfs"
	"spate/kafka"
	"spate/kafka/record"
	"spate/metadata/image"
	meta "spate/metadata/record"
)

// TestADeletedTopicStaysDeleted deletes a topic in every place of the metadata where a deletion can lie, and makes one
// there: the topics are those that Kafka would have after its next start.
func TestADeletedTopicStaysDeleted(t *testing.T) {
	gone, made := kafka.UUID{8}, kafka.UUID{9}
	create := func(name string, id kafka.UUID) []meta.Record {
		return []meta.Record{&meta.Topic{Name: name, ID: id},
			&meta.Partition{TopicID: id, Replicas: []kafka.BrokerID{1}},
			&meta.Partition{TopicID: id, Index: 1, Replicas: []kafka.BrokerID{1}}}
	}
	remove := &meta.RemoveTopic{ID: gone}
	for name, change := range map[string]func(n *node){
		"in the last batch": func(n *node) {
			n.add(create("gone", gone)...)
			n.add(create("made", made)...)
			n.add(remove)
		},
		"in one batch": func(n *node) {
			n.add(slices.Concat(create("gone", gone), []meta.Record{remove}, create("made", made))...)
		},
		"before a change of the leader": func(n *node) {
			n.add(slices.Concat(create("gone", gone), create("made", made))...)
			n.add(remove)
			n.control(record.ControlLeaderChange, []byte{0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 1})
			n.add(&meta.NoOp{})
		},
		"in a transaction that ended": func(n *node) {
			n.add(create("gone", gone)...)
			n.raw(frame(typeBeginTransaction, 0), meta.Append(nil, remove))
			for _, r := range create("made", made) {
				n.add(r)
			}
			n.raw(frame(typeEndTransaction, 0))
		},
		"in a second segment": func(n *node) {
			n.add(create("gone", gone)...)
			n.roll()
			n.add(remove)
			n.add(create("made", made)...)
		},
		"after a snapshot": func(n *node) {
			n.add(create("gone", gone)...)
			n.snapshot()
			n.add(remove)
			n.add(create("made", made)...)
		},
		"before a snapshot": func(n *node) {
			n.add(create("gone", gone)...)
			n.add(remove)
			n.add(create("made", made)...)
			n.snapshot()
			n.add(&meta.NoOp{})
		},
		"under a name that is taken again": func(n *node) {
			n.add(create("made", gone)...)
			n.add(remove)
			n.add(create("made", made)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			change(n)
			p := n.check()
			var got []string
			for _, topic := range p.Topics {
				got = append(got, topic.Name+" "+topic.ID)
			}
			want := []string{"made " + made.String(), "t " + kafka.UUID{7}.String()}
			if len(p.Refusals) > 0 || !slices.Equal(got, want) || p.MetadataEnd != n.next {
				t.Fatalf("it ends at %d of %d with %q, refusals %q", p.MetadataEnd, n.next, got, p.Refusals)
			}
			must(t, Carry(n.fs, p))
			must(t, p.Close())
			img := carried(t, n.fs)
			if img.Topic("gone") != nil || img.TopicByID(gone) != nil || img.TopicCount() != 2 ||
				len(img.Topic("made").Partitions) != 2 || img.PartitionCount() != 3 {
				t.Errorf("what Spate opens has %d topics and %d partitions", img.TopicCount(), img.PartitionCount())
			}
		})
	}
}

// roll begins a new segment of the metadata log.
func (n *node) roll() { n.log, n.base = nil, n.next }

// snapshot writes one of all that the log holds so far, and takes the log away.
func (n *node) snapshot() {
	n.Helper()
	s, err := readSource(n.fs, logFolder, "c", 1, true)
	must(n.T, err)
	img, _ := s.builder.Build()
	var out []byte
	offset := kafka.Offset(0)
	add := func(w *record.Builder) {
		b, err := w.Build()
		must(n.T, err)
		out, offset = append(out, b...), b.NextOffset()
	}
	control := func(kind record.ControlType, value []byte) {
		w := record.NewBuilder(record.BuilderOptions{BaseOffset: offset, LeaderEpoch: 3, Control: true})
		w.AppendControl(9, kind, value)
		add(w)
	}
	control(record.ControlSnapshotHeader, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0})
	for r := range img.Records() {
		w := record.NewBuilder(record.BuilderOptions{BaseOffset: offset, LeaderEpoch: 3})
		w.Append(9, nil, meta.Append(nil, r))
		add(w)
	}
	control(record.ControlSnapshotFooter, []byte{0, 0, 0})
	end := strings.TrimSuffix(segmentName(n.next), ".log")
	n.file(logFolder+"/"+end+"-0000000003.checkpoint", string(out))
	must(n.T, n.fs.Remove(logFolder+"/"+segmentName(n.base)))
	n.roll()
}

// TestANodeThatRanInBetween starts and stops the node between the look and the change, while nobody held a lock: its
// log has gone on, and nothing is changed.
func TestANodeThatRanInBetween(t *testing.T) {
	n := newNode(t)
	must(t, n.fs.Remove(home+"/.lock")) // as Kafka does when it stops
	p := n.check()
	n.add(&meta.Topic{Name: "late", ID: kafka.UUID{9}})
	err := Carry(n.fs, p)
	if err == nil || !strings.Contains(err.Error(), "nothing was changed: the node has run") {
		t.Errorf("carried out: %v", err)
	}
	must(t, p.Close())
	if again := n.check(); again.Adopted || len(again.Refusals) > 0 || len(again.Topics) != 2 {
		t.Errorf("a second look: %+v", again)
	}
}

// TestWhatCompactionLeft has gaps between the segments of a log: below what is known to be flushed nothing is cut.
func TestWhatCompactionLeft(t *testing.T) {
	n := newNode(t)
	n.file(home+"/t-0/00000000000000000007.log", string(n.data(7, record.BuilderOptions{})))
	n.file(home+"/recovery-point-offset-checkpoint", "0\n1\nt 0 9\n")
	must(t, n.fs.Remove(home+"/.kafka_cleanshutdown"))
	if p := n.check(); len(p.Refusals) > 0 || p.Topics[0].Records != 4 {
		t.Errorf("%d records, refusals %q", p.Topics[0].Records, p.Refusals)
	}
}

// TestWhatACleanerLeft has gaps behind what is known to be flushed: below where the cleaner of a compacted topic has
// been they are its own, whatever the end of the node was, and nothing is lost with them.
func TestWhatACleanerLeft(t *testing.T) {
	for _, c := range []struct {
		name, policy, cleaned, want string
	}{
		{"a compacted topic, cleaned", "compact", "t 0 7\n", ""},
		{"a compacted topic that is deleted from too", "delete,compact", "t 0 8\n", ""},
		{"not cleaned so far", "compact", "t 0 6\n", "t-0 has no offsets from 2 to 7"},
		{"a topic that is not compacted any more", "delete", "t 0 7\n", "t-0 has no offsets from 2 to 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t)
			n.add(configOf(image.ResourceTopic, "t", "cleanup.policy", c.policy))
			n.file(home+"/t-0/00000000000000000007.log", string(n.data(7, record.BuilderOptions{})))
			n.file(home+"/cleaner-offset-checkpoint", "0\n1\n"+c.cleaned)
			must(t, n.fs.Remove(home+"/.kafka_cleanshutdown"))
			p := n.check()
			switch {
			case c.want == "" && (len(p.Refusals) > 0 || p.Topics[0].Records != 4):
				t.Errorf("%d records, refusals %q", p.Topics[0].Records, p.Refusals)
			case c.want != "" && (len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0], c.want)):
				t.Errorf("refusals: %q, and not: %s", p.Refusals, c.want)
			}
		})
	}
}

// TestAnInterruptedReplacement finds a compacted segment that was about to take the place of others: it is counted in
// their stead, unless Kafka would throw it away.
func TestAnInterruptedReplacement(t *testing.T) {
	segments := func(n *node) {
		n.add(configOf(image.ResourceTopic, "t", "cleanup.policy", "compact"))
		n.file(home+"/t-0/00000000000000000002.log", string(n.data(2, record.BuilderOptions{})))
		n.file(home+"/t-0/00000000000000000004.log", string(n.data(4, record.BuilderOptions{})))
		n.file(home+"/t-0/00000000000000000000.log.swap", string(n.data(2, record.BuilderOptions{})))
		n.file(home+"/cleaner-offset-checkpoint", "0\n1\nt 0 4\n")
		must(n.T, n.fs.Remove(home+"/.kafka_cleanshutdown"))
	}
	n := newNode(t)
	segments(n)
	p := n.check()
	if len(p.Refusals) > 0 || p.Topics[0].Records != 4 || !strings.Contains(strings.Join(p.Notes, "\n"),
		"t-0/00000000000000000000.log.swap takes the place of") {
		t.Errorf("%d records, notes %q, refusals %q", p.Topics[0].Records, p.Notes, p.Refusals)
	}
	n = newNode(t)
	segments(n)
	n.file(home+"/t-0/00000000000000000000.log.cleaned", "")
	if p := n.check(); len(p.Refusals) != 1 ||
		!strings.Contains(p.Refusals[0], "was not finished: start Kafka again") {
		t.Errorf("one of several: refusals %q", p.Refusals)
	}
	n = newNode(t)
	segments(n)
	n.file(home+"/t-0/00000000000000000000.log.swap", string(n.data(0, record.BuilderOptions{})[:70]))
	if p := n.check(); len(p.Refusals) != 1 ||
		!strings.Contains(p.Refusals[0], ".log.swap is damaged at position 0") {
		t.Errorf("a torn one: refusals %q", p.Refusals)
	}
	n = newNode(t)
	segments(n)
	n.file(home+"/t-0/00000000000000000002.log", string(n.data(2, record.BuilderOptions{})[:70]))
	must(t, n.fs.Remove(home+"/t-0/00000000000000000000.log.swap"))
	if p := n.check(); len(p.Refusals) != 1 ||
		!strings.Contains(p.Refusals[0], "later segments of the compacted log") {
		t.Errorf("a torn segment in the middle: refusals %q", p.Refusals)
	}
}

// TestZerosAtTheEnd has a power cut leave zeros behind the end of a log and of the metadata: they are cut, unless the
// node was stopped cleanly.
func TestZerosAtTheEnd(t *testing.T) {
	n := newNode(t)
	zeros := strings.Repeat("\x00", 4096)
	n.file(home+"/t-0/00000000000000000000.log", string(n.data(0, record.BuilderOptions{}))+zeros)
	n.file(logFolder+"/00000000000000000000.log", string(n.log)+zeros)
	if p := n.check(); len(p.Refusals) != 1 || !strings.Contains(p.Refusals[0], "zeros follow") {
		t.Errorf("after a clean stop: %q", p.Refusals)
	}
	must(t, n.fs.Remove(home+"/.kafka_cleanshutdown"))
	p := n.check()
	if notes := strings.Join(p.Notes, "\n"); len(p.Refusals) > 0 || p.MetadataEnd != n.next ||
		!strings.Contains(notes, "the metadata log is torn") ||
		!strings.Contains(notes, "t-0/00000000000000000000.log ends at") {
		t.Errorf("after a crash: %q, %q", p.Notes, p.Refusals)
	}
}

// TestThePlanAsJSON pins the names that programs rely on.
func TestThePlanAsJSON(t *testing.T) {
	n := newNode(t)
	text, err := json.Marshal(n.check())
	must(t, err)
	want := `{"clusterId":"c","nodeId":1,"dirs":["data"],"cleanShutdown":true,"adopted":false,"topics":[{"name":"t",` +
		`"id":"` + kafka.UUID{
		7,
	}.String() + `","partitions":1,"records":2,"bytes":79}],"partitions":1,"bytes":79,"groups":0,` +
		`"committedOffsets":0,"metadataLog":"` + logFolder + `","backup":"` + logFolder + `.kafka","metadataEndOffset":4,` +
		`"refusals":[],"notes":["metadata.version goes from 25 to 30"]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if _, err := vfs.ReadFile(n.fs, logFolder+"/quorum-state"); err != nil {
		t.Error(err)
	}
}
