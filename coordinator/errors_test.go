package coordinator

import (
	"errors"
	"fmt"
	"testing"

	"spate/kafka"
)

// TestWhatClientsAreTold looks at the code and the sentence of errors, plain and wrapped.
func TestWhatClientsAreTold(t *testing.T) {
	refusal := Refuse(kafka.GroupIDNotFound, "Group g not found.")
	for _, c := range []struct {
		name    string
		err     error
		code    int16
		message string
	}{
		{"nothing is wrong", nil, 0, ""},
		{"an error of the protocol", kafka.NonEmptyGroup, 68, kafka.NonEmptyGroup.Message()},
		{"a wrapped one", fmt.Errorf("group g: %w", kafka.NonEmptyGroup), 68, kafka.NonEmptyGroup.Message()},
		{"a refusal", refusal, 69, "Group g not found."},
		{"a wrapped refusal", fmt.Errorf("in a batch: %w", refusal), 69, "Group g not found."},
		{"another error", errors.New("other"), -1, ""},
	} {
		if code, message := kafka.CodeOf(c.err), MessageOf(c.err); code != c.code || message != c.message {
			t.Errorf("%s: %d %q, want %d %q", c.name, code, message, c.code, c.message)
		}
	}
	if text := refusal.Error(); text != "GROUP_ID_NOT_FOUND: Group g not found." {
		t.Error(text)
	}
}
