package compat

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// wireTimeout bounds one request of a raw connection.
const wireTimeout = 2 * time.Minute

// wireConn is a connection that sends requests exactly as they are, at the version asked for: no negotiation, no
// retries. A client library would not send what a test of bad input needs.
type wireConn struct {
	net.Conn
	format *kmsg.RequestFormatter
	next   int32
}

func dial(address string) (*wireConn, error) {
	c, err := net.DialTimeout("tcp", address, wireTimeout)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: c, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("spate-compat"))}, nil
}

// ask sends a request at its version and reads its response.
func (c *wireConn) ask(req kmsg.Request) (kmsg.Response, error) {
	c.next++
	if err := c.SetDeadline(time.Now().Add(wireTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(c.format.AppendRequest(nil, req, c.next)); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, err
	}
	resp := req.ResponseKind()
	header := 4
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		header++ // no tags in the header
	}
	if len(body) < header || int32(binary.BigEndian.Uint32(body)) != c.next {
		return nil, errors.New("the response has another correlation id")
	}
	return resp, resp.ReadFrom(body[header:])
}

// createTopic makes a topic of one partition and waits until it has a leader.
func createTopic(ctx context.Context, c *wireConn, topic string, partitions int32, configs map[string]string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(5)
	req.TimeoutMillis = int32(wireTimeout / time.Millisecond)
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = topic, partitions, 1
	for name, value := range configs {
		config := kmsg.NewCreateTopicsRequestTopicConfig()
		config.Name, config.Value = name, &value
		t.Configs = append(t.Configs, config)
	}
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(req)
	if err != nil {
		return err
	}
	if got := resp.(*kmsg.CreateTopicsResponse).Topics[0]; got.ErrorCode != 0 {
		return fmt.Errorf("create topic %s: %w", topic, kafka.ErrorOf(got.ErrorCode))
	}
	return waitFor(ctx, func() (bool, error) { return hasLeaders(c, topic, int(partitions)) })
}

// hasLeaders says whether every partition of a topic can be used.
func hasLeaders(c *wireConn, topic string, partitions int) (bool, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(9)
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := c.ask(req)
	if err != nil {
		return false, err
	}
	got := resp.(*kmsg.MetadataResponse).Topics
	if len(got) != 1 || got[0].ErrorCode != 0 || len(got[0].Partitions) != partitions {
		return false, nil
	}
	for _, p := range got[0].Partitions {
		if p.ErrorCode != 0 || p.Leader < 0 {
			return false, nil
		}
	}
	return true, nil
}

// waitFor asks again and again until the answer is yes: what it waits for is another process.
func waitFor(ctx context.Context, ready func() (bool, error)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := ready()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
