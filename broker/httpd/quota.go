package httpd

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/broker/quota"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// account returns that of a request's caller: by his token or certificate, or by his address where he has shown none.
func (a *api) account(req *http.Request) *quota.Account {
	if !a.cfg.Quotas.On() {
		return nil
	}
	if c := httpapi.CallerOf(req); c != nil && c.Kind != grant.Anonymous {
		return a.cfg.Quotas.Of(c.String(), time.Now())
	}
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		host = "" // a unix socket
	}
	return a.cfg.Quotas.Of(quota.Address(host), time.Now())
}

// metered answers 429 to a caller who is over his quota, before his request is read, and counts it otherwise.
func (a *api) metered(h httprouter.Handle) httprouter.Handle {
	if a.cfg.Quotas == nil {
		return h
	}
	return func(w http.ResponseWriter, req *http.Request, ps httprouter.Params) {
		account, now := a.account(req), time.Now()
		if wait := account.Spend(0, 0, 0, now); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			httpapi.RespondV1(w, http.StatusTooManyRequests, "QUOTA_EXCEEDED: try again in "+wait.Round(time.Millisecond).String())
			return
		}
		account.Spend(0, 0, 1, now)
		h(w, req, ps)
	}
}
