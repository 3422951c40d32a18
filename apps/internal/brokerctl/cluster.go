package brokerctl

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"net/url"
	"slices"
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
		help: "Asks each broker that is named, or that the lookups know. The first one that is in a cluster, or else wants to be, says which brokers there are, and all\n" +
			"of its cluster say of the groups of replicated topics who leads, how many entries the replica lacks that lacks most (- where who leads did not\n" +
			"answer), and which replicas do not run and why. Those that wait to be let in, or for their cluster to be founded, are named. With --json it is\n" +
			"what the first one says. A preview: see docs/cluster.md.",
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

// clusterBrokers returns the brokers that were named, or else those that the lookups know; failures are of lookups.
func (c *call) clusterBrokers() (addresses []string, failures []fleet.Failure) {
	if len(c.direct) > 0 {
		return c.direct, nil
	}
	nodes, failures := c.fleet.Nodes(c.ctx)
	for _, n := range nodes {
		addresses = append(addresses, n.HTTPAddress())
	}
	return addresses, failures
}

// clusterAt returns what the first broker says that is in a cluster or wants to be, and its address.
func (c *call) clusterAt() (at string, v httpapi.Cluster, err error) {
	addresses, failures := c.clusterBrokers()
	for _, a := range addresses {
		if err := c.fleet.Get(c.ctx, a, "/cluster", &v); err != nil {
			failures = append(failures, fleet.Failure{Address: a, Err: err})
			continue
		}
		return a, v, nil
	}
	return "", v, noCluster(failures)
}

// noCluster is the error when no broker says that it is in a cluster.
func noCluster(failures []fleet.Failure) error {
	if len(failures) == 0 {
		return appkit.Missingf("the lookups know no broker")
	}
	return missed(failures)
}

// clusterViews asks all brokers at once. It returns the address of the first one that is in a cluster, and what it and the others of that cluster say; others
// are those that wait to be in one. When all do, one of them speaks for itself. That a broker is in none, and wants to be in none, is a failure only when all
// are.
func (c *call) clusterViews() (at string, views, others []httpapi.Cluster, failures []fleet.Failure, err error) {
	addresses, failures := c.clusterBrokers()
	var apart []fleet.Failure
	var waitAt []string
	for _, a := range fleet.Each(addresses, func(address string) (v httpapi.Cluster, err error) {
		err = c.fleet.Get(c.ctx, address, "/cluster", &v)
		return v, err
	}) {
		switch failure := (fleet.Failure{Address: a.Address, Err: a.Err}); {
		case a.Err != nil && fleet.HasNoRoute(a.Err):
			apart = append(apart, failure)
		case a.Err != nil:
			failures = append(failures, failure)
		case a.Value.ID == "":
			waitAt, others = append(waitAt, a.Address), append(others, a.Value)
		case len(views) == 0:
			at, views = a.Address, append(views, a.Value)
		case a.Value.ID == views[0].ID:
			views = append(views, a.Value)
		}
	}
	switch {
	case len(views) > 0:
	case len(others) > 0:
		at, views, others = waitAt[0], others[:1], others[1:]
	default:
		return "", nil, nil, nil, noCluster(append(failures, apart...))
	}
	return at, views, others, failures, nil
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
	at, views, others, failures, err := c.clusterViews()
	if err != nil {
		return err
	}
	v := &views[0]
	return c.show(v, failures, func(w io.Writer) {
		fmt.Fprintf(w, "cluster %s %s, as %s knows it, which is %s there\n", v.Name, cmp.Or(v.ID, "(not founded)"), at, v.State)
		if v.Why != "" {
			fmt.Fprintln(w, v.Why)
		}
		if v.Preview {
			fmt.Fprintln(w, "a preview: docs/cluster.md says what is not there yet")
		}
		if v.Open {
			fmt.Fprintln(w, "open: whoever can start a program on that machine can pass for a broker of the cluster; --cluster-secret-file asks for a secret")
		}
		t := appkit.Table{Columns: []appkit.Column{{Name: "ADDRESS", Left: true}, {Name: "NAME", Left: true, Extra: true}, {Name: "FOLDER", Left: true}, {Name: "STATE", Left: true},
			{Name: "MAP", Left: true}, {Name: "LINK", Left: true}, {Name: "REPLICAS"}, {Name: "LAG", Extra: true}, {Name: "ZONE", Left: true, Extra: true}}}
		for _, n := range v.Nodes {
			t.Add(n.Address, n.Name, n.Folder[:min(8, len(n.Folder))], stateOf(&n), mapRole(&n), linkOf(&n), strconv.Itoa(n.Replicas), entries(n.Lag), cmp.Or(n.Zone, "-"))
		}
		t.Write(w, c.env.Width())
		c.showGroups(w, views)
		for _, o := range others {
			fmt.Fprintln(w, appkit.Plain(fmt.Sprintf("%s is in no cluster yet, and wants to be in %s: %s%s", o.Address, o.Name, o.State, because(o.Why))))
		}
	})
}

// because is a reason behind what it is for, if there is one.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ", " + why
}

// showGroups prints the groups that have topics, with what each broker says of them; the first one's view says which groups there are.
func (c *call) showGroups(w io.Writer, views []httpapi.Cluster) {
	v := &views[0]
	if !slices.ContainsFunc(v.Groups, func(g httpapi.ClusterGroup) bool { return len(g.Topics) > 0 }) {
		return
	}
	t := appkit.Table{Columns: []appkit.Column{{Name: "GROUP"}, {Name: "TOPICS"}, {Name: "LEADER", Left: true}, {Name: "LAG"}}}
	var whys []string
	for _, g := range v.Groups {
		if len(g.Topics) == 0 {
			continue
		}
		leads := httpapi.ClusterGroup{Leader: g.Leader}
		for i := range views {
			for _, seen := range views[i].Groups {
				if seen.Number != g.Number {
					continue
				}
				whys = append(whys, whyNot(&seen, views[i].Address)...)
				if seen.Lag != nil && (leads.Lag == nil || seen.Term > leads.Term) { // only who leads knows, or led and does not know better yet
					leads = seen
				}
			}
		}
		t.Add(strconv.Itoa(g.Number), strconv.Itoa(len(g.Topics)), addressOf(v, leads.Leader), entries(leads.Lag))
	}
	fmt.Fprintln(w)
	t.Write(w, c.env.Width())
	for _, why := range whys {
		fmt.Fprintln(w, appkit.Plain(why))
	}
	if len(views) < len(v.Nodes) {
		fmt.Fprintf(w, "%d of %d brokers have answered: the others may know more\n", len(views), len(v.Nodes))
	}
}

// whyNot says what of a group is not as it should be, as the broker at an address has said.
func whyNot(g *httpapi.ClusterGroup, address string) (whys []string) {
	if g.Why != "" {
		whys = append(whys, fmt.Sprintf("group %d does not run at %s: %s", g.Number, address, g.Why))
	}
	for _, topic := range g.Topics {
		if topic.Waiting != "" {
			whys = append(whys, fmt.Sprintf("topic %s waits at %s: %s", topic.Name, address, topic.Waiting))
		}
	}
	return whys
}

// addressOf returns the address of a broker in the cluster, - when none is known.
func addressOf(v *httpapi.Cluster, folder string) string {
	for _, n := range v.Nodes {
		if n.Folder == folder {
			return n.Address
		}
	}
	return "-"
}

func stateOf(n *httpapi.ClusterNode) string {
	state := n.State
	if n.Draining {
		state += ", draining"
	}
	if n.Short {
		state += ", short of room"
	}
	if n.ClockApart && n.ClockOffset != nil {
		state += fmt.Sprintf(", clock %+.1f s", *n.ClockOffset/1000)
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

// entries returns how many entries lack, - where that is not known.
func entries(lag *uint64) string {
	if lag == nil {
		return "-"
	}
	return strconv.FormatUint(*lag, 10)
}
