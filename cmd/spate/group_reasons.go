package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// namedMax is how many partitions or members one sentence names; the others are counted.
const namedMax = 4

// reasons says in words why a group does not get on, or what hinders it. before is an earlier look at the same group,
// or nil: only two looks tell whether members consume.
func (g *groupView) reasons(before *groupView) []string {
	said := []string{}
	said = append(said, g.stateReasons()...)
	said = append(said, g.memberReasons()...)
	said = append(said, g.offsetReasons()...)
	if before != nil {
		return append(said, g.progress(before)...)
	}
	if g.State == "Stable" && g.Lag > 0 && g.ProtocolType == "consumer" {
		said = append(said, "it is behind; --sample 10s tells whether its members consume")
	}
	return said
}

// stateReasons is about the state of the group.
func (g *groupView) stateReasons() []string {
	switch g.State {
	case "Empty", "Dead":
		if g.Lag > 0 {
			return []string{"no members: nobody consumes this group's records; start a consumer with this group id"}
		}
		return nil
	case "PreparingRebalance":
		return []string{
			"rebalancing: it waits for its members to join again; one that does not poll holds this up until " +
				"its max.poll.interval.ms has passed",
		}
	case "CompletingRebalance":
		return []string{"rebalancing: it waits for its leader to say who gets which partition"}
	case "Assigning":
		return []string{"rebalancing: the new assignment is being computed"}
	case "Reconciling":
		return g.reconciling()
	}
	return nil
}

// reconciling says on whom a rebalance of the consumer protocol waits: members that have still to give partitions back.
func (g *groupView) reconciling() []string {
	var said []string
	for _, m := range g.Members {
		surplus := make(map[string][]int32)
		for topic, partitions := range m.Assigned {
			for _, p := range partitions {
				if !slices.Contains(m.Target[topic], p) {
					surplus[topic] = append(surplus[topic], p)
				}
			}
		}
		if len(surplus) > 0 {
			said = append(said, fmt.Sprintf("rebalancing: member %s has still to give back %s", m.ID,
				assignedText(surplus)))
		}
	}
	if len(said) == 0 {
		return []string{"rebalancing: members are taking over their new partitions"}
	}
	return limited(said, "such member")
}

// memberReasons is about members that have nothing to do, and subscriptions to what is not there.
func (g *groupView) memberReasons() []string {
	if g.State != "Stable" && g.State != "Reconciling" || g.ProtocolType != "consumer" {
		return nil
	}
	var idle []string
	subscribed := make(map[string]bool)
	missing := make(map[string]bool)
	for _, m := range g.Members {
		if len(m.Assigned) == 0 && len(m.Target) == 0 {
			idle = append(idle, m.ID)
		}
		for _, topic := range m.Subscribed {
			if _, exists := g.topics[topic]; exists {
				subscribed[topic] = true
			} else {
				missing[topic] = true
			}
		}
	}
	var said []string
	for _, topic := range sortedKeys(missing) {
		said = append(said, fmt.Sprintf("members are subscribed to topic %s, which does not exist", topic))
	}
	said = limited(said, "such topic")
	if len(idle) == 0 {
		return said
	}
	partitions := int64(0)
	for topic := range subscribed {
		partitions += int64(g.topics[topic])
	}
	why := ""
	if g.onlyNamed() && partitions < int64(len(g.Members)) {
		why = fmt.Sprintf(": the subscribed topics have only %s for %s", plural(partitions, "partition"),
			plural(int64(len(g.Members)), "member"))
	}
	return append(said, fmt.Sprintf("empty assignment: %s of %d %s no partition (%s)%s",
		plural(int64(len(idle)), "member"), len(g.Members), hasHave(len(idle)), strings.Join(named(idle), ", "), why))
}

// onlyNamed reports whether all subscriptions are lists of topics, so that their partitions can be counted.
func (g *groupView) onlyNamed() bool {
	return !slices.ContainsFunc(g.Members, func(m memberView) bool { return m.Regex != "" })
}

// offsetReasons is about single partitions.
func (g *groupView) offsetReasons() []string {
	var said, gone, beyond, lost, unread []string
	for _, p := range g.Partitions {
		name := p.partition().String()
		switch {
		case p.heldUp():
			said = append(
				said,
				fmt.Sprintf("%s: an open transaction (%s) holds the last stable offset at %d, %s below the "+
					"end: a read_committed consumer waits there until it ends", name, p.Transaction, p.Stable,
					plural(p.End-p.Stable, "record")),
			)
		case p.Committed < 0 && p.End > p.Start:
			unread = append(unread, fmt.Sprintf("%s (%s)", name, plural(p.End-p.Start, "record")))
		case p.Committed >= 0 && p.End < 0:
			if _, exists := g.topics[p.Topic]; exists {
				gone = append(gone, name)
			}
		case p.Committed >= 0 && p.Committed < p.Start:
			lost = append(lost, fmt.Sprintf("%s (%s)", name, plural(p.Start-p.Committed, "record")))
		case p.End >= 0 && p.Committed > p.End:
			beyond = append(beyond, name)
		}
	}
	said = limited(said, "such partition")
	if len(unread) > 0 {
		said = append(
			said,
			fmt.Sprintf("no committed offset: %s; who reads there begins as its auto.offset.reset says",
				strings.Join(named(unread), ", ")),
		)
	}
	if len(gone) > 0 {
		said = append(said, fmt.Sprintf("%s: the leader does not answer; the partition is offline or does not exist",
			strings.Join(named(gone), ", ")))
	}
	if len(lost) > 0 {
		said = append(
			said,
			fmt.Sprintf("deleted before they were consumed, by retention or by hand: %s; the consumer "+
				"goes on as its auto.offset.reset says", strings.Join(named(lost), ", ")),
		)
	}
	if len(beyond) > 0 {
		said = append(
			said,
			fmt.Sprintf("%s: the committed offset is past the end: the topic was made anew, or its log "+
				"was cut; reset-offsets sets it right", strings.Join(named(beyond), ", ")),
		)
	}
	return said
}

// progress says what happened between two looks.
func (g *groupView) progress(before *groupView) []string {
	apart := g.at.Sub(before.at).Round(time.Second / 10)
	earlier := make(map[string]lagView)
	for _, p := range before.Partitions {
		earlier[p.partition().String()] = p
	}
	var consumed, arrived int64
	var stuck []string // partitions
	holders := make(map[string]bool)
	for _, p := range g.Partitions {
		name := p.partition().String()
		was, seen := earlier[name]
		if !seen || p.End < 0 || was.End < 0 {
			continue
		}
		arrived += p.End - was.End
		if p.Committed >= 0 && was.Committed >= 0 {
			consumed += p.Committed - was.Committed
		}
		if p.Member != "" && p.Member == was.Member && p.Committed == was.Committed && was.next() < was.End {
			stuck = append(stuck, name)
			holders[p.Member] = true
		}
	}
	if len(g.Members) == 0 && consumed == 0 {
		return []string{fmt.Sprintf("in %v %s arrived", apart, plural(arrived, "record"))}
	}
	pace := fmt.Sprintf("in %v it committed %s, and %s arrived", apart, plural(consumed, "record"),
		plural(arrived, "record"))
	if gain := consumed - arrived; g.Lag > 0 && gain > 0 {
		left := time.Duration(float64(g.Lag) / float64(gain) * float64(apart))
		pace += fmt.Sprintf("; at this pace it has caught up in %v", left.Round(time.Second))
	} else if g.Lag > 0 && consumed > 0 && gain < 0 {
		pace += "; it falls behind"
	}
	said := []string{pace}
	for _, member := range sortedKeys(holders) {
		var its []string
		for _, p := range g.Partitions {
			if p.Member == member && slices.Contains(stuck, p.partition().String()) {
				its = append(its, p.partition().String())
			}
		}
		said = append(
			said,
			fmt.Sprintf("not consuming: member %s had records to read in %s, and committed nothing there "+
				"(two looks, %v apart): it does not poll, is busy with one record, or commits less often", member,
				strings.Join(named(its), ", "), apart),
		)
	}
	return limited(said, "such member")
}

// named is the first few of a list, and how many more there are.
func named(all []string) []string {
	if len(all) <= namedMax {
		return all
	}
	return append(slices.Clone(all[:namedMax]), fmt.Sprintf("and %d more", len(all)-namedMax))
}

// limited cuts a list of sentences and says how many of the kind are left out.
func limited(said []string, noun string) []string {
	if len(said) <= 2*namedMax {
		return said
	}
	return append(
		slices.Clone(said[:2*namedMax]),
		fmt.Sprintf("and %s more", plural(int64(len(said)-2*namedMax), noun)),
	)
}

// hasHave is the verb for so many.
func hasHave(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

// sortedKeys are the members of a set in order.
func sortedKeys(set map[string]bool) []string {
	keys := make([]string, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
