package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newCluster is "spate cluster".
func newCluster() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Describe a cluster: brokers, quorum, features, log directories, APIs",
		Long: `The cluster as a whole.

  spate cluster describe       id, controller and brokers
  spate cluster quorum         the voters of the metadata log, and how far each is
  spate cluster features       which features are in force and which could be
  spate cluster log-dirs       directories of the brokers, with sizes
  spate cluster move-replica   move a partition to another directory of its broker
  spate cluster api-versions   which requests the brokers understand`,
	}
	cmd.AddCommand(newClusterDescribe(), newClusterQuorum(), newClusterFeatures(), newClusterLogDirs(),
		newClusterMoveReplica(), newClusterAPIVersions())
	return cmd
}

// clusterView is what there is to know of a cluster.
type clusterView struct {
	ClusterID  string       `json:"clusterId"`
	Controller int32        `json:"controller"` // -1: not known
	Brokers    []brokerView `json:"brokers"`
}

// brokerView is one broker.
type brokerView struct {
	ID     int32  `json:"broker"`
	Host   string `json:"host"`
	Port   int32  `json:"port"`
	Rack   string `json:"rack,omitempty"`
	Fenced bool   `json:"fenced"`
}

// describeCluster asks for the brokers. Which of them is the controller only the quorum can tell: brokers name any one,
// so that old clients find somebody to ask.
func describeCluster(ctx context.Context, client *kgo.Client) (clusterView, error) {
	request := kmsg.NewPtrDescribeClusterRequest()
	request.EndpointType, request.IncludeFencedBrokers = 1, true
	response, err := request.RequestWith(ctx, client)
	if unsupported(err) {
		return olderCluster(ctx, client)
	}
	if err == nil {
		err = answered(response.ErrorCode, response.ErrorMessage)
	}
	if err != nil {
		return clusterView{}, err
	}
	view := clusterView{response.ClusterID, response.ControllerID, []brokerView{}}
	for _, b := range response.Brokers {
		view.Brokers = append(view.Brokers, brokerView{b.NodeID, b.Host, b.Port, orEmpty(b.Rack), b.IsFenced})
	}
	slices.SortFunc(view.Brokers, func(a, b brokerView) int { return cmp.Compare(a.ID, b.ID) })
	if quorum, err := describeQuorum(ctx, client); err == nil {
		view.Controller = quorum.Leader
	}
	return view, nil
}

// olderCluster asks brokers that do not know DescribeCluster.
func olderCluster(ctx context.Context, client *kgo.Client) (clusterView, error) {
	m, err := kadm.NewClient(client).BrokerMetadata(ctx)
	if err != nil {
		return clusterView{}, err
	}
	view := clusterView{m.Cluster, m.Controller, []brokerView{}}
	for _, b := range m.Brokers {
		view.Brokers = append(view.Brokers, brokerView{b.NodeID, b.Host, b.Port, orEmpty(b.Rack), false})
	}
	return view, nil
}

// unsupported reports whether the brokers do not know a request at all, or not in a version that the client has.
func unsupported(err error) bool {
	return err != nil && (errors.Is(err, kerr.UnsupportedVersion) ||
		strings.Contains(err.Error(), "broker is too old") || strings.Contains(err.Error(), "unknown request key"))
}

// notServed explains that a cluster does not know a request.
func notServed(err error, what string) error {
	if unsupported(err) {
		return sentence(err, "this cluster does not serve %s", what)
	}
	return err
}

// newClusterDescribe is "spate cluster describe".
func newClusterDescribe() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "describe",
		Short: "Show the cluster's id, its controller and its brokers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			view, err := describeCluster(cmd.Context(), client)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), view)
			}
			return view.print(cmd.OutOrStdout())
		},
	}
	flags.add(cmd)
	return cmd
}

// print writes the cluster as text.
func (v clusterView) print(out io.Writer) error {
	fmt.Fprintf(out, "cluster %s  controller %s  brokers %d\n", escaped(v.ClusterID), orNone(int64(v.Controller)),
		len(v.Brokers))
	t := table{indent: "  ", header: []string{"BROKER", "HOST", "PORT", "RACK", "STATE"}, shrinks: []int{1}}
	for _, b := range v.Brokers {
		state := "running"
		if b.Fenced {
			state = "fenced" // registered, and away or not ready: it leads nothing
		}
		t.add(fmt.Sprint(b.ID), b.Host, fmt.Sprint(b.Port), b.Rack, state)
	}
	return t.print(out, widthOf(out))
}

// brokerAPIs is what a broker understands.
type brokerAPIs struct {
	Broker int32      `json:"broker"`
	APIs   []apiRange `json:"apis"`
	Error  string     `json:"error,omitempty"`
}

// apiRange is one kind of request with its versions.
type apiRange struct {
	Key  int16  `json:"key"`
	Name string `json:"name"`
	Min  int16  `json:"min"`
	Max  int16  `json:"max"`
}

// newClusterAPIVersions is "spate cluster api-versions".
func newClusterAPIVersions() *cobra.Command {
	var flags clientFlags
	cmd := &cobra.Command{
		Use:   "api-versions",
		Short: "Show which requests the brokers understand, and in which versions",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, asJSON, err := flags.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			answers, err := kadm.NewClient(client).ApiVersions(cmd.Context())
			if err != nil {
				return err
			}
			brokers, failed := []brokerAPIs{}, error(nil)
			for _, a := range answers.Sorted() {
				b := brokerAPIs{Broker: a.NodeID, APIs: []apiRange{}}
				if a.Err != nil {
					b.Error = a.Err.Error()
					failed = errors.Join(failed, fmt.Errorf("broker %d: %w", a.NodeID, a.Err))
				}
				a.EachKeySorted(func(key, low, high int16) {
					b.APIs = append(b.APIs, apiRange{key, apiName(key), low, high})
				})
				brokers = append(brokers, b)
			}
			if asJSON {
				return errors.Join(printJSON(cmd.OutOrStdout(), brokers), failed)
			}
			return errors.Join(printAPIs(cmd.OutOrStdout(), brokers), failed)
		},
	}
	flags.add(cmd)
	return cmd
}

// apiName is the name of a kind of request. One that is newer than this program has none.
func apiName(key int16) string { return strings.TrimSuffix(kmsg.NameForKey(key), "Unknown") }

// printAPIs writes what brokers understand, once for all those that understand the same.
func printAPIs(out io.Writer, brokers []brokerAPIs) error {
	for i, b := range brokers {
		same := func(other brokerAPIs) bool { return slices.Equal(other.APIs, b.APIs) }
		if len(b.APIs) == 0 || slices.ContainsFunc(brokers[:i], same) {
			continue
		}
		var ids []int32
		for _, other := range brokers[i:] {
			if same(other) {
				ids = append(ids, other.Broker)
			}
		}
		noun := "broker"
		if len(ids) > 1 {
			noun = "brokers"
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintf(out, "%s %s  %s\n", noun, joinIDs(ids), plural(int64(len(b.APIs)), "API"))
		t := table{indent: "  ", header: []string{"KEY", "API", "VERSIONS"}}
		for _, a := range b.APIs {
			t.add(fmt.Sprint(a.Key), a.Name, fmt.Sprintf("%d-%d", a.Min, a.Max))
		}
		if err := t.print(out, 0); err != nil {
			return err
		}
	}
	return nil
}
