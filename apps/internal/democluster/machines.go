package democluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"brokerd/cmd/child"
	"brokerd/protocol/httpapi"
)

// Tests wait longer.
var (
	startWithin = 20 * time.Second
	stopWithin  = 30 * time.Second
)

const askWithin = 700 * time.Millisecond // one that is paused does not answer

// broker is one of the three.
type broker struct {
	*child.Broker
	label string // for people
	peer  string // address in the cluster
}

// machines are all daemons. Its methods are for one goroutine.
type machines struct {
	home    string // folder of all that is theirs
	lookups []*daemon
	brokers []*broker
	admin   *daemon
	client  *httpapi.HTTPClient
}

// daemon is a lookup or an admin.
type daemon struct {
	child.Process
	tcp, http string // addresses
}

const brokers = 3

// startMachines starts two lookups, three brokers that found a cluster, and an admin, in a new temporary folder, and returns once all answer. bin is
// the folder of the binaries; empty: where this program lies.
func startMachines(ctx context.Context, bin string) (m *machines, err error) {
	home, err := os.MkdirTemp("", "brokerd-cluster-")
	if err != nil {
		return nil, err
	}
	m = &machines{home: home, client: httpapi.NewHTTPClient(httpapi.ClientConfig{ConnectTimeout: askWithin, RequestTimeout: 10 * time.Second})}
	if err := m.start(ctx, bin); err != nil {
		return nil, errors.Join(err, m.discard())
	}
	return m, nil
}

func (m *machines) start(ctx context.Context, bin string) error {
	path := func(name string) string {
		if bin == "" {
			return child.Beside(name)
		}
		return filepath.Join(bin, name)
	}
	var flags, asks []string
	for i := range 2 {
		l, err := m.daemon(path("lookupd"), fmt.Sprint("lookup-", i+1), "--tcp-address", "--broadcast-address=127.0.0.1")
		if err != nil {
			return err
		}
		m.lookups = append(m.lookups, l)
		flags, asks = append(flags, "--lookupd-tcp-address="+l.tcp), append(asks, "--lookupd-http-address="+l.http)
	}
	var peers []string
	for range brokers {
		address, err := child.FreeAddress()
		if err != nil {
			return err
		}
		peers = append(peers, address)
	}
	flags = append(flags, "--broadcast-address=127.0.0.1", "--cluster-name=demo", "--cluster-peers="+strings.Join(peers, ","))
	for i, peer := range peers {
		b, err := child.NewBroker(path("brokerd"), m.home, append([]string{"--cluster-listen=" + peer}, flags...)...)
		if err != nil {
			return err
		}
		b.Apart = true
		m.brokers = append(m.brokers, &broker{b, fmt.Sprint("broker ", i+1), peer})
	}
	admin, err := m.daemon(path("admind"), "admin", "", asks...)
	if err != nil {
		return err
	}
	m.admin = admin
	for _, l := range m.lookups {
		if err := l.Start(ctx, startWithin); err != nil {
			return err
		}
	}
	for _, b := range m.brokers {
		if err := b.Start(ctx, startWithin); err != nil {
			return err
		}
	}
	return admin.Start(ctx, startWithin)
}

// daemon prepares one that has no folder; tcpFlag names the option of its TCP address, empty: it has none.
func (m *machines) daemon(path, name, tcpFlag string, args ...string) (*daemon, error) {
	d := &daemon{}
	var err error
	if d.http, err = child.FreeAddress(); err != nil {
		return nil, err
	}
	args = append(args, "--http-address="+d.http)
	if tcpFlag != "" {
		if d.tcp, err = child.FreeAddress(); err != nil {
			return nil, err
		}
		args = append(args, tcpFlag+"="+d.tcp)
	}
	log := filepath.Join(m.home, name+".log")
	d.Process = child.Process{Path: path, Args: args, Ping: "http://" + d.http + "/ping", Stdout: log, Log: log, Apart: true}
	return d, nil
}

// lookupsHTTP and tcp are addresses for clients.
func (m *machines) lookupsHTTP() (addresses []string) {
	for _, l := range m.lookups {
		addresses = append(addresses, l.http)
	}
	return addresses
}

func (m *machines) tcp() (addresses []string) {
	for _, b := range m.brokers {
		addresses = append(addresses, b.TCP)
	}
	return addresses
}

// listed reports whether every lookup lists every broker for the topic.
func (m *machines) listed(ctx context.Context) bool {
	for _, l := range m.lookups {
		var found httpapi.Lookup
		if m.client.Get(ctx, "http://"+l.http+"/lookup?topic="+topic, &found) != nil || len(found.Producers) < len(m.brokers) {
			return false
		}
	}
	return true
}

// standing is what there is at a moment.
type standing struct {
	brokers []said
	leader  int // index of the broker that leads the topic and runs, as the newest answer says; -1: none
	term    uint64
}

// said is what is known of one broker.
type said struct {
	running bool
	answers bool
	state   string // in the cluster; empty: it does not answer
	linked  int    // other members that it has links to
	members int    // that it knows of, itself among them
}

// look asks all brokers that run.
func (m *machines) look(ctx context.Context) standing {
	views := make([]httpapi.Cluster, len(m.brokers))
	st := standing{brokers: make([]said, len(m.brokers)), leader: -1}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var asked sync.WaitGroup
	for i, b := range m.brokers {
		if st.brokers[i].running = b.Running(); st.brokers[i].running {
			asked.Go(func() {
				st.brokers[i].answers = m.client.Get(ctx, "http://"+b.HTTP+"/cluster", &views[i]) == nil
			})
		}
	}
	asked.Wait()
	for i := range views {
		if !st.brokers[i].answers {
			continue
		}
		v, s := &views[i], &st.brokers[i]
		s.state = v.State
		for _, n := range v.Nodes {
			if n.State == "member" {
				s.members++
				if n.Linked && !n.Self {
					s.linked++
				}
			}
		}
		m.leads(v, &st)
	}
	return st
}

// leads takes what one broker says of who leads the topic, if nobody has said something newer.
func (m *machines) leads(v *httpapi.Cluster, st *standing) {
	for _, g := range v.Groups {
		for _, t := range g.Topics {
			if t.Name != topic || g.Leader == "" || g.Term < st.term {
				continue
			}
			st.leader, st.term = -1, g.Term
			for _, n := range v.Nodes {
				for i, b := range m.brokers {
					if n.Folder == g.Leader && n.Address == b.peer && n.State == "member" && st.brokers[i].running {
						st.leader = i
					}
				}
			}
		}
	}
}

// whole reports whether all three are members that have links to each other, and one leads.
func (s standing) whole() bool {
	for _, b := range s.brokers {
		if b.state != "member" || b.linked != brokers-1 {
			return false
		}
	}
	return s.leader >= 0
}

// founded reports whether all three are members of one cluster.
func (s standing) founded() bool {
	for _, b := range s.brokers {
		if b.state != "member" || b.members != brokers {
			return false
		}
	}
	return true
}

// post has a broker do something.
func (m *machines) post(ctx context.Context, b *broker, path string, args url.Values) error {
	if err := m.client.Post(ctx, "http://"+b.HTTP+path+"?"+args.Encode(), nil, nil); err != nil {
		return fmt.Errorf("%s at %s: %w", path, b.label, err)
	}
	return nil
}

// wipe empties the folder of a broker that does not run.
func (m *machines) wipe(b *broker) error {
	if err := os.RemoveAll(b.Data); err != nil {
		return err
	}
	return os.Mkdir(b.Data, 0o755)
}

// stop ends all daemons as an operator would, and returns an error if one did not leave in good order.
func (m *machines) stop() error {
	var wrong []error
	stop := func(label string, p *child.Process) {
		if p.Running() {
			if err := p.Stop(stopWithin); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", label, err))
			}
		}
	}
	stop("admin", &m.admin.Process)
	for _, b := range m.brokers {
		stop(b.label, &b.Process)
	}
	for _, l := range m.lookups {
		stop("lookup", &l.Process)
	}
	return errors.Join(wrong...)
}

// discard kills what still runs, and removes all folders. It may be called more than once.
func (m *machines) discard() error {
	for _, l := range m.lookups {
		l.Kill()
	}
	for _, b := range m.brokers {
		b.Kill()
	}
	if m.admin != nil {
		m.admin.Kill()
	}
	m.client.Close()
	return os.RemoveAll(m.home)
}

// clientLog is the file of what clients say.
func (m *machines) clientLog() string { return filepath.Join(m.home, "clients.log") }
