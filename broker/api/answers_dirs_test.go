package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Goal: moves between log directories are begun, refused and shown as Kafka does. Method: stories as in
// TestAnswersAreThoseOfKafka, with a broker of two directories, "dir:1" and "dir:2":
//
//	KAFKA_EXTRA_PROPS=FILE kafka-up … with log.dirs=/some/d1,/some/d2
//	go test ./broker/api -run TestTwoDirs -kafka 127.0.0.1:9092 -rewrite
func TestTwoDirsAreAnsweredAsByKafka(t *testing.T) {
	datadriven.Walk(t, "testdata/dirs", func(t *testing.T, path string) {
		s := newStory(t, "log.dirs="+dataDir(t)+","+dataDir(t))
		s.findDirs()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			for i, dir := range s.dirs {
				d.Input = strings.ReplaceAll(d.Input, fmt.Sprintf("dir:%d", i+1), dir)
			}
			switch d.Cmd {
			case "topic":
				return s.topic(d)
			case "records":
				return s.records(d)
			case "ask":
				return s.ask(d)
			case "moved":
				return s.moved(d)
			}
			t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

// findDirs learns the names of the directories.
func (s *story) findDirs() {
	for _, d := range s.describeDirs().Dirs {
		s.dirs = append(s.dirs, d.Dir)
	}
	slices.Sort(s.dirs)
}

func (s *story) describeDirs() *kmsg.DescribeLogDirsResponse {
	request := kmsg.NewPtrDescribeLogDirsRequest()
	request.Version = 4
	return s.exchange(request).(*kmsg.DescribeLogDirsResponse)
}

// nameDir is the placeholder of a directory.
func (s *story) nameDir(path string) string {
	if at := slices.Index(s.dirs, path); at >= 0 {
		return fmt.Sprintf("dir:%d", at+1)
	}
	return "the dir"
}

// replicasOf lists the partitions of a topic.
func (s *story) replicasOf(topic string) []kmsg.MetadataResponseTopicPartition {
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &topic}}
	request.Version = 9
	return s.exchange(request).(*kmsg.MetadataResponse).Topics[0].Partitions
}

// moved waits until nothing is on its way, and tells which partitions of a topic are where: moved topic=orders.
func (s *story) moved(d *datadriven.TestData) string {
	var name string
	d.ScanArgs(s.t, "topic", &name)
	var lines []string
	s.await("all moves are over", func() bool {
		lines = nil
		for _, dir := range s.describeDirs().Dirs {
			for _, t := range dir.Topics {
				for _, p := range t.Partitions {
					if p.IsFuture {
						return false
					}
					if t.Topic == name {
						lines = append(lines, fmt.Sprintf("%s-%d in %s, %d bytes\n",
							name, p.Partition, s.nameDir(dir.Dir), p.Size))
					}
				}
			}
		}
		slices.Sort(lines)
		return len(lines) == len(s.replicasOf(name))
	})
	return strings.Join(lines, "")
}
