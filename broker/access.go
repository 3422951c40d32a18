package broker

import (
	"brokerd/protocol/httpapi"
)

// access lists the options that say who is let in.
func (o *Options) access() []Setting {
	return []Setting{
		{Name: "http-allow-host", Key: "http_allow_hosts", Value: &o.HTTPAllowHosts,
			Help: "name that HTTP on the loopback may be called by, besides this machine's and the broadcast address; *.NAME for those below, * for all"},
		{Name: "http-allow-origin", Key: "http_allow_origins", Value: &o.HTTPAllowOrigins,
			Help: "pages of other sites that may act here, as https://tools.example.com"},
		{Name: "insecure", Value: &o.Insecure, Help: "profiles and changes of options answer other machines too"},
	}
}

func (o *Options) checkAccess() error {
	for _, h := range o.HTTPAllowHosts {
		if httpapi.CheckHost(h) != nil {
			return refuse("http-allow-host", "must be a host name without a port, as broker.example.com, *.example.com or *", h)
		}
	}
	for _, origin := range o.HTTPAllowOrigins {
		if httpapi.CheckOrigin(origin) != nil {
			return refuse("http-allow-origin", "must be as https://tools.example.com, with a scheme and without a path", origin)
		}
	}
	return nil
}

// door is who is let in to HTTP.
func (s *Server) door(o *Options) httpapi.Door {
	return httpapi.Door{Hosts: append([]string{o.BroadcastAddress}, o.HTTPAllowHosts...), Origins: o.HTTPAllowOrigins, Insecure: o.Insecure}
}
