package kafka

import "testing"

func TestIsInternalTopic(t *testing.T) {
	for name, want := range map[string]bool{
		"__consumer_offsets": true, "__transaction_state": true, "__share_group_state": true,
		"__cluster_metadata": false, "__mine": false, "orders": false, "": false,
	} {
		if IsInternalTopic(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
