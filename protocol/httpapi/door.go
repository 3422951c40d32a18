package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
)

// Door is who is let in to a daemon's HTTP. Its zero value lets everybody in but pages of other sites that act, foreign names on the
// loopback, and other machines where a rule says Local.
type Door struct {
	Hosts    []string                           // names that this daemon is called by, besides the machine's own: a name, *.name for those below, * for all
	Origins  []string                           // of pages that may act here, as https://tools.example.com
	Guard    Guard                              // nil: nobody is asked who he is
	Refused  func(req *http.Request, err error) // told of each request that is refused as a stranger's; nil for nobody
	Audit    *Audit                             // where acts are written down; nil for nowhere
	Insecure bool                               // without a Guard, what is for this machine only is for all

	origins *http.CrossOriginProtection // set by open
	names   map[string]bool
	below   []string // with the dot
	anyName bool
}

// CheckHost reports what is wrong with a value of --http-allow-host.
func CheckHost(host string) error {
	name := strings.TrimPrefix(host, "*.")
	if host == "*" || name != "" && !strings.ContainsAny(name, "*/:@ \t") {
		return nil
	}
	return fmt.Errorf("must be a host name without a port, as broker.example.com, *.example.com or *, not %q", host)
}

// CheckOrigin reports what is wrong with a value of --http-allow-origin.
func CheckOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("must be as https://tools.example.com, with a scheme and without a path, not %q", origin)
	}
	return nil
}

// open makes the door ready. Hosts and origins that cannot be are left out: options are checked before.
func (d Door) open() *Door {
	d.origins = http.NewCrossOriginProtection()
	for _, o := range d.Origins {
		if CheckOrigin(o) == nil {
			_ = d.origins.AddTrustedOrigin(o) // it has just been found right
		}
	}
	d.names = map[string]bool{"localhost": true}
	d.below = []string{".localhost"}
	if name, err := os.Hostname(); err == nil {
		d.names[strings.ToLower(name)] = true
	}
	for _, h := range d.Hosts {
		switch h = strings.ToLower(strings.TrimSuffix(h, ".")); {
		case h == "*":
			d.anyName = true
		case strings.HasPrefix(h, "*."):
			d.below = append(d.below, h[1:])
		case h != "":
			d.names[h] = true
		}
	}
	return &d
}

// stranger returns why a request is refused before it is looked at, nil when it is not.
//
// A page of another site must not act here with what its visitor may do: browsers tell by Origin and Sec-Fetch-Site. And it must not
// make its own name mean 127.0.0.1, by which the browser would take it for ours: so on the loopback we answer to known names and
// to addresses only. A program is refused as well, since nothing tells it from such a page.
func (d *Door) stranger(req *http.Request) error {
	if onLoopback(req) && !d.knows(req.Host) {
		name := hostName(req.Host)
		return Errorf(http.StatusForbidden, "HOST_NOT_ALLOWED: this daemon is not known by the name %.100q; --http-allow-host=%.100s makes it known", name, name)
	}
	return d.crossing(req)
}

func (d *Door) crossing(req *http.Request) error {
	if d.origins.Check(req) == nil {
		return nil
	}
	origin := req.Header.Get("Origin")
	if CheckOrigin(origin) != nil { // it has none, or hides it
		return Errorf(http.StatusForbidden, "CROSS_ORIGIN: a page of another site, that does not say which, may not do this; --http-allow-origin lets those that do")
	}
	return Errorf(http.StatusForbidden, "CROSS_ORIGIN: a page of another site, %.100q, may not do this; --http-allow-origin=%.100s lets it", origin, origin)
}

// foreign returns why a request that only reads is refused, as a page of another site has made it; nil when none has.
func (d *Door) foreign(req *http.Request) error {
	acting := *req
	acting.Method = http.MethodPost // reading is always allowed else
	return d.crossing(&acting)
}

func onLoopback(req *http.Request) bool {
	local, ok := req.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.IP.IsLoopback()
}

// knows reports whether the daemon may be called by the name in a Host header. One without a name is no browser's.
func (d *Door) knows(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(hostName(host), "."))
	if name == "" || d.anyName || d.names[name] {
		return true
	}
	for _, suffix := range d.below {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// hostName returns a Host header without its port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
