package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/topic"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
)

// Cluster is what the API asks of the broker as a member of a cluster. Nodes are named by folder, by the beginning of that, by
// name or by address.
type Cluster interface {
	// View returns what is known of the cluster here.
	View(context.Context) httpapi.Cluster
	// The others change the map. Their errors are ErrClusterRefused, ErrClusterNoNode, ErrClusterUnknown, or others when nothing was done.
	Add(ctx context.Context, node string) error
	Replace(ctx context.Context, old, with string) error
	Drain(ctx context.Context, node string, on bool) error
	Remove(ctx context.Context, node string) error
	LeadTo(ctx context.Context, node string) error
	CreateTopic(ctx context.Context, name string, atLeader bool) error
	DeleteTopic(ctx context.Context, name string) error
	// Well returns why this broker does not do all that is its part in the cluster, nil when it does.
	Well(context.Context) error
	// AtLeader reports whether clients are told of the leader of a replicated topic alone.
	AtLeader(name string) bool
	// Replicated reports whether a topic is replicated, as far as is known here.
	Replicated(name string) bool
	// MayBeReplicated reports the same, or that it is not known.
	MayBeReplicated(name string) bool
	// Deleting reports whether a replicated topic is being deleted, as far as is known here.
	Deleting(name string) bool
	// Copy returns a replicated topic as this broker's replica has it, nil when it has none.
	Copy(name string) *topic.Copy
	// ReplicasOf returns the addresses in the cluster of the brokers that have a replica of a topic.
	ReplicasOf(ctx context.Context, name string) []string
	// Followed returns the replicated topics of which this broker has a replica, with their channels, by name and pause only.
	Followed() []httpapi.Topic
	// DeletedLately reports whether a replicated topic of that name was deleted within the last 30 s.
	DeletedLately(name string) bool
}

// What became of a change of the map that was not made, or perhaps not.
var (
	ErrClusterRefused = errors.New("refused")                             // it cannot be: the map is as it was
	ErrClusterNoNode  = errors.New("no node")                             // the same: it is about a node that the map does not have
	ErrClusterUnknown = errors.New("it is not known whether it was done") // look at the map
)

// replicated reports whether a topic is, as far as is known here.
func (a *api) replicated(name string) bool {
	return a.cfg.Cluster != nil && a.cfg.Cluster.Replicated(name)
}

// cluster tells what is known of the cluster.
func (a *api) cluster(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	if a.cfg.Cluster == nil {
		return nil, noCluster()
	}
	return a.cfg.Cluster.View(req.Context()), nil
}

func noCluster() error {
	return refuse(http.StatusNotFound, "NO_CLUSTER: this broker was started without --cluster-name")
}

// onCluster makes a handler of a change of the map that is about nodes, which are in arguments of those names.
func (a *api) onCluster(do func(c Cluster, req *http.Request, q httpapi.Query, nodes []string) error, names ...string) httpapi.HandlerFunc {
	return func(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
		if a.cfg.Cluster == nil {
			return nil, noCluster()
		}
		q, err := httpapi.ParseQuery(req)
		if err != nil {
			return nil, err
		}
		var nodes []string
		for _, name := range names {
			text := q.Get(name)
			if text == "" {
				return nil, invalidArg(name, "it must name a node: its folder's id, its name or its address")
			}
			nodes = append(nodes, text)
		}
		if err := clusterFailed(do(a.cfg.Cluster, req, q, nodes)); err != nil {
			return nil, err
		}
		return a.cfg.Cluster.View(req.Context()), nil
	}
}

// clusterFailed returns the answer for a change of the map that was not made, or perhaps not; nil when it was.
func clusterFailed(err error) error {
	var answered *httpapi.Error
	switch {
	case err == nil || errors.As(err, &answered):
		return err
	case errors.Is(err, ErrClusterNoNode):
		return refuse(http.StatusNotFound, "NODE_NOT_FOUND: "+err.Error())
	case errors.Is(err, ErrClusterRefused):
		return refuse(http.StatusConflict, "REFUSED: "+err.Error())
	case errors.Is(err, ErrClusterUnknown):
		return refuse(http.StatusServiceUnavailable, "UNKNOWN: "+err.Error())
	}
	return refuse(http.StatusServiceUnavailable, "NOT_DONE: "+err.Error())
}

// createReplicated makes a topic with so many replicas, as the arguments say.
func (a *api) createReplicated(req *http.Request, q httpapi.Query, name, replicas string) error {
	serve, said := q.Lookup("serve")
	switch {
	case said && serve != "all" && serve != "leader":
		return invalidArg("serve", "it must be all or leader")
	case replicas != "3":
		return invalidArg("replicas", "it must be 1 or 3")
	case a.cfg.Cluster == nil:
		return invalidArg("replicas", "replicas need a cluster, and this broker was started without --cluster-name")
	case protocol.IsEphemeral(name):
		return invalidArg("replicas", "an ephemeral topic is on one broker")
	}
	if err := a.cfg.Broker.Registry().InTheWay(name); err != nil { // one that is not gives way once the map has the other
		return refuse(http.StatusConflict, "REFUSED: "+err.Error()+": consume or empty them first, and keep none")
	}
	if said && a.replicated(name) && a.cfg.Cluster.AtLeader(name) != (serve == "leader") {
		return refuse(http.StatusConflict, "REFUSED: the topic is there, and not with serve="+serve)
	}
	if err := clusterFailed(a.cfg.Cluster.CreateTopic(req.Context(), name, serve == "leader")); err != nil {
		return err
	}
	if err := a.cfg.Broker.Registry().InTheWay(name); err != nil { // published meanwhile; now nothing is any more
		return clusterFailed(fmt.Errorf("%w: the replicated topic is there now, and %w: consume or empty them, and keep none", ErrClusterUnknown, err))
	}
	return nil
}

// notLeader returns the answer for what only who leads a replicated topic can do, or when the lead was lost while it was done.
func notLeader(err error) error {
	return refuse(http.StatusServiceUnavailable, notLeaderText+err.Error())
}

func clusterAdd(c Cluster, req *http.Request, _ httpapi.Query, nodes []string) error {
	return c.Add(req.Context(), nodes[0])
}

func clusterReplace(c Cluster, req *http.Request, _ httpapi.Query, nodes []string) error {
	return c.Replace(req.Context(), nodes[0], nodes[1])
}

func clusterDrain(c Cluster, req *http.Request, q httpapi.Query, nodes []string) error {
	undo, err := flagArg(q, "undo")
	if err != nil {
		return err
	}
	return c.Drain(req.Context(), nodes[0], !undo)
}

func clusterRemove(c Cluster, req *http.Request, _ httpapi.Query, nodes []string) error {
	return c.Remove(req.Context(), nodes[0])
}

func clusterTransfer(c Cluster, req *http.Request, _ httpapi.Query, nodes []string) error {
	return c.LeadTo(req.Context(), nodes[0])
}
