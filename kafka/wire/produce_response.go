package wire

import "spate/kafka"

// ProduceResponse is the answer to a ProduceRequest.
type ProduceResponse struct {
	Topics     []ProduceTopicResponse
	ThrottleMs int32
	Endpoints  []NodeEndpoint // of the leaders that the partitions name; from version 10 on
}

// ProduceTopicResponse is one topic of a ProduceResponse.
type ProduceTopicResponse struct {
	Name       []byte     // before version 13
	ID         kafka.UUID // from version 13 on
	Partitions []ProducePartitionResponse
}

// ProducePartitionResponse says what became of the records for one partition.
type ProducePartitionResponse struct {
	Index          kafka.PartitionIndex
	ErrorCode      int16
	BaseOffset     kafka.Offset
	LogAppendTime  kafka.Timestamp // NoTimestamp under message.timestamp.type=CreateTime
	LogStartOffset kafka.Offset    // from version 5 on
	RecordErrors   []RecordError   // from version 8 on
	ErrorMessage   string          // from version 8 on; empty for null
	Leader         CurrentLeader   // from version 10 on
}

// RecordError says why one record made its batch fail.
type RecordError struct {
	BatchIndex int32  // place of the record in its batch
	Message    string // empty for null
}

// CurrentLeader tells a client that asked the wrong broker where the leader is (KIP-951). The zero value says nothing.
type CurrentLeader struct {
	Known  bool
	Leader kafka.BrokerID
	Epoch  kafka.LeaderEpoch
}

// NodeEndpoint is the address of a broker that a CurrentLeader names.
type NodeEndpoint struct {
	Node kafka.BrokerID
	Host string
	Port int32
	Rack string // empty for null
}

// AppendProduceResponse appends the body of a Produce response; BeginFrame and EndFrame go around it.
func AppendProduceResponse(dst []byte, version int16, p *ProduceResponse) []byte {
	flexible := version >= Served[0].Flexible
	dst = appendLength(dst, flexible, len(p.Topics))
	for i := range p.Topics {
		t := &p.Topics[i]
		if version >= produceIDVersion {
			dst = append(dst, t.ID[:]...)
		} else {
			dst = appendString(dst, flexible, t.Name)
		}
		dst = appendLength(dst, flexible, len(t.Partitions))
		for j := range t.Partitions {
			dst = appendProducePartition(dst, version, &t.Partitions[j])
		}
		dst = appendTags(dst, flexible, 0)
	}
	dst = appendInt32(dst, p.ThrottleMs)
	if version >= 10 && len(p.Endpoints) > 0 {
		dst = appendTags(dst, flexible, 1)
		return appendEndpoints(dst, p.Endpoints)
	}
	return appendTags(dst, flexible, 0)
}

func appendProducePartition(dst []byte, version int16, p *ProducePartitionResponse) []byte {
	flexible := version >= Served[0].Flexible
	dst = appendInt32(dst, int32(p.Index))
	dst = appendInt16(dst, p.ErrorCode)
	dst = appendInt64(dst, int64(p.BaseOffset))
	dst = appendInt64(dst, int64(p.LogAppendTime))
	if version >= 5 {
		dst = appendInt64(dst, int64(p.LogStartOffset))
	}
	if version >= 8 {
		dst = appendLength(dst, flexible, len(p.RecordErrors))
		for i := range p.RecordErrors {
			dst = appendInt32(dst, p.RecordErrors[i].BatchIndex)
			dst = appendText(dst, flexible, p.RecordErrors[i].Message)
			dst = appendTags(dst, flexible, 0)
		}
		dst = appendText(dst, flexible, p.ErrorMessage)
	}
	if version >= 10 && p.Leader.Known {
		dst = appendTags(dst, flexible, 1)
		return appendCurrentLeader(dst, 0, p.Leader)
	}
	return appendTags(dst, flexible, 0)
}

// appendCurrentLeader appends the tagged field of that number: its size, two int32, and no tagged fields inside.
func appendCurrentLeader(dst []byte, tag byte, l CurrentLeader) []byte {
	dst = append(dst, tag, 4+4+1)
	dst = appendInt32(dst, int32(l.Leader))
	dst = appendInt32(dst, int32(l.Epoch))
	return append(dst, 0)
}

// appendEndpoints appends the tagged field 0 of Produce and Fetch responses: NodeEndpoints.
func appendEndpoints(dst []byte, endpoints []NodeEndpoint) []byte {
	size := uvarintBytes(uint32(len(endpoints)) + 1)
	for i := range endpoints {
		e := &endpoints[i]
		size += 4 + textBytes(e.Host) + 4 + textBytes(e.Rack) + 1
	}
	dst = append(dst, 0)
	dst = appendUvarint(dst, uint32(size))
	dst = appendLength(dst, true, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		dst = appendInt32(dst, int32(e.Node))
		dst = appendString(dst, true, e.Host)
		dst = appendInt32(dst, e.Port)
		dst = appendText(dst, true, e.Rack)
		dst = append(dst, 0)
	}
	return dst
}

// textBytes is the length of a compact string. Null, which appendText writes for empty, takes as much as empty does.
func textBytes(s string) int { return uvarintBytes(uint32(len(s))+1) + len(s) }
