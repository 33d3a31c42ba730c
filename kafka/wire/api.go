package wire

import "strconv"

// The API keys that are served.
const (
	KeyProduce              int16 = 0
	KeyFetch                int16 = 1
	KeyListOffsets          int16 = 2
	KeyMetadata             int16 = 3
	KeyApiVersions          int16 = 18
	KeyCreateTopics         int16 = 19
	KeyDeleteTopics         int16 = 20
	KeyInitProducerID       int16 = 22
	KeyOffsetForLeaderEpoch int16 = 23
	KeyDescribeConfigs      int16 = 32
	KeyDescribeCluster      int16 = 60
)

// API is one row of the version table.
type API struct {
	Key  int16
	Name string // as Kafka's schemas spell it
	Min  int16  // first version served
	Max  int16  // last version served
	// AdvertisedMin is the first version that ApiVersions shows. It differs from Min for Produce only: librdkafka
	// gives up on a broker that does not show Produce 0 (KAFKA-18659), which Kafka therefore shows and refuses.
	AdvertisedMin int16
	Flexible      int16 // first version with compact lengths and tagged fields (KIP-482)
	// body is the layout of the request's body; nil where a parser of our own checks it.
	body shape
}

// Served is the version table: what ApiVersions answers and what ParseHeader lets pass, in the order of the keys. A row
// is there when its API is served in full, with the version range of Kafka 4.3.1.
var Served = [...]API{
	{KeyProduce, "Produce", 3, 13, 0, 9, nil},
	{KeyFetch, "Fetch", 4, 18, 4, 12, nil},
	{KeyListOffsets, "ListOffsets", 1, 11, 1, 6, listOffsetsShape},
	{KeyMetadata, "Metadata", 0, 13, 0, 9, metadataShape},
	{KeyApiVersions, "ApiVersions", 0, 4, 0, 3, apiVersionsShape},
	{KeyCreateTopics, "CreateTopics", 2, 7, 2, 5, createTopicsShape},
	{KeyDeleteTopics, "DeleteTopics", 1, 6, 1, 4, deleteTopicsShape},
	{KeyInitProducerID, "InitProducerId", 0, 5, 0, 2, initProducerIDShape},
	{KeyOffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, 2, 4, offsetForLeaderEpochShape},
	{KeyDescribeConfigs, "DescribeConfigs", 1, 4, 1, 4, describeConfigsShape},
	{KeyDescribeCluster, "DescribeCluster", 0, 2, 0, 0, describeClusterShape},
}

// rows finds a row of Served by its key: 0 for none, else the row's number plus one. Its length is above every key.
var rows = func() (r [96]uint8) {
	for i := range Served {
		r[Served[i].Key] = uint8(i + 1)
	}
	return r
}()

// Lookup is the row of key, or nil for an API that is not served.
func Lookup(key int16) *API {
	if key < 0 || int(key) >= len(rows) || rows[key] == 0 {
		return nil
	}
	return &Served[rows[key]-1]
}

// Supports says whether version of key is served.
func Supports(key, version int16) bool {
	row := Lookup(key)
	return row != nil && row.Min <= version && version <= row.Max
}

// Name is Kafka's name of an API that is served, else its key in digits.
func Name(key int16) string {
	if row := Lookup(key); row != nil {
		return row.Name
	}
	return "api key " + strconv.Itoa(int(key))
}
