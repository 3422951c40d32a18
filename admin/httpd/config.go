package httpd

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/access"
	"brokerd/admin/audit"
	"brokerd/protocol/httpapi"
)

// configured makes a handler answer only peers that may use /config.
func (a *api) configured(h func(w http.ResponseWriter, r *http.Request, key string) (any, error)) httpapi.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) (any, error) {
		if err := a.fromInside(r); err != nil {
			return nil, err
		}
		if r.Method == http.MethodPut {
			if err := a.ours(r, callerOf(r)); err != nil {
				return nil, err
			}
		}
		return h(w, r, ps.ByName("opt"))
	}
}

// fromInside refuses peers that may not use /config. The IPv6 loopback counts as 127.0.0.1.
func (a *api) fromInside(r *http.Request) error {
	if a.ConfigFrom == nil {
		return nil
	}
	peer, ok := access.Peer(r)
	if !ok {
		return refuse(http.StatusBadRequest, "INVALID_REMOTE_ADDR")
	}
	if peer == netip.IPv6Loopback() {
		peer = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !a.ConfigFrom.Contains(peer) {
		return refuse(http.StatusForbidden, "FORBIDDEN")
	}
	return nil
}

func (a *api) getConfig(_ http.ResponseWriter, _ *http.Request, key string) (any, error) {
	value, ok := a.Settings.Config(key)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "INVALID_OPTION")
	}
	return value, nil
}

// maxConfig is how many bytes of a new value are read.
const maxConfig = 1 << 20

// putConfig changes one of the two options that can change while the daemon runs, and answers with its new value.
func (a *api) putConfig(w http.ResponseWriter, r *http.Request, key string) (any, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxConfig))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long), err == nil && len(body) == 0:
		return nil, refuse(http.StatusRequestEntityTooLarge, "INVALID_VALUE")
	case err != nil:
		return nil, err
	}
	switch key {
	case "nsqlookupd_http_addresses":
		var addresses []string
		if err = json.Unmarshal(body, &addresses); err == nil {
			err = a.Settings.SetLookups(addresses)
		}
	case "log_level":
		err = a.Settings.SetLogLevel(string(body))
	default:
		return nil, refuse(http.StatusBadRequest, "INVALID_OPTION")
	}
	a.noteConfig(r, key+" = "+string(body[:min(len(body), 200)]), err)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "INVALID_VALUE")
	}
	return a.getConfig(w, r, key)
}

// noteConfig writes a change of settings down.
func (a *api) noteConfig(r *http.Request, detail string, err error) {
	act := audit.Act{Time: time.Now(), User: callerOf(r).User, Action: "config", Detail: detail, Result: "done"}
	act.From(r)
	if err != nil {
		act.Result, act.Error = "failed", err.Error()
	}
	a.Trail.Write(act)
}

// getSettings lists every setting.
func (a *api) getSettings(http.ResponseWriter, *http.Request, string) (any, error) {
	return a.Settings.List(), nil
}

// reload has the settings read anew, and answers with all of them.
func (a *api) reload(_ http.ResponseWriter, r *http.Request, _ string) (any, error) {
	err := httpapi.Reload(r, a.Settings.Reload)
	a.noteConfig(r, "read anew", err)
	if err != nil {
		return nil, err
	}
	return a.Settings.List(), nil
}
