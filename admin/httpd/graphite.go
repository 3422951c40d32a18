package httpd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/protocol/httpapi"
)

// Graphite is where nsqadmin's plots come from.
type Graphite struct {
	URL           *url.URL // nil for none
	Proxied       bool     // pages get plots through us
	Prefix        string
	CounterFormat string
	GaugeFormat   string
	Interval      time.Duration
	UserHeader    string // says who it is to us, and is no business of Graphite's
	Transport     http.RoundTripper
	Timeout       time.Duration
}

// graphiteToPage is what pages are told of it.
type graphiteToPage struct {
	URL           string `json:"url"` // empty when it is proxied
	Proxied       bool   `json:"proxied"`
	Prefix        string `json:"prefix"`
	CounterFormat string `json:"counter_format"`
	GaugeFormat   string `json:"gauge_format"`
	IntervalS     int64  `json:"interval_s"`
}

func (g Graphite) toPage() *graphiteToPage {
	if g.URL == nil {
		return nil
	}
	p := &graphiteToPage{Proxied: g.Proxied, Prefix: g.Prefix, CounterFormat: g.CounterFormat, GaugeFormat: g.GaugeFormat,
		IntervalS: int64(g.Interval / time.Second)}
	if !g.Proxied {
		bare := *g.URL
		bare.User = nil // a password in it is for us, not for browsers
		p.URL = bare.String()
	}
	return p
}

// origin is where pages load plots from by themselves, "" for nowhere.
func (g Graphite) origin() string {
	if g.URL == nil || g.Proxied {
		return ""
	}
	return g.URL.Scheme + "://" + g.URL.Host
}

// plot forwards GET /render to Graphite, for browsers that cannot reach it.
func (a *api) plot() httprouter.Handle {
	target := *a.Graphite.URL
	proxy := &httputil.ReverseProxy{
		Transport: a.Graphite.Transport,
		ErrorLog:  slog.NewLogLogger(a.Log.Handler(), slog.LevelWarn),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = target.Scheme, target.Host, target.Host
			p.Out.URL.Path, p.Out.URL.RawPath = target.JoinPath("render").Path, ""
			for _, name := range []string{"Cookie", "Authorization", "X-Csrf-Token", a.Graphite.UserHeader} {
				p.Out.Header.Del(name) // they are for us
			}
			if target.User != nil {
				password, _ := target.User.Password() // a name may have none
				p.Out.SetBasicAuth(target.User.Username(), password)
			}
		},
	}
	proxy.ModifyResponse = func(resp *http.Response) error { // it comes from this address, and is not to be taken for a page of ours
		resp.Header.Del("Set-Cookie")
		resp.Header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
		return nil
	}
	return func(w http.ResponseWriter, r *http.Request, _ httprouter.Params) { proxy.ServeHTTP(w, r) }
}

// rate answers GET /api/graphite: the first point of a target, a second.
func (a *api) rate(_ http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	q, err := httpapi.ParseQuery(r)
	if err != nil {
		return nil, err
	}
	if q.Get("metric") != "rate" {
		return nil, refuse(http.StatusBadRequest, "INVALID_ARG_METRIC")
	}
	target, ok := q.Lookup("target")
	switch {
	case !ok:
		return nil, refuse(http.StatusBadRequest, "INVALID_ARG_TARGET")
	case a.Graphite.URL == nil:
		return nil, refuse(http.StatusNotFound, "NO_GRAPHITE")
	}
	rate, err := a.Graphite.rate(r.Context(), target)
	if err != nil {
		return nil, failed(err)
	}
	return map[string]string{"rate": rate}, nil
}

// rate asks for the last whole interval of a target. It is N/A when there is nothing, or less than nothing.
func (g Graphite) rate(ctx context.Context, target string) (string, error) {
	seconds := int64(g.Interval / time.Second)
	u := g.URL.JoinPath("render")
	u.RawQuery = url.Values{
		"format": {"json"}, "target": {target},
		"from": {fmt.Sprintf("-%dsec", 2*seconds)}, "until": {fmt.Sprintf("-%dsec", seconds)},
	}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Transport: g.Transport, Timeout: g.Timeout}).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() // its error is of no use after the body was read
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("graphite answered %s", resp.Status)
	}
	var series []struct {
		Points [][]*float64 `json:"datapoints"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxConfig)).Decode(&series); err != nil {
		return "", fmt.Errorf("graphite's answer: %w", err)
	}
	if len(series) == 0 || len(series[0].Points) == 0 || len(series[0].Points[0]) == 0 || series[0].Points[0][0] == nil {
		return "N/A", nil
	}
	rate := *series[0].Points[0][0] / float64(seconds)
	if rate < 0 {
		return "N/A", nil
	}
	return strconv.FormatFloat(rate, 'f', 2, 64), nil
}
