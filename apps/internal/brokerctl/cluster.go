package brokerctl

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"brokerd/apps/appkit"
	"brokerd/apps/internal/fleet"
	"brokerd/protocol/httpapi"
)

// nodeNames says how a broker of a cluster is named.
const nodeNames = `NODE is a broker as cluster show prints it: its address in the cluster, its name, or the beginning of its folder's id.
Any broker of the cluster may be asked; it sends on what another one decides.`

var clusterVerbs = []verb{
	{
		name: "show", summary: "print the brokers of a cluster, and what each is in it", run: showCluster,
		help:    "Asks the first broker that is in a cluster, or wants to be. A preview: see docs/cluster.md.",
		example: "cluster show --nsqd-http-address=127.0.0.1:4151",
	},
	{
		name: "add", summary: "let a broker in that waits as a candidate", args: "NODE", changes: true, run: changeCluster("add", "node"),
		help: nodeNames, example: "cluster add 10.0.0.4:4170 --nsqd-http-address=10.0.0.1:4151",
	},
	{
		name: "replace", summary: "let a candidate in, in the place of a broker that will not come back", args: "OLD NEW", changes: true, destroys: true,
		run:     changeCluster("replace", "old", "new"),
		help:    "OLD gives up all that it has in the cluster, and is removed from it. Its own topics, on its disk, are not touched.\n" + nodeNames,
		example: "cluster replace 10.0.0.3:4170 10.0.0.4:4170 --yes --nsqd-http-address=10.0.0.1:4151",
	},
	{
		name: "drain", summary: "have a broker give its replicas to others", args: "NODE", changes: true, run: changeCluster("drain", "node"),
		help: "With --undo it takes replicas again. Where they can go to no other broker they stay.\n" + nodeNames, example: "cluster drain 10.0.0.3:4170 --nsqd-http-address=10.0.0.1:4151",
		flags: func(c *call, flags *flag.FlagSet) { flags.BoolVar(&c.drain.undo, "undo", false, "take a drain back") },
	},
	{
		name: "remove", summary: "remove a candidate, or a broker that has been drained", args: "NODE", changes: true, destroys: true, run: changeCluster("remove", "node"),
		help: nodeNames, example: "cluster remove 10.0.0.3:4170 --yes --nsqd-http-address=10.0.0.1:4151",
	},
	{
		name: "transfer", summary: "have another broker lead the cluster's map", args: "NODE", changes: true, run: changeCluster("transfer", "node"),
		help: nodeNames, example: "cluster transfer 10.0.0.2:4170 --nsqd-http-address=10.0.0.1:4151",
	},
}

// clusterAt returns what the first broker says that is in a cluster or wants to be, and its address.
func (c *call) clusterAt() (at string, v httpapi.Cluster, err error) {
	addresses := c.direct
	if len(addresses) == 0 {
		nodes, failures := c.fleet.Nodes(c.ctx)
		if len(nodes) == 0 && len(failures) > 0 {
			return "", v, missed(failures)
		}
		for _, n := range nodes {
			addresses = append(addresses, n.HTTPAddress())
		}
	}
	var failures []fleet.Failure
	for _, a := range addresses {
		if err := c.fleet.Get(c.ctx, a, "/cluster", &v); err != nil {
			failures = append(failures, fleet.Failure{Address: a, Err: err})
			continue
		}
		return a, v, nil
	}
	if len(failures) == 0 {
		return "", v, appkit.Missingf("the lookups know no broker")
	}
	return "", v, missed(failures)
}

// changeCluster returns what runs a verb whose arguments go into query arguments of those names.
func changeCluster(act string, names ...string) func(*call) error {
	return func(c *call) error {
		q := url.Values{}
		for i, name := range names {
			q.Set(name, c.args[i])
		}
		if act == "drain" && c.drain.undo {
			q.Set("undo", "true")
		}
		at, v, err := c.clusterAt()
		if err != nil {
			return err
		}
		switch act {
		case "replace":
			err = c.ask("have %s take the place of %s in the cluster %s", c.args[1], c.args[0], v.Name)
		case "remove":
			err = c.ask("remove %s from the cluster %s", c.args[0], v.Name)
		}
		if err != nil {
			return err
		}
		c.about = "that node"
		return c.do(nil, []step{{address: at, path: "/cluster/" + act + "?" + q.Encode(), answer: "done"}})
	}
}

// showCluster prints the cluster.
func showCluster(c *call) error {
	at, v, err := c.clusterAt()
	if err != nil {
		return err
	}
	return c.show(v, nil, func(w io.Writer) {
		fmt.Fprintf(w, "cluster %s %s, as %s knows it, which is %s there\n", v.Name, cmp.Or(v.ID, "(not founded)"), at, v.State)
		if v.Why != "" {
			fmt.Fprintln(w, v.Why)
		}
		if v.Preview {
			fmt.Fprintln(w, "a preview: docs/cluster.md says what is not there yet")
		}
		t := appkit.Table{Columns: []appkit.Column{{Name: "ADDRESS", Left: true}, {Name: "NAME", Left: true, Extra: true}, {Name: "FOLDER", Left: true}, {Name: "STATE", Left: true},
			{Name: "MAP", Left: true}, {Name: "LINK", Left: true}, {Name: "REPLICAS"}, {Name: "LAG", Extra: true}, {Name: "ZONE", Left: true, Extra: true}}}
		for _, n := range v.Nodes {
			t.Add(n.Address, n.Name, n.Folder[:min(8, len(n.Folder))], stateOf(&n), mapRole(&n), linkOf(&n), strconv.Itoa(n.Replicas), lagOf(&n), cmp.Or(n.Zone, "-"))
		}
		t.Write(w, c.env.Width())
	})
}

func stateOf(n *httpapi.ClusterNode) string {
	state := n.State
	if n.Draining {
		state += ", draining"
	}
	if n.Short {
		state += ", short of room"
	}
	return state
}

// mapRole says what a broker is to the cluster's map.
func mapRole(n *httpapi.ClusterNode) string {
	switch {
	case n.Leads:
		return "leads"
	case n.Votes:
		return "votes"
	case n.Replica > 0:
		return "follows"
	}
	return "-"
}

func linkOf(n *httpapi.ClusterNode) string {
	switch {
	case n.Self:
		return "self"
	case n.Linked:
		return "up"
	case n.State == "candidate":
		return "-"
	}
	return "down"
}

func lagOf(n *httpapi.ClusterNode) string {
	if n.Lag == nil {
		return "-"
	}
	return strconv.FormatUint(*n.Lag, 10)
}
