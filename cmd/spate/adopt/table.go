package adopt

import (
	"encoding/binary"
	"fmt"

	"spate/kafka"
	meta "spate/metadata/record"
)

// foreign is what becomes of a kind of metadata record that is known and not served. A kind that is neither served nor
// listed refuses the take-over.
type foreign struct {
	// matters is what would vanish without the record; empty for a record that can go.
	matters string
	// key names the thing that the record is about, so that what was removed again does not matter, and says whether
	// this record removes it. Nil: every record counts.
	key func(body []byte) (name string, removed bool)
	// check looks at a record that can go otherwise; nil: nothing to look at.
	check func(node kafka.BrokerID, body []byte) error
}

// The types of Kafka 4.3 that package record does not serve.
const (
	typeDelegationToken       meta.Type = 10
	typeScram                 meta.Type = 11
	typeACL                   meta.Type = 18
	typeRemoveACL             meta.Type = 19
	typeZKMigration           meta.Type = 21
	typeRemoveScram           meta.Type = 22
	typeBeginTransaction      meta.Type = 23
	typeEndTransaction        meta.Type = 24
	typeAbortTransaction      meta.Type = 25
	typeRemoveDelegationToken meta.Type = 26
	typeRegisterController    meta.Type = 27
	typeClearELR              meta.Type = 28
)

// What would vanish.
const (
	someACLs   = "ACLs are set, and who may do what would not be checked any more"
	someUsers  = "SCRAM credentials are set, and nobody would have to log in any more"
	someTokens = "delegation tokens are, or were lately, in use, and nobody would have to log in any more"
)

var foreignTypes = map[meta.Type]foreign{
	typeDelegationToken:       {matters: someTokens},
	typeRemoveDelegationToken: {}, // of no use without the token
	typeScram:                 {matters: someUsers, key: scramKey(false)},
	typeRemoveScram:           {matters: someUsers, key: scramKey(true)},
	typeACL:                   {matters: someACLs, key: aclKey(false)},
	typeRemoveACL:             {matters: someACLs, key: aclKey(true)},
	typeZKMigration:           {},                       // ZooKeeper is gone since 4.0
	typeRegisterController:    {check: checkController}, // the one controller is this node
	typeClearELR:              {},                       // eligible leaders are a matter of several replicas
}

// aclKey is the id, which both records begin with.
func aclKey(removed bool) func([]byte) (string, bool) {
	return func(body []byte) (string, bool) { return string(body[:min(len(body), 16)]), removed }
}

// scramKey is the user and the mechanism, which both records begin with.
func scramKey(removed bool) func([]byte) (string, bool) {
	return func(body []byte) (string, bool) {
		length, n := binary.Uvarint(body) // of the name, plus one
		if n <= 0 || length == 0 || length > uint64(len(body)) {
			return string(body), removed
		}
		return string(body[:min(len(body), n+int(length))]), removed
	}
}

// checkController refuses a controller on another node.
func checkController(node kafka.BrokerID, body []byte) error {
	if len(body) < 4 {
		return fmt.Errorf("a record of a controller has %d bytes", len(body))
	}
	if id := kafka.BrokerID(int32(binary.BigEndian.Uint32(body))); id != node {
		return refusal("controller %d is registered beside this node %d: the cluster has several nodes", id, node)
	}
	return nil
}

// feature is what becomes of a finalized feature.
type feature struct {
	levelMax int16
	keep     bool // else it is dropped: nothing on disk depends on it here
}

// featureTable is the features of Kafka 4.3. Those that are dropped change how brokers speak to each other, or belong
// to states (share groups) that are looked for themselves.
var featureTable = map[string]feature{
	"metadata.version":                 {levelMax: metadataVersion, keep: true},
	"group.version":                    {levelMax: 1, keep: true},
	"kraft.version":                    {levelMax: 1},
	"transaction.version":              {levelMax: 2, keep: true},
	"eligible.leader.replicas.version": {levelMax: 1},
	"share.version":                    {levelMax: 1},
	"streams.version":                  {levelMax: 1},
}

// harmless are configs that are not served and ask for what holds anyway, with that value.
var harmless = map[string]string{
	"unclean.leader.election.enable": "false", // no leader is ever taken from outside the ISR
	"remote.storage.enable":          "false", // there is no remote storage
}
