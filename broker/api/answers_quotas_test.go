package api_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
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

// settleQuotas waits until the quotas that have been altered show.
func (s *story) settleQuotas(request kmsg.Request, response kmsg.Response) {
	altered, is := response.(*kmsg.AlterClientQuotasResponse)
	asked, _ := request.(*kmsg.AlterClientQuotasRequest)
	if !is || asked.ValidateOnly {
		return
	}
	for _, told := range altered.Entries {
		at := slices.IndexFunc(asked.Entries, func(e kmsg.AlterClientQuotasRequestEntry) bool {
			return askedEntity(e) == toldEntity(told)
		})
		if told.ErrorCode != kafka.NoError || at < 0 {
			continue
		}
		for _, op := range asked.Entries[at].Ops {
			s.await("the quota shows", func() bool {
				value, there := s.quotas()[toldEntity(told)+" "+op.Key]
				return there != op.Remove && (op.Remove || value == op.Value)
			})
		}
	}
}

// quotas is all quotas, by their entities and keys.
func (s *story) quotas() map[string]float64 {
	all := map[string]float64{}
	described := s.exchange(kmsg.NewPtrDescribeClientQuotasRequest()).(*kmsg.DescribeClientQuotasResponse)
	for _, e := range described.Entries {
		for _, v := range e.Values {
			all[describedEntity(e)+" "+v.Key] = v.Value
		}
	}
	return all
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

func askedEntity(e kmsg.AlterClientQuotasRequestEntry) string {
	var parts []string
	for _, p := range e.Entity {
		parts = append(parts, shownPart(p.Type, p.Name))
	}
	return shownEntity(parts)
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
