package main

// layer is one row of the table of import directions: a package may import packages of its own layer only where
// mayImport names them, and packages of lower layers freely.
type layer struct {
	number   int
	packages []string // path below the module; a trailing /... takes the packages below it too
	also     []string // packages of the same layer (or a third-party module) that are allowed besides
	why      string
}

// layers is the table "who may import whom" of ARCHITECTURE.md. The first row that matches a package counts.
var layers = []layer{
	{number: 1, packages: []string{"internal/config", "internal/metrics"}, also: []string{"kafka"},
		why: "every layer above reads configs and counts metrics"},
	{number: 7, packages: []string{"internal/sim"}, why: "test scaffolding sees everything"},
	{
		number:   0,
		packages: []string{"internal/..."},
		also:     []string{"internal/invariant", "internal/clock", "internal/task"},
		why:      "the ground floor is the standard library and x/sys",
	},
	{number: 1, packages: []string{"kafka/..."}, also: []string{"kafka", "kafka/record"},
		why: "the vocabulary knows no disk and no socket"},
	{number: 2, packages: []string{"netpoll"}, also: []string{"internal/metrics"},
		why: "netpoll knows bytes, not Kafka"},
	{number: 2, packages: []string{"index"}, why: "an index is a file of numbers"},
	{number: 2, packages: []string{"segment"}, also: []string{"index"}, why: "a segment owns its indexes"},
	{number: 3, packages: []string{"replica/state", "metadata/controller", "metadata/image", "metadata/record",
		"broker/quota", "broker/session"}, also: []string{"metadata/image", "metadata/record"},
		why: "machines are pure: they see the vocabulary and the image, no file and no socket"},
	{number: 3, packages: []string{"coordinator", "coordinator/group", "coordinator/group/..."},
		also: []string{"coordinator", "coordinator/group/...", "metadata/image"},
		why:  "machines of groups share the words of package coordinator, and see each other below coordinator/group"},
	{number: 3, packages: []string{"coordinator/txn", "coordinator/txn/..."},
		also: []string{"coordinator", "coordinator/txn/..."},
		why:  "the machine of transactions shares the words of package coordinator, and knows no groups"},
	{number: 3, packages: []string{"partition"}, why: "a log knows segments, not who replicates it"},
	{number: 4, packages: []string{"replica", "metadata", "coordinator/runtime", "coordinator/runtime/..."},
		why: "drivers do not know the broker"},
	{number: 5, packages: []string{"broker/api"}, also: []string{"broker/purgatory", "broker/quota", "broker/session"},
		why: "handlers do not know how the node is put together"},
	{
		number:   5,
		packages: []string{"broker", "broker/..."},
		also:     []string{"broker/api", "broker/purgatory", "broker/quota", "broker/session"},
		why:      "one node put together",
	},
	{number: 6, packages: []string{"bench/dist", "bench/rate", "bench/verify", "bench/result"},
		why: "what a load is made of knows no broker and no client"},
	{number: 6, packages: []string{"bench/spec"}, also: []string{"bench/dist", "bench/verify"},
		why: "a workload is words and numbers"},
	{
		number:   7,
		packages: []string{"cmd/...", "bench/...", "bench"},
		also:     []string{"cmd/...", "bench", "bench/..."},
		why:      "the top may use all",
	},
}

// exceptions to "lower layers freely": the package on the left never imports those on the right.
var bans = map[string][]string{
	"netpoll": {"kafka", "kafka/wire", "kafka/record", "internal/config"},
}

// pureMayImport is all that a package marked //tidy:pure may import of this module.
var pureMayImport = []string{"internal/invariant", "internal/spelling", "kafka", "kafka/record", "metadata/image",
	"metadata/record", "coordinator", "coordinator/group/...", "coordinator/txn/...", "bench/dist", "bench/verify"}

// edges keeps third-party code at the edge that it serves: module path prefix → packages that may import it.
var edges = map[string][]string{
	"github.com/panjf2000/gnet/v2":        {"netpoll"},
	"github.com/edsrzf/mmap-go":           {"internal/vfs"},
	"github.com/valyala/bytebufferpool":   {"internal/bufpool"},
	"github.com/klauspost/crc32":          {"kafka/record"},
	"github.com/klauspost/compress":       {"kafka/record"},
	"github.com/pierrec/lz4/v4":           {"kafka/record"},
	"go.etcd.io/raft/v3":                  {"metadata"},
	"google.golang.org/protobuf":          {"metadata"},
	"github.com/twmb/franz-go/pkg/kmsg":   {"kafka/wire", "broker/api", "broker", "cmd/spate", "bench", "bench/limit"},
	"github.com/twmb/franz-go/pkg/kgo":    {"cmd/spate", "bench"},
	"github.com/twmb/franz-go/pkg/kadm":   {"cmd/spate", "bench"},
	"github.com/twmb/franz-go/pkg/kerr":   {"cmd/spate", "bench"},
	"github.com/zeebo/xxh3":               {"coordinator/group/consumer"},
	"github.com/prometheus/client_golang": {"internal/metrics"},
	"github.com/prometheus/client_model":  {"internal/metrics"},
	"github.com/magiconair/properties":    {"internal/config"},
	"github.com/spf13/cobra":              {"cmd/spate"},
	"go.yaml.in/yaml/v3":                  {"bench/spec"},
	"github.com/HdrHistogram":             {"bench/result"},
}

// worldly packages may touch clock, files, sockets and randomness directly; all others get them injected.
var worldly = []string{"internal/...", "netpoll", "cmd/...", "bench", "bench/..."}

// worldCalls are the selectors by which a package reaches for the world.
var worldCalls = map[string][]string{
	"time": {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"os": {
		"Open",
		"OpenFile",
		"Create",
		"Remove",
		"RemoveAll",
		"Rename",
		"Mkdir",
		"MkdirAll",
		"ReadFile",
		"WriteFile",
		"Getenv",
		"Stat",
		"ReadDir",
		"Exit",
	},
	"net":          {"Dial", "DialTimeout", "Listen"},
	"math/rand":    {"*"},
	"math/rand/v2": {"*"},
}

// pureBans are the imports that a pure package does without.
var pureBans = []string{
	"sync",
	"sync/atomic",
	"os",
	"net",
	"log",
	"log/slog",
	"math/rand",
	"math/rand/v2",
	"crypto/rand",
	"context",
}

const (
	lineCharactersMax = 120
	fileLinesMax      = 800
)
