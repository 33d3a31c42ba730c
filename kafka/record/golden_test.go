package record

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spate/kafka"
)

// goldenClients are those whose batches lie in testdata/golden: a file of batches for every codec, and one of the
// records that were handed to the client. tools/compat makes them.
var goldenClients = []string{"Java-console", "confluent-kafka", "franz-go", "kafkajs"}

// goldenHeader is a pair of a name and a value.
type goldenHeader Header

// UnmarshalJSON reads the pair.
func (h *goldenHeader) UnmarshalJSON(text []byte) error {
	var name string
	err := json.Unmarshal(text, &[]any{&name, &h.Value})
	h.Key = []byte(name)
	return err
}

func goldenRecords(t *testing.T, client string) []plainRecord {
	t.Helper()
	var records []struct {
		Key     []byte         `json:"key"`
		Value   []byte         `json:"value"`
		Headers []goldenHeader `json:"headers"`
	}
	readJSON(t, filepath.Join("testdata", "golden", client+".json"), &records)
	var want []plainRecord
	for i, r := range records {
		p := plainRecord{Offset: kafka.Offset(i), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			p.Headers = append(p.Headers, Header(h))
		}
		want = append(want, p)
	}
	return want
}

// TestBatchesOfRealClients reads the batches of four client libraries in every codec, lets them through Validate as
// they are, and puts each into every other codec.
func TestBatchesOfRealClients(t *testing.T) {
	for _, client := range goldenClients {
		want := goldenRecords(t, client)
		for c := None; c < codecCount; c++ {
			name := client + "-" + c.String()
			t.Run(name, func(t *testing.T) {
				buf, err := os.ReadFile(filepath.Join("testdata", "golden", name+".batches"))
				if err != nil {
					t.Fatal(err)
				}
				var got []plainRecord
				for len(buf) > 0 {
					var b Batch
					if b, buf, err = Next(buf); err != nil {
						t.Fatal(err)
					}
					if b.Codec() != c || !b.HasProducerID() {
						t.Errorf("codec %s, producer %d", b.Codec(), b.ProducerID())
					}
					got = append(got, outlineOf(t, b).Records...)
					checkGolden(t, b)
				}
				for i := range got {
					got[i].Timestamp = 0
				}
				if !reflect.DeepEqual(want, got) {
					t.Error(cmp.Diff(want, got))
				}
			})
		}
	}
}

func checkGolden(t *testing.T, stored Batch) {
	t.Helper()
	sent := bytes.Clone(stored)
	Batch(sent).SetBaseOffset(0)
	for target := None; target < codecCount; target++ {
		rules := clientRules()
		rules.Now, rules.WalkCompressed = stored.MaxTimestamp(), true
		rules.Compression = Compression{Fixed: true, Codec: target}
		facts, err := Validate(bytes.Clone(sent), &rules)
		if err != nil {
			t.Fatal(target, err)
		}
		if target == stored.Codec() && !bytes.Equal(facts.Batch, sent) {
			t.Error("a good batch was changed")
		}
		if !reflect.DeepEqual(outlineOf(t, facts.Batch).Records, outlineOf(t, Batch(sent)).Records) {
			t.Errorf("recompressed to %s, the records differ", target)
		}
	}
	if stored.Codec() == None {
		if want, got := kmsgContent(t, stored, stored.Payload()), outlineOf(t, stored); !reflect.DeepEqual(want, got) {
			t.Error(cmp.Diff(want, got))
		}
	}
}

// TestTheBuilderWritesWhatTheJavaClientWrites: from the same records, uncompressed, the same bytes.
func TestTheBuilderWritesWhatTheJavaClientWrites(t *testing.T) {
	for _, client := range goldenClients {
		buf, err := os.ReadFile(filepath.Join("testdata", "golden", client+"-none.batches"))
		if err != nil {
			t.Fatal(err)
		}
		for len(buf) > 0 {
			var b Batch
			if b, buf, err = Next(buf); err != nil {
				t.Fatal(err)
			}
			w := NewBuilder(BuilderOptions{
				BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(),
				Producer: &Producer{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()},
			})
			for _, r := range outlineOf(t, b).Records {
				w.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
			}
			built, err := w.Build()
			if err != nil || !bytes.Equal(built, b) {
				t.Errorf("%s: the builder wrote\n%x\nnot\n%x\n%v", client, []byte(built), []byte(b), err)
			}
		}
	}
}

// TestProduceCasesAreCurrent: the file that tools/compat sends holds the cases of today.
func TestProduceCasesAreCurrent(t *testing.T) {
	made := produceCases(t)
	sortCases(made)
	var names, filed []string
	for _, c := range made {
		names = append(names, c.Name)
	}
	for _, c := range readCases(t) {
		filed = append(filed, c.Name)
	}
	if d := cmp.Diff(filed, names); d != "" {
		t.Errorf("run the tests with -rewrite, and then those of tools/compat with it:\n%s", strings.TrimSpace(d))
	}
}
