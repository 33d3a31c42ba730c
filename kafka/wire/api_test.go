package wire

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Goal: the table agrees with itself and with the codec. Method: each row against kmsg's versions, flexible versions
// and names.
func TestServedAgreesWithKmsg(t *testing.T) {
	if !slices.IsSortedFunc(Served[:], func(a, b API) int { return int(a.Key - b.Key) }) {
		t.Error("the table is not in the order of the keys")
	}
	for i := range Served {
		row := &Served[i]
		request, response := kmsg.RequestForKey(row.Key), kmsg.ResponseForKey(row.Key)
		if request == nil || row.Max > request.MaxVersion() || row.Min > row.Max || row.AdvertisedMin > row.Min {
			t.Errorf("%+v", row)
			continue
		}
		name := kmsg.NameForKey(row.Key)
		if row.Key == KeyAlterPartitionReassignments {
			name = "AlterPartitionReassignments" // kmsg says Assignments
		}
		if !strings.EqualFold(name, row.Name) {
			t.Errorf("key %d is %q, not %q", row.Key, name, row.Name)
		}
		for _, version := range versions(row.Key) {
			request.SetVersion(version)
			response.SetVersion(version)
			flexible := version >= row.Flexible
			if request.IsFlexible() != flexible || response.IsFlexible() != flexible {
				t.Errorf("%s v%d: flexible is wrong", row.Name, version)
			}
		}
		if hasParser := row.Key == KeyProduce || row.Key == KeyFetch; hasParser != (row.body == nil) {
			t.Errorf("%s: a shape and a parser exclude each other, and one is needed", row.Name)
		}
	}
}

func TestSupports(t *testing.T) {
	cases := []struct {
		name         string
		key, version int16
		want         bool
	}{
		{"the first version of Produce", KeyProduce, 3, true},
		{"the last version of Produce", KeyProduce, 13, true},
		{"a version of Produce that is shown, but refused", KeyProduce, 2, false},
		{"a version of Fetch that is too new", KeyFetch, 19, false},
		{"a version below zero", KeyMetadata, -1, false},
		{"ApiVersions 0", KeyApiVersions, 0, true},
		{"a key that Kafka has dropped", 4, 0, false},
		{"a key below zero", -1, 0, false},
		{"the greatest key", 32767, 0, false},
		{"a key behind the table", int16(len(rows)), 0, false},
	}
	for _, c := range cases {
		if got := Supports(c.key, c.version); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestName(t *testing.T) {
	if Name(KeyInitProducerID) != "InitProducerId" || Name(-3) != "api key -3" {
		t.Error(Name(KeyInitProducerID), Name(-3))
	}
}
