package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"brokerd/broker/cluster"
	"brokerd/broker/httpd"
	"brokerd/broker/member"
	"brokerd/broker/metrics"
	"brokerd/broker/replica"
	"brokerd/broker/shard"
	"brokerd/broker/topic"
	"brokerd/diskqueue/journal"
	"brokerd/protocol"
	"brokerd/protocol/httpapi"
	"brokerd/protocol/tlsfiles"
	"brokerd/protocol/wholefile"
)

// cluster lists what a member of a cluster is told.
func (o *Options) cluster() []Setting {
	return []Setting{
		{Name: "cluster-name", Value: &o.ClusterName,
			Help: "cluster that this broker founds with its peers, or joins; empty: none. A preview: a lost replica of a topic cannot be replaced yet"},
		{Name: "cluster-listen", Value: &o.ClusterListen, Help: "other brokers of the cluster: host:port; beyond loopback only with a secret or TLS"},
		{Name: "cluster-address", Value: &o.ClusterAddress,
			Help: "host:port that they reach this broker by; empty: as --cluster-listen says, with --broadcast-address where that names no host"},
		{Name: "cluster-peers", Value: &o.ClusterPeers, Help: "--cluster-address of each broker that founds the cluster, this one among them: three at least, with commas between, or repeated; the same list on all"},
		{Name: "cluster-secret-file", Value: &o.ClusterSecretFile, Help: "file with a secret of 16 bytes or more that all brokers of the cluster know; it proves who they are and hides nothing"},
		{Name: "cluster-tls-cert", Value: &o.ClusterTLSCert, Help: "certificate file for links of the cluster, of the host in --cluster-address; with --cluster-tls-key and --cluster-tls-ca"},
		{Name: "cluster-tls-key", Value: &o.ClusterTLSKey, Help: "key file"},
		{Name: "cluster-tls-ca", Value: &o.ClusterTLSCA, Help: "authorities that certificates of the cluster's brokers are of"},
		{Name: "cluster-election-timeout", Value: &o.ClusterElection, Help: "time without a word of the leader after which another one is elected, up to twice as long; 500ms to 10s"},
		{Name: "cluster-wait", Value: &o.ClusterWait,
			Help: "longest time that a change of the cluster may take before it ends as not done or unknown, and that a publish to a replicated topic waits for a leader"},
		{Name: "cluster-fast-failover", Value: &o.ClusterFast,
			Help: "on, or off: a leader is missed at once when its links end and its host says that nobody listens there any more"},
	}
}

var clusterNames = regexp.MustCompile("^[A-Za-z0-9._-]{1,64}$")

// checkCluster checks what a member of a cluster is told.
func (o *Options) checkCluster() error {
	if err := oneOf("cluster-fast-failover", o.ClusterFast, "must be on or off", "on", "off"); err != nil {
		return err
	}
	if o.ClusterName == "" {
		if len(o.ClusterPeers) > 0 || o.ClusterAddress != "" || o.ClusterSecretFile != "" || o.ClusterTLSCert+o.ClusterTLSKey+o.ClusterTLSCA != "" {
			return refuse("cluster-name", "must be given when another option of the cluster is", "")
		}
		return nil
	}
	if !clusterNames.MatchString(o.ClusterName) {
		return refuse("cluster-name", "must be 1 to 64 letters, digits, dots, dashes or underscores", o.ClusterName)
	}
	host, _, err := net.SplitHostPort(o.ClusterListen)
	if err != nil {
		return refuse("cluster-listen", "must be host:port", o.ClusterListen)
	}
	given := 0
	for _, file := range []string{o.ClusterTLSCert, o.ClusterTLSKey, o.ClusterTLSCA} {
		if file != "" {
			given++
		}
	}
	if given != 0 && given != 3 {
		return refuse("cluster-tls-cert", "must be given together with --cluster-tls-key and --cluster-tls-ca", o.ClusterTLSCert)
	}
	if ip := net.ParseIP(host); given == 0 && o.ClusterSecretFile == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return refuse("cluster-listen", "must be on loopback without --cluster-secret-file or --cluster-tls-cert", o.ClusterListen)
	}
	return o.checkPeers()
}

// leastPeers is how many brokers found a cluster at least: a group has three replicas.
const leastPeers = 3

func (o *Options) checkPeers() error {
	if o.ClusterAddress != "" && !dialable(o.ClusterAddress) {
		return refuse("cluster-address", "must be host:port", o.ClusterAddress)
	}
	seen := map[string]bool{}
	for _, address := range o.ClusterPeers {
		if !dialable(address) || seen[address] {
			return refuse("cluster-peers", "must be addresses as host:port, each once", address)
		}
		seen[address] = true
	}
	if n := len(o.ClusterPeers); n < leastPeers {
		return refuse("cluster-peers", fmt.Sprintf("must name %d brokers at least, this one among them", leastPeers), strconv.Itoa(n)+" of them")
	}
	if err := within("cluster-election-timeout", o.ClusterElection, 500*time.Millisecond, 10*time.Second, "must be from 500ms to 10s"); err != nil {
		return err
	}
	return within("cluster-wait", o.ClusterWait, 100*time.Millisecond, time.Minute, "must be from 100ms to 1m")
}

func dialable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && host != "" && n > 0
}

// clusterAddress returns what other brokers dial.
func (o *Options) clusterAddress() string {
	if o.ClusterAddress != "" {
		return o.ClusterAddress
	}
	host, port, err := net.SplitHostPort(o.ClusterListen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort(o.BroadcastAddress, port)
	}
	return o.ClusterListen
}

// How many bytes a secret has at least, and its file at most.
const (
	leastSecret    = 16
	mostSecretFile = 64 << 10
)

// readSecret reads what all brokers of a cluster know, without the end of its line. Who else can read the file is as good as one of them.
func readSecret(path string) ([]byte, error) {
	text, state, err := wholefile.Regular(path, mostSecretFile)
	if err != nil {
		return nil, err
	}
	if state.Mode().Perm()&0o006 != 0 {
		return nil, fmt.Errorf("%q is open to everybody: take that right away (chmod o-rw)", path)
	}
	secret := bytes.TrimRight(text, "\r\n")
	if len(secret) < leastSecret {
		return nil, fmt.Errorf("%q has a secret of %d bytes, and %d are the least", path, len(secret), leastSecret)
	}
	return secret, nil
}

// clusterKeys reads what links of the cluster are secured with.
func (s *Server) clusterKeys() (secret []byte, links *tls.Config, err error) {
	o := &s.opts
	if o.ClusterSecretFile != "" {
		if secret, err = readSecret(o.ClusterSecretFile); err != nil {
			return nil, nil, fmt.Errorf("--cluster-secret-file: %w", err)
		}
	}
	if o.ClusterTLSCert == "" {
		return secret, nil, nil
	}
	roots, err := tlsfiles.Authorities(o.ClusterTLSCA)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to read --cluster-tls-ca: %w", err)
	}
	pair, err := tlsfiles.Load(o.ClusterTLSCert, o.ClusterTLSKey, s.log)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to load --cluster-tls-cert %q and --cluster-tls-key %q: %w", o.ClusterTLSCert, o.ClusterTLSKey, err)
	}
	links = &tls.Config{MinVersion: tls.VersionTLS13, ClientCAs: roots, RootCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	pair.Serve(links)
	pair.Present(links)
	return secret, links, nil
}

// newMember makes what the broker is in its cluster, when it is in one; found is what the log has of groups of replicas.
func (s *Server) newMember(found *replica.Recovery) error {
	if s.engine == nil {
		return nil
	}
	if s.opts.ClusterName == "" {
		_, kept := s.engine.Kept()
		return member.Unused(kept)
	}
	o := &s.opts
	var err error
	s.member, err = member.New(member.Options{Name: o.ClusterName, Node: o.BroadcastAddress, Zone: o.TopologyZone, Address: o.clusterAddress(), Peers: o.ClusterPeers,
		Folder: s.engine.Folder(), TLS: s.clusterTLS, Secret: s.clusterSecret, Dialer: s.around.dial, Election: o.ClusterElection, Wait: o.ClusterWait, Fast: o.ClusterFast == "on",
		Behind: s.around.sizes.behind, Piece: s.around.sizes.piece, Stand: s.around.stand,
		Store: s.engine, Journal: s.engine.GroupLog(), Recovery: found, Report: &s.engine.Opened().Log, Shard: s.newShard,
		Receive: s.receiveShard,
		Named:   func(name string, is bool) { s.registry.SetReplicated(name, is) }, Waits: func() map[string]string { return s.yielder.waits() }, Number: func(n int) { s.registry.SetNode(n) }, Log: s.log})
	if err != nil {
		return err
	}
	s.engine.KeepGroups(s.member)
	return nil
}

// newShard makes what the topics of a group of replicas are on this broker.
func (s *Server) newShard(group uint32, content []byte, at replica.Point, stop func(error)) (member.Shard, error) {
	made, err := shard.New(s.shardOptions(group, stop), content, at)
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (s *Server) shardOptions(group uint32, stop func(error)) shard.Options {
	return shard.Options{Number: group, Registry: s.registry, Segments: s.engine.GroupSegments(group), Room: s.around.sizes.room, Wait: s.opts.ClusterWait, Do: s.member.Do,
		Short: func() error { return s.member.Short(group) }, Leading: s.forward.Leading, Changed: s.registrar.Changed, Stop: stop, Log: s.log}
}

// receiveShard begins to take what the topics of a group are on another broker.
func (s *Server) receiveShard(group uint32) (member.Receiver, error) {
	r, err := shard.Receive(s.shardOptions(group, nil))
	if err != nil {
		return nil, err
	}
	return receiver{r}, nil
}

// receiver is a shard's, for a member.
type receiver struct{ *shard.Receiver }

func (r receiver) Shard(at replica.Point, stop func(error)) (member.Shard, error) {
	made, err := r.Receiver.Shard(at, stop)
	if err != nil {
		return nil, err
	}
	return made, nil
}

// elsewhere refuses topics that are made although they are replicated: their leader has them.
func (s *Server) elsewhere(name string) error {
	if protocol.IsEphemeral(name) { // those never are
		return nil
	}
	t, ok, err := s.member.Sure(name)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", topic.ErrElsewhere, err)
	case ok && t.Deleting:
		return fmt.Errorf("%w: it is being deleted", topic.ErrElsewhere)
	case ok:
		return topic.ErrElsewhere
	}
	return nil
}

// startMember begins what a member does.
func (s *Server) startMember(ctx context.Context) error {
	if s.member == nil {
		return nil
	}
	l, err := s.bind(ctx, "cluster-listen", s.opts.ClusterListen)
	if err != nil {
		return err
	}
	s.log.Info("CLUSTER: listening on " + l.Addr().String())
	if s.clusterSecret == nil && s.clusterTLS == nil {
		s.log.Warn("whoever can start a program on this machine can pass for a broker of the cluster, and read and change all that it holds; "+
			"--cluster-secret-file asks for a secret", "cluster", s.opts.ClusterName)
	}
	s.log.Warn("a preview: a lost replica of a replicated topic cannot be replaced yet", "cluster", s.opts.ClusterName)
	if err := s.engine.Need(journal.FeatureCluster); err != nil {
		l.Close()
		return err
	}
	return s.member.Start(l)
}

// clusterAPI is the member as HTTP sees it.
type clusterAPI struct{ m *member.Member }

// clusterOf returns that, nil when the broker is in no cluster.
func (s *Server) clusterOf() httpd.Cluster {
	if s.member == nil {
		return nil
	}
	return clusterAPI{s.member}
}

func (c clusterAPI) View(ctx context.Context) httpapi.Cluster { return c.m.View(ctx) }

func (c clusterAPI) Add(ctx context.Context, node string) error {
	return clusterError(c.m.Add(ctx, node))
}

func (c clusterAPI) Replace(ctx context.Context, old, with string) error {
	return clusterError(c.m.Replace(ctx, old, with))
}

func (c clusterAPI) Drain(ctx context.Context, node string, on bool) error {
	return clusterError(c.m.Drain(ctx, node, on))
}

func (c clusterAPI) Remove(ctx context.Context, node string) error {
	return clusterError(c.m.Remove(ctx, node))
}

func (c clusterAPI) LeadTo(ctx context.Context, node string) error {
	return clusterError(c.m.LeadTo(ctx, node))
}

func (c clusterAPI) CreateTopic(ctx context.Context, name string, atLeader bool) error {
	return clusterError(c.m.CreateTopic(ctx, name, atLeader))
}

func (c clusterAPI) DeleteTopic(ctx context.Context, name string) error {
	return clusterError(c.m.DeleteTopic(ctx, name))
}

func (c clusterAPI) Well(ctx context.Context) error { return c.m.Well(ctx) }

func (c clusterAPI) Followed() (list []httpapi.Topic) {
	for _, t := range followed(c.m) {
		out := httpapi.Topic{TopicName: t.Name, Paused: t.Paused, Channels: []httpapi.Channel{}}
		for _, in := range t.Channels {
			out.Channels = append(out.Channels, httpapi.Channel{ChannelName: in.Name, Paused: in.Paused})
		}
		list = append(list, out)
	}
	return list
}

// followed returns the replicated topics of which this broker has a replica.
func followed(m *member.Member) (list []topic.Listed) {
	for _, s := range m.Shards() {
		if s, ok := s.(*shard.Shard); ok {
			list = append(list, s.List()...)
		}
	}
	return list
}

func (c clusterAPI) DeletedLately(name string) bool { return c.m.DeletedLately(name) }

func (c clusterAPI) Replicated(name string) bool {
	_, ok, err := c.m.Topic(name)
	return ok && err == nil
}

func (c clusterAPI) MayBeReplicated(name string) bool {
	_, ok, err := c.m.Topic(name)
	return ok || err != nil
}

func (c clusterAPI) Deleting(name string) bool {
	t, ok, err := c.m.Topic(name)
	return ok && err == nil && t.Deleting
}

func (c clusterAPI) AtLeader(name string) bool { return c.m.AtLeader(name) }

func (c clusterAPI) Copy(name string) *topic.Copy {
	t, ok, err := c.m.Topic(name)
	if err != nil || !ok || t.Deleting {
		return nil
	}
	s, follows := c.m.Shard(uint32(t.Group)).(*shard.Shard)
	if !follows {
		return nil
	}
	return s.Copy(t.Number)
}

func (c clusterAPI) ReplicasOf(ctx context.Context, name string) (addresses []string) {
	v := c.m.View(ctx)
	for _, g := range v.Groups {
		if !slices.ContainsFunc(g.Topics, func(t httpapi.ClusterTopic) bool { return t.Name == name }) {
			continue
		}
		for _, n := range v.Nodes {
			if slices.Contains(g.Nodes, n.Folder) {
				addresses = append(addresses, n.Address)
			}
		}
	}
	return addresses
}

// clusterError says of an error what HTTP must know.
func clusterError(err error) error {
	switch {
	case errors.Is(err, cluster.ErrNoNode):
		return fmt.Errorf("%w%s", httpd.ErrClusterNoNode, tail(err, cluster.ErrNoNode))
	case errors.Is(err, cluster.ErrRefused):
		return fmt.Errorf("%w%s", httpd.ErrClusterRefused, tail(err, cluster.ErrRefused))
	case errors.Is(err, member.ErrUnknown):
		return fmt.Errorf("%w%s", httpd.ErrClusterUnknown, tail(err, member.ErrUnknown))
	}
	return err
}

// tail returns the text of an error behind that of the one that it is.
func tail(err, is error) string {
	text, begin := err.Error(), is.Error()
	if len(text) > len(begin) && text[:len(begin)] == begin {
		return text[len(begin):]
	}
	return ": " + text
}

// clusterFigures is what metrics are told of the cluster, nil when the broker is in none.
func (s *Server) clusterFigures() *metrics.Cluster {
	if s.member == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	f := s.member.Figures(ctx)
	c := &metrics.Cluster{State: f.State, Leads: f.Leads, Term: f.Term, Index: f.Index, Members: f.Members, Candidates: f.Candidates, Linked: f.Linked, ClockApart: f.ClockApart,
		Commits: f.Commits.Counts, CommitTime: f.Commits.Sum}
	for _, g := range f.Groups {
		c.Groups = append(c.Groups, metrics.Group{Number: g.Number, Runs: g.Runs, Leads: g.Leads, Term: g.Term, Applied: g.Applied, Lag: g.Lag,
			Uncommitted: uint64(g.Uncommitted), Active: g.Active, Elections: g.Elections})
	}
	c.Relays = metrics.Relays{Consumers: s.relay.Away(), InFlight: s.relay.InFlight(), Guests: s.relay.Guests()}
	c.Forwards = metrics.Forwards(s.forward.Counts())
	return c
}
