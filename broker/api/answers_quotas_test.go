package api_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What the stories of client quotas need besides.

// clearQuotas removes all quotas of a Kafka that had stories before.
func (s *story) clearQuotas() {
	all := kmsg.NewPtrDescribeClientQuotasRequest()
	removal := kmsg.NewPtrAlterClientQuotasRequest()
	for _, entry := range s.exchange(all).(*kmsg.DescribeClientQuotasResponse).Entries {
		var e kmsg.AlterClientQuotasRequestEntry
		for _, part := range entry.Entity {
			e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: part.Type, Name: part.Name})
		}
		for _, v := range entry.Values {
			e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: v.Key, Remove: true})
		}
		removal.Entries = append(removal.Entries, e)
	}
	s.exchange(removal)
	s.await("all quotas are gone", func() bool {
		return len(s.exchange(all).(*kmsg.DescribeClientQuotasResponse).Entries) == 0
	})
}

func shownPart(kind string, name *string) string {
	if name == nil {
		return kind + " by default"
	}
	return kind + "=" + *name
}

func shownEntity(parts []string) string {
	slices.Sort(parts)
	return fmt.Sprint(parts)
}

func toldEntity(e kmsg.AlterClientQuotasResponseEntry) string {
	var parts []string
	for _, p := range e.Entity {
		parts = append(parts, shownPart(p.Type, p.Name))
	}
	return shownEntity(parts)
}

func describedEntity(e kmsg.DescribeClientQuotasResponseEntry) string {
	var parts []string
	for _, p := range e.Entity {
		parts = append(parts, shownPart(p.Type, p.Name))
	}
	return shownEntity(parts)
}

// sortQuotas puts what Kafka answers in the order of hash maps into one that is always the same.
func sortQuotas(response kmsg.Response) {
	switch r := response.(type) {
	case *kmsg.AlterClientQuotasResponse:
		slices.SortFunc(r.Entries, func(a, b kmsg.AlterClientQuotasResponseEntry) int {
			return strings.Compare(toldEntity(a), toldEntity(b))
		})
	case *kmsg.DescribeClientQuotasResponse:
		slices.SortFunc(r.Entries, func(a, b kmsg.DescribeClientQuotasResponseEntry) int {
			return strings.Compare(describedEntity(a), describedEntity(b))
		})
		for i := range r.Entries {
			slices.SortFunc(r.Entries[i].Values, func(a, b kmsg.DescribeClientQuotasResponseEntryValue) int {
				return strings.Compare(a.Key, b.Key)
			})
		}
	}
}
