package assignor

import (
	"fmt"
	"testing"

	"spate/kafka"
)

// large is a group of many members and partitions; every topic has 100 partitions.
func large(members, partitions int, equally, racks bool) Spec {
	spec := Spec{Topics: make(map[kafka.UUID]Topic)}
	var ids []kafka.UUID
	names := []string{"x", "y", "z"}
	for n := range partitions / 100 {
		topic := Topic{Partitions: 100}
		for p := range topic.Partitions {
			if racks {
				topic.Racks = append(topic.Racks, []string{names[p%3], names[(p+n)%3]})
			}
		}
		ids = append(ids, topicID(n))
		spec.Topics[topicID(n)] = topic
	}
	for i := range members {
		m := Member{ID: fmt.Sprintf("member-%06d", i*7919%members), Topics: ids}
		if !equally {
			m.Topics = ids[i%10*len(ids)/20 : len(ids)/2+i%10*len(ids)/20]
		}
		if racks {
			m.RackID = &names[i%3]
		}
		spec.Members = append(spec.Members, m)
	}
	return spec
}

// BenchmarkAssign assigns 10,000 partitions to 1,000 members: from nothing, when nothing changed, and when one joins.
func BenchmarkAssign(b *testing.B) {
	for _, kind := range []struct {
		name           string
		assignor       string
		equally, racks bool
	}{
		{"uniform", Uniform, true, false},
		{"uniform-racks", Uniform, true, true},
		{"uniform-bytopic", Uniform, false, false},
		{"uniform-bytopic-racks", Uniform, false, true},
		{"range", Range, true, false},
	} {
		first := large(1000, 10_000, kind.equally, kind.racks)
		target, err := Assign(kind.assignor, first)
		if err != nil {
			b.Fatal(err)
		}
		settled := large(1000, 10_000, kind.equally, kind.racks)
		for i, m := range settled.Members {
			settled.Members[i].Assigned = target[m.ID]
		}
		joined := Spec{Topics: settled.Topics, Members: append(settled.Members[:1000:1000], Member{
			ID: "member-000500a", Topics: settled.Members[0].Topics,
		})}
		for _, c := range []struct {
			name string
			spec Spec
		}{{"first", first}, {"settled", settled}, {"join", joined}} {
			b.Run(kind.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Assign(kind.assignor, c.spec); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
