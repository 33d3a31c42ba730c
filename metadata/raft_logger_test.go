package metadata

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Goal: what the Raft library says reaches the node's log at the right level. Method: every method once.

func TestWhatRaftSaysGoesToTheLog(t *testing.T) {
	var out bytes.Buffer
	l := raftLogger{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for level, say := range map[string][2]func(...any){
		"DEBUG": {l.Debug, l.Info}, "WARN": {l.Warning, l.Warning}, "ERROR": {l.Error, l.Error},
	} {
		for _, f := range say {
			out.Reset()
			f("term ", 3)
			if want := fmt.Sprintf("level=%s msg=\"term 3\"", level); !strings.Contains(out.String(), want) {
				t.Errorf("%s, want %s", out.String(), want)
			}
		}
	}
	for level, say := range map[string][2]func(string, ...any){
		"DEBUG": {l.Debugf, l.Infof}, "WARN": {l.Warningf, l.Warningf}, "ERROR": {l.Errorf, l.Errorf},
	} {
		for _, f := range say {
			out.Reset()
			f("term %d", 3)
			if want := fmt.Sprintf("level=%s msg=\"term 3\"", level); !strings.Contains(out.String(), want) {
				t.Errorf("%s, want %s", out.String(), want)
			}
		}
	}
}

func TestABrokenRaftEndsTheProcess(t *testing.T) {
	l := raftLogger{slog.New(slog.DiscardHandler)}
	for _, end := range []func(){
		func() { l.Fatal("broken") }, func() { l.Fatalf("bro%s", "ken") },
		func() { l.Panic("broken") }, func() { l.Panicf("bro%s", "ken") },
	} {
		func() {
			defer func() {
				if r := recover(); r != "broken" {
					t.Errorf("it ended with %v", r)
				}
			}()
			end()
		}()
	}
}
