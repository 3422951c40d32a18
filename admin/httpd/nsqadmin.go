package httpd

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/cluster"
	"brokerd/admin/compat"
)

// failed returns the answer to a question that no daemon answered.
func failed(err error) error { return refuse(http.StatusBadGateway, "UPSTREAM_ERROR: "+err.Error()) }

func (a *api) topics(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	args, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, err.Error())
	}
	if args.Get("inactive") == "true" {
		return a.inactive(r)
	}
	names, warnings, err := a.Cluster.TopicNames(r.Context())
	if err != nil {
		return nil, failed(err)
	}
	names = sees(r, names)
	return struct {
		Topics  []string `json:"topics"`
		Message string   `json:"message"`
	}{append([]string{}, names...), compat.Message(warnings)}, nil
}

// sees returns those of the topics that the caller may see.
func sees(r *http.Request, names []string) []string {
	sight := sightOf(callerOf(r))
	if sight.All() {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !sight.Sees(name) })
}

// inactive lists the topics that no broker can be found for, with their channels.
func (a *api) inactive(r *http.Request) (any, error) {
	answer := struct {
		Topics  map[string][]string `json:"topics"`
		Message string              `json:"message"`
	}{Topics: map[string][]string{}}
	if !a.Cluster.ByLookups() {
		return answer, nil
	}
	names, warnings, err := a.Cluster.TopicNames(r.Context())
	if err != nil {
		return nil, failed(err)
	}
	brokers, more, err := a.Cluster.Registered(r.Context())
	if err != nil {
		return nil, failed(err)
	}
	names = slices.DeleteFunc(sees(r, names), func(name string) bool {
		return slices.ContainsFunc(brokers, func(b *cluster.Registered) bool {
			hidden, has := b.Topics[name]
			return has && !hidden
		})
	})
	for i, channels := range a.Cluster.ChannelsOf(r.Context(), names) {
		answer.Topics[names[i]] = append([]string{}, channels...)
	}
	answer.Message = compat.Message(warnings, more)
	return answer, nil
}

// ask asks the brokers that may have a topic. The error is the answer.
func (a *api) ask(r *http.Request, q cluster.Query) ([]cluster.Answer, string, error) {
	p, err := a.Cluster.Producers(r.Context(), q.Topic)
	if err != nil {
		return nil, "", failed(err)
	}
	if !p.Known {
		return nil, "", refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
	}
	answers, warnings, err := cluster.Sift(a.Cluster.Ask(r.Context(), p.Nodes, q))
	if err != nil {
		return nil, "", failed(err)
	}
	return answers, compat.Message(p.Warnings, warnings), nil
}

func sourceOf(n *cluster.Node) compat.Source {
	return compat.Source{Node: n.ID, Hostname: n.Hostname, Zone: n.TopologyZone, Region: n.TopologyRegion, Now: time.Now()}
}

func (a *api) topic(_ http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	name := nameOf(ps, "topic")
	answers, message, err := a.ask(r, cluster.Query{Topic: name})
	if err != nil {
		return nil, err
	}
	nodes := []*compat.Topic{}
	for _, answer := range answers {
		for i := range answer.Stats.Topics {
			nodes = append(nodes, compat.OnNode(sourceOf(answer.Node), &answer.Stats.Topics[i]))
		}
	}
	if len(nodes) == 0 && !a.Cluster.ByLookups() {
		return nil, refuse(http.StatusNotFound, "TOPIC_NOT_FOUND")
	}
	return struct {
		*compat.Topic
		Message string `json:"message"`
	}{compat.SumTopics(name, nodes), message}, nil
}

func (a *api) channel(_ http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	topic, name := nameOf(ps, "topic"), nameOf(ps, "channel")
	answers, message, err := a.ask(r, cluster.Query{Topic: topic, Channel: name, Clients: true})
	if err != nil {
		return nil, err
	}
	var nodes []*compat.Channel
	for _, answer := range answers {
		for i := range answer.Stats.Topics {
			nodes = append(nodes, compat.OnNode(sourceOf(answer.Node), &answer.Stats.Topics[i]).Channels...)
		}
	}
	if len(nodes) == 0 {
		return nil, refuse(http.StatusNotFound, "CHANNEL_NOT_FOUND")
	}
	return struct {
		*compat.Channel
		Message string `json:"message"`
	}{compat.SumChannels(topic, name, nodes), message}, nil
}

func (a *api) nodes(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	answer := struct {
		Nodes   []compat.Node `json:"nodes"`
		Message string        `json:"message"`
	}{Nodes: []compat.Node{}}
	var highest [3]int
	add := func(n compat.Node) {
		if v := cluster.ParseVersion(n.Version); slices.Compare(v[:], highest[:]) > 0 {
			highest = v
		}
		answer.Nodes = append(answer.Nodes, n)
	}
	var warnings []error
	var err error
	if a.Cluster.ByLookups() {
		var brokers []*cluster.Registered
		brokers, warnings, err = a.Cluster.Registered(r.Context())
		for _, b := range brokers {
			add(registeredNode(b))
		}
	} else {
		var answers []cluster.Answer
		answers, warnings, err = a.Cluster.AskAll(r.Context(), cluster.Query{})
		for _, one := range answers {
			add(askedNode(one))
		}
	}
	if err != nil {
		return nil, failed(err)
	}
	sight := sightOf(callerOf(r))
	for i := range answer.Nodes {
		if !sight.All() {
			answer.Nodes[i].Topics = slices.DeleteFunc(answer.Nodes[i].Topics, func(t compat.NodeTopic) bool { return !sight.Sees(t.Topic) })
		}
		v := cluster.ParseVersion(answer.Nodes[i].Version)
		answer.Nodes[i].OutOfDate = slices.Compare(v[:], highest[:]) < 0
	}
	answer.Message = compat.Message(warnings)
	return answer, nil
}

// registeredNode is a broker that lookups tell.
func registeredNode(b *cluster.Registered) compat.Node {
	n := compat.Node{
		RemoteAddresses: b.Remotes, RemoteAddress: b.RemoteAddress, Hostname: b.Hostname, BroadcastAddress: b.BroadcastAddress,
		TCPPort: b.TCPPort, HTTPPort: b.HTTPPort, Version: b.Version, TopologyZone: b.TopologyZone, TopologyRegion: b.TopologyRegion,
		Topics: []compat.NodeTopic{},
	}
	for name, hidden := range b.Topics {
		n.Topics = append(n.Topics, compat.NodeTopic{Topic: name, Tombstoned: hidden})
	}
	slices.SortFunc(n.Topics, compat.NodeTopic.Compare)
	return n
}

// askedNode is a broker of a fixed list.
func askedNode(a cluster.Answer) compat.Node {
	p := a.Node.Producer
	n := compat.Node{
		Hostname: p.Hostname, BroadcastAddress: p.BroadcastAddress, TCPPort: p.TCPPort, HTTPPort: p.HTTPPort, Version: a.Stats.Version,
		TopologyZone: p.TopologyZone, TopologyRegion: p.TopologyRegion, Topics: []compat.NodeTopic{},
	}
	for _, t := range a.Stats.Topics {
		n.Topics = append(n.Topics, compat.NodeTopic{Topic: t.TopicName})
	}
	slices.SortFunc(n.Topics, compat.NodeTopic.Compare)
	return n
}

func (a *api) node(_ http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
	name := ps.ByName("node")
	n := a.Cluster.FindNode(r.Context(), name)
	if n == nil {
		return nil, refuse(http.StatusNotFound, "NODE_NOT_FOUND")
	}
	answers, warnings, err := cluster.Sift(a.Cluster.Ask(r.Context(), []*cluster.Node{n}, cluster.Query{Clients: true}))
	if err != nil {
		return nil, failed(err)
	}
	answer := struct {
		Node          string          `json:"node"`
		Topics        []*compat.Topic `json:"topics"`
		TotalMessages uint64          `json:"total_messages"`
		TotalClients  int             `json:"total_clients"`
		Message       string          `json:"message"`
	}{Node: name, Topics: []*compat.Topic{}, Message: compat.Message(warnings)}
	sight := sightOf(callerOf(r))
	for i := range answers[0].Stats.Topics {
		if !sight.Sees(answers[0].Stats.Topics[i].TopicName) {
			continue
		}
		t := compat.OnNode(sourceOf(n), &answers[0].Stats.Topics[i])
		answer.Topics = append(answer.Topics, t)
		answer.TotalMessages += t.MessageCount
		for _, c := range t.Channels {
			answer.TotalClients += c.ClientCount
		}
	}
	return answer, nil
}

// counter answers from the last round: it is asked every second, and is about all there is.
func (a *api) counter(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	answer := struct {
		Stats   map[string]compat.Counter `json:"stats"`
		Message string                    `json:"message"`
	}{Stats: map[string]compat.Counter{}}
	_, warnings, err := cluster.Sift(a.Cluster.Last(r.Context()))
	if err != nil {
		return nil, failed(err)
	}
	sight := sightOf(callerOf(r))
	for _, t := range a.Cluster.View().Topics {
		if !sight.Sees(t.Name) {
			continue
		}
		for _, c := range t.Channels {
			for _, on := range c.On {
				answer.Stats[t.Name+":"+c.Name+":"+on.Node.ID] = compat.Counter{Node: on.Node.ID, TopicName: t.Name,
					ChannelName: c.Name, MessageCount: on.MessageCount}
			}
		}
	}
	answer.Message = compat.Message(warnings)
	return answer, nil
}
