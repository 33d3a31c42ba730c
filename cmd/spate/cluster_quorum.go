package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"spate/kafka"
)

// quorumView is the state of the metadata log's quorum.
type quorumView struct {
	Leader        int32         `json:"leader"`
	LeaderEpoch   int32         `json:"leaderEpoch"`
	HighWatermark int64         `json:"highWatermark"`
	Replicas      []quorumPlace `json:"replicas"`
}

// quorumPlace is how far one replica of the metadata log is.
type quorumPlace struct {
	Node         int32      `json:"node"`
	Role         string     `json:"role"` // leader, voter or observer
	Directory    string     `json:"directory,omitempty"`
	LogEnd       int64      `json:"logEnd"`
	Lag          int64      `json:"lag"`          // in records
	LastFetch    *time.Time `json:"lastFetch"`    // null: never, or the leader itself
	LastCaughtUp *time.Time `json:"lastCaughtUp"` // null: never, or the leader itself
	Endpoints    []string   `json:"endpoints"`
}

// describeQuorum asks for the quorum of the metadata log.
func describeQuorum(ctx context.Context, client *kgo.Client) (quorumView, error) {
	request := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return quorumView{}, notServed(err, "the state of a quorum (DescribeQuorum): it has none, or is too old")
	}
	if err := answered(response.ErrorCode, response.ErrorMessage); err != nil {
		return quorumView{}, err
	}
	if len(response.Topics) != 1 || len(response.Topics[0].Partitions) != 1 {
		return quorumView{}, fmt.Errorf("the answer is not about __cluster_metadata alone")
	}
	p := response.Topics[0].Partitions[0]
	if err := answered(p.ErrorCode, p.ErrorMessage); err != nil {
		return quorumView{}, err
	}
	view := quorumView{p.LeaderID, p.LeaderEpoch, p.HighWatermark, []quorumPlace{}}
	endpoints := make(map[int32][]string)
	for _, n := range response.Nodes {
		for _, l := range n.Listeners {
			endpoints[n.NodeID] = append(endpoints[n.NodeID], fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port))
		}
	}
	view.add("voter", p.CurrentVoters, endpoints)
	view.add("observer", p.Observers, endpoints)
	return view, nil
}

// add adds the replicas of a role.
func (v *quorumView) add(role string, states []kmsg.DescribeQuorumResponseTopicPartitionReplicaState,
	endpoints map[int32][]string,
) {
	end := int64(-1)
	for _, r := range v.Replicas {
		if r.Role == "leader" {
			end = r.LogEnd
		}
	}
	for _, s := range states {
		if s.ReplicaID == v.Leader {
			end = s.LogEndOffset
		}
	}
	for _, s := range states {
		r := quorumPlace{
			Node: s.ReplicaID, Role: role, LogEnd: s.LogEndOffset, Lag: max(0, end-s.LogEndOffset),
			Endpoints: append([]string{}, endpoints[s.ReplicaID]...),
		}
		if s.ReplicaDirectoryID != [16]byte{} {
			r.Directory = kafka.UUID(s.ReplicaDirectoryID).String()
		}
		if r.Node == v.Leader && role == "voter" {
			r.Role = "leader"
		} else {
			r.LastFetch, r.LastCaughtUp = timeOf(s.LastFetchTimestamp), timeOf(s.LastCaughtUpTimestamp)
		}
		v.Replicas = append(v.Replicas, r)
	}
	slices.SortStableFunc(v.Replicas, func(a, b quorumPlace) int {
		return cmp.Or(cmp.Compare(roleOrder(a.Role), roleOrder(b.Role)), cmp.Compare(a.Node, b.Node))
	})
}

// roleOrder puts those that decide first.
func roleOrder(role string) int { return slices.Index([]string{"leader", "voter", "observer"}, role) }

// newClusterQuorum is "spate cluster quorum".
func newClusterQuorum() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "quorum",
		Short: "Show the quorum of the metadata log: its leader, voters and observers, and how far each is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			view, err := describeQuorum(cmd.Context(), client)
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(cmd.OutOrStdout(), view)
			}
			return view.print(cmd.OutOrStdout(), time.Now())
		},
	}
	flags.add(cmd)
	return cmd
}

// print writes the quorum as text.
func (v quorumView) print(out io.Writer, now time.Time) error {
	fmt.Fprintf(
		out,
		"leader %s  epoch %d  high watermark %d\n",
		orNone(int64(v.Leader)),
		v.LeaderEpoch,
		v.HighWatermark,
	)
	t := table{
		indent: "  ", header: []string{"NODE", "ROLE", "END", "LAG", "FETCHED", "CAUGHT UP", "DIRECTORY", "ENDPOINTS"},
		shrinks: []int{7, 6},
	}
	for _, r := range v.Replicas {
		t.add(fmt.Sprint(r.Node), r.Role, fmt.Sprint(r.LogEnd), fmt.Sprint(r.Lag), ago(r.LastFetch, now),
			ago(r.LastCaughtUp, now), r.Directory, strings.Join(r.Endpoints, ","))
	}
	return t.print(out, widthOf(out))
}

// timeOf is a time of the protocol, or nil where it is none.
func timeOf(ms int64) *time.Time {
	if ms <= 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

// ago is how long ago a time was, for people.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return shortDuration(max(0, now.Sub(*t).Seconds())) + " ago"
}
