package spec

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// Objective is a bound of a latency that a rate has to meet.
type Objective struct {
	Latency string  // ack or endToEnd, as package result calls them; empty until the workload decides
	Percent float64 // from 0 to 100, which is the maximum
	Below   time.Duration
}

var objective = regexp.MustCompile(`^(?:(ack|e2e|end-to-end|endToEnd)\s+)?(?:p(\d{1,2}(?:\.\d{1,5})?)|(max))\s*<\s*` +
	`([\d.]+\s*(?:us|µs|ms|s|m))$`)

// ParseObjective reads one: p99<5ms, ack p99.9 < 20ms, max<1s.
func ParseObjective(text string) (*Objective, error) {
	m := objective.FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("%q is no objective, such as p99<5ms, ack p99.9<20ms or max<1s", text)
	}
	o := &Objective{Latency: m[1], Percent: 100}
	if m[1] == "e2e" || m[1] == "end-to-end" {
		o.Latency = "endToEnd"
	}
	if m[2] != "" {
		o.Percent, _ = strconv.ParseFloat(m[2], 64) // the expression has seen to it
	}
	var err error
	if o.Below, err = time.ParseDuration(regexp.MustCompile(`\s`).ReplaceAllString(m[4], "")); err != nil || o.Below <= 0 {
		return nil, fmt.Errorf("%q: %q is no duration of more than 0, such as 5ms", text, m[4])
	}
	return o, nil
}

// Text is the bound without the latency that it is of.
func (o Objective) Text() string {
	if o.Percent == 100 {
		return fmt.Sprintf("max<%v", o.Below)
	}
	return fmt.Sprintf("p%v<%v", o.Percent, o.Below)
}

// String is the whole objective.
func (o Objective) String() string { return o.Latency + " " + o.Text() }
