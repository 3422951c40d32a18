package httpd

import (
	"net/url"
	"time"
)

// Graphite is where nsqadmin's plots come from.
type Graphite struct {
	URL           *url.URL // nil for none
	Proxied       bool     // pages get plots through us
	Prefix        string
	CounterFormat string
	GaugeFormat   string
	Interval      time.Duration
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
