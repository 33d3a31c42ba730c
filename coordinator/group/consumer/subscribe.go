package consumer

import (
	"errors"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"

	"spate/coordinator/group/record"
	"spate/kafka"
)

// regexIntervalMin is the least time between two resolutions of a group's regular expressions: each looks at all
// topics.
const regexIntervalMin = 10 * time.Second

// subscriptionChange says what a heartbeat changed of the member's subscription.
type subscriptionChange struct {
	topics   bool // the names
	regex    bool
	resolved bool // the new regular expression needs no resolution, so that the group can go on at once
}

func (s subscriptionChange) changed() bool { return s.topics || s.regex }
func (s subscriptionChange) bump() bool    { return s.topics || s.resolved }

// subscribe writes what the member says anew, and has regular expressions resolved that are new or out of date.
func (g *Group) subscribe(t *turn, m, next *member) (s subscriptionChange, err error) {
	if m != next {
		t.out.Write(subscriptionRecord(next))
		s.topics = !slices.Equal(m.told.SubscribedTopics, next.told.SubscribedTopics)
	}
	was, is := m.regex(), next.regex()
	if was == is && len(g.regexes) == 0 {
		return s, nil
	}
	isNew := false
	if was != is {
		s.regex = true
		if was != "" && g.regexes[was] == 1 {
			t.out.Write(&record.RegularExpression{Group: g.id, Regex: was, Deleted: true})
		}
		switch {
		case is == "":
			s.resolved = was != ""
		case g.regexes[is] == 0:
			if err := checkRegex(is); err != nil {
				return s, err
			}
			isNew = true
		default:
			s.resolved = g.resolved[is] != nil
		}
	}
	if isNew || len(g.regexes) > 0 {
		g.scheduleRegexes(t, was, is, isNew)
	}
	return s, nil
}

// scheduleRegexes sets the timer that resolves the group's regular expressions after the answer, which does not wait
// for them: the member subscribes to nothing until then.
func (g *Group) scheduleRegexes(t *turn, was, is string, isNew bool) {
	if set := t.now.Sub(g.regexTimer); set >= 0 && set < regexIntervalMin {
		return // it is about to fire
	}
	last, version := g.lastResolved()
	age := t.now.UnixMilli() - last
	if last != math.MinInt64 && age >= 0 && age <= regexIntervalMin.Milliseconds() {
		return
	}
	after := len(g.regexes)
	if was != is {
		if was != "" && g.regexes[was] == 1 {
			after--
		}
		if is != "" && g.regexes[is] == 0 {
			after++
		}
	}
	// A time in the future is that of a clock that has gone back since.
	outdated := version < t.c.topicsCreated ||
		last == math.MinInt64 || age < 0 || age > g.settings.RegexRefreshInterval.Milliseconds()
	if after > 0 && (isNew || after != len(g.resolved) || outdated) {
		g.regexTimer = t.now
		t.out.SetTimer(g.timer(TimerRegex, ""), t.now)
	}
}

// lastResolved says when regular expressions were resolved, in milliseconds, and against which metadata.
func (g *Group) lastResolved() (at, version int64) {
	at = math.MinInt64
	for _, r := range g.resolved {
		at, version = max(at, int64(r.Timestamp)), max(version, r.Version)
	}
	return at, version
}

// checkRegex refuses what is no regular expression of RE2, which is the syntax of Kafka's brokers and of Go alike.
func checkRegex(regex string) error {
	_, err := compileRegex(regex)
	if err == nil {
		return nil
	}
	reason := err.Error()
	var syntaxError *syntax.Error
	if errors.As(err, &syntaxError) {
		reason = syntaxError.Code.String()
		if syntaxError.Code == syntax.ErrUnexpectedParen {
			reason = "regexp/syntax: internal error" // what the RE2 of Kafka says
		}
	}
	return refusal(kafka.InvalidRegularExpression, "SubscribedTopicRegex `%s` is not a valid regular expression: %s.",
		regex, reason)
}

// compileRegex makes an expression that matches whole topic names. It is parsed alone first, so that it cannot close
// the group that it is put into.
func compileRegex(regex string) (*regexp.Regexp, error) {
	if _, err := syntax.Parse(regex, syntax.Perl); err != nil {
		return nil, err
	}
	return regexp.Compile(`\A(?:` + regex + `)\z`)
}

// resolve finds the topics that the group's regular expressions match. The group's epoch moves on if they are others
// than before.
func (g *Group) resolve(t *turn) {
	if len(g.regexes) == 0 {
		return
	}
	changed := false
	topics := map[string]int{}
	for _, regex := range sortedKeys(g.regexes) {
		r := &record.RegularExpression{
			Group: g.id, Regex: regex, Topics: t.c.match(regex),
			Version: int64(t.c.img.EndOffset()), Timestamp: kafka.Timestamp(t.now.UnixMilli()),
		}
		var before []string
		if old := g.resolved[regex]; old != nil {
			before = old.Topics
		}
		if !slices.Equal(before, r.Topics) {
			changed = true
			addTopics(topics, before, -1)
			addTopics(topics, r.Topics, 1)
		}
		t.out.Write(r)
	}
	hash := t.c.metadataHash(g.topicsWith(topics))
	if changed || hash != g.metadataHash {
		t.out.Write(&record.ConsumerGroup{Group: g.id, Epoch: g.epoch + 1, MetadataHash: hash})
	}
}

// match gives the names of the topics that a regular expression matches, sorted. One that was valid for an earlier
// release and is not for this one matches nothing.
func (c *Cluster) match(regex string) []string {
	matcher, err := compileRegex(regex)
	if err != nil {
		return nil
	}
	var topics []string
	for topic := range c.img.Topics() {
		if matcher.MatchString(topic.Name) {
			topics = append(topics, topic.Name)
		}
	}
	return topics
}

func addTopics(counts map[string]int, topics []string, by int) {
	for _, topic := range topics {
		counts[topic] += by
	}
}

// topicsWith gives the topics that are subscribed to after a change of the counts, sorted.
func (g *Group) topicsWith(changes map[string]int) []string {
	topics := make([]string, 0, len(g.subscribed)+len(changes))
	for topic, s := range g.subscribed {
		if s.byName+s.byRegex+changes[topic] > 0 {
			topics = append(topics, topic)
		}
	}
	for topic, by := range changes {
		if _, known := g.subscribed[topic]; !known && by > 0 {
			topics = append(topics, topic)
		}
	}
	slices.Sort(topics)
	return topics
}

// isOutdated says whether topics may have changed since the metadata hash was checked.
func (g *Group) isOutdated(t *turn) bool { return g.seen != t.c.version || g.epoch < g.seenEpoch }

// updateMetadata writes a new epoch of the group if it has to have one, or if the metadata of a topic that it
// subscribes to have changed, and gives the epoch.
func (g *Group) updateMetadata(t *turn, m, next *member, bump bool) int32 {
	topics := map[string]int{}
	if m != next {
		addTopics(topics, m.told.SubscribedTopics, -1)
		addTopics(topics, next.told.SubscribedTopics, 1)
		if was := m.regex(); was != "" && was != next.regex() && g.regexes[was] == 1 {
			if r := g.resolved[was]; r != nil {
				addTopics(topics, r.Topics, -1)
			}
		}
	}
	epoch := g.epoch
	hash := t.c.metadataHash(g.topicsWith(topics))
	if bump || hash != g.metadataHash {
		epoch++
		t.out.Write(&record.ConsumerGroup{Group: g.id, Epoch: epoch, MetadataHash: hash})
	}
	g.seen, g.seenEpoch = t.c.version, epoch
	if g.oldMetadata {
		t.out.Write(&record.PartitionMetadata{Group: g.id, Deleted: true})
	}
	return epoch
}
