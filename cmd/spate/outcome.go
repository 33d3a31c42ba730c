package main

import (
	"errors"
	"fmt"
	"io"
)

// outcome is what became of one thing that a command was to create or delete.
type outcome struct {
	Topic      string      `json:"topic,omitempty"`
	Group      string      `json:"group,omitempty"`
	Kind       string      `json:"kind,omitempty"` // of what has configs
	Name       string      `json:"name,omitempty"` // of what has configs
	Config     string      `json:"config,omitempty"`
	Feature    string      `json:"feature,omitempty"`
	Level      *int16      `json:"level,omitempty"` // of a feature
	Dir        string      `json:"dir,omitempty"`
	Entity     []quotaPart `json:"entity,omitempty"` // that has quotas
	Quota      string      `json:"quota,omitempty"`
	Value      *float64    `json:"value,omitempty"` // of a quota
	Broker     *int32      `json:"broker,omitempty"`
	Partition  *int32      `json:"partition,omitempty"`  // of an offset
	Partitions *int32      `json:"partitions,omitempty"` // of a topic that was created
	Done       bool        `json:"done"`                 // false too where there was nothing to do
	Error      string      `json:"error,omitempty"`
	Code       string      `json:"code,omitempty"` // the protocol's name of the error

	text string // a line for people; empty where it failed
	err  error
}

// ended makes an outcome whole: as a line for people, or as an error.
func (o outcome) ended(done bool, err error, format string, args ...any) outcome {
	if err != nil {
		o.err, o.Error, o.Code = err, err.Error(), protocolName(err)
		return o
	}
	o.Done, o.text = done, fmt.Sprintf(format, args...)
	return o
}

// report prints what became of everything and gives the errors.
func report(out io.Writer, outcomes []outcome, asJSON bool) error {
	var failed []error
	for _, o := range outcomes {
		if o.err != nil {
			failed = append(failed, o.err)
		} else if !asJSON {
			fmt.Fprintln(out, escaped(o.text))
		}
	}
	if asJSON {
		failed = append(failed, printJSON(out, append([]outcome{}, outcomes...)))
	}
	return errors.Join(failed...)
}
