package compat

import (
	"fmt"
	"testing"
	"time"
)

// groupCase is a library, and how its members join.
type groupCase struct {
	library  string
	protocol string
	assignor string
	members  int
	long     int // members with -long
}

func libraryNamed(name string) library {
	return map[string]library{"java": javaHost{}, "confluent": confluentHost{}, "kafkajs": kafkajsHost{},
		"aiokafka": aiokafkaHost{}, "franz": franzHost{}}[name]
}

var groupCases = []groupCase{
	{"java", "classic", "range", 1, 1},
	{"java", "classic", "cooperative-sticky", 5, 20},
	{"java", "classic", "sticky", 3, 50},
	{"java", "consumer", "", 10, 50},
	{"confluent", "classic", "cooperative-sticky", 10, 50},
	{"confluent", "classic", "roundrobin", 3, 20},
	{"confluent", "consumer", "", 50, 50},
	{"kafkajs", "classic", "roundrobin", 3, 50},
	{"kafkajs", "classic", "range", 10, 20},
	{"aiokafka", "classic", "sticky", 3, 20},
	{"aiokafka", "classic", "roundrobin", 10, 50},
	{"franz", "classic", "cooperative-sticky", 50, 50},
	{"franz", "classic", "sticky", 3, 20},
	{"franz", "consumer", "", 10, 50},
}

// TestGroups lets members of one library come and go, die, and outlive the death of the broker, while records flow.
// Every record must be read, in its partition's order; no partition may have two owners; committed offsets never go
// back.
func TestGroups(t *testing.T) {
	t.Parallel()
	for _, c := range groupCases {
		members := c.members
		if *long {
			members = c.long
		}
		t.Run(fmt.Sprintf("%s %s %s with %d", c.library, c.protocol, c.assignor, members), func(t *testing.T) {
			t.Parallel()
			runGroup(t, &c, members)
			noteGroup(c.library, c.protocol, c.assignor, members)
		})
	}
}

func runGroup(t *testing.T, c *groupCase, members int) {
	l := libraryNamed(c.library)
	o := memberOptions{protocol: c.protocol, assignor: c.assignor, patient: true}
	r := startRun(t, startTarget(t, patientSettings()), int32(max(6, members+2)))
	g := r.watch("group-" + c.library)
	stays, dies := g.host(l), g.host(l)
	g.join(dies, l, "victim", o)
	g.awaitShared("at first")
	gathering := time.Now()
	for n := range members {
		g.join(stays, l, fmt.Sprintf("member-%d", n), o)
	}
	g.awaitShared("after all have joined")
	if c.protocol == "consumer" {
		g.history.Gathering(gathering, time.Now())
	}
	g.awaitRead("so far")
	g.killHost(dies)
	g.awaitShared("after the death of one")
	if members > 1 {
		g.leave("member-0")
		g.awaitShared("after one has left")
	}
	r.killBroker()
	g.awaitRead("before and during the broker's death")
	g.awaitShared("after the broker's death")
	g.join(stays, l, "late", o)
	g.awaitShared("after one more has joined")
	r.finish()
}
