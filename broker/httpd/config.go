package httpd

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/julienschmidt/httprouter"

	"brokerd/protocol/httpapi"
)

func (a *api) getConfig(_ http.ResponseWriter, _ *http.Request, ps httprouter.Params) (any, error) {
	if ps.ByName("opt") == "drain" {
		return a.drainState(), nil
	}
	return a.option(ps.ByName("opt"))
}

// drainState is how far a drain is; with an empty state when there is none.
func (a *api) drainState() httpapi.Drain {
	state, _ := a.cfg.Broker.Drain()
	return state
}

// putDrain begins a drain, or takes it back.
func (a *api) putDrain(req *http.Request, body []byte) (any, error) {
	q, err := httpapi.ParseQuery(req)
	if err != nil {
		return nil, err
	}
	empty, err := flagArg(q, "empty")
	if err != nil {
		return nil, err
	}
	stay, err := flagArg(q, "stay")
	if err != nil {
		return nil, err
	}
	switch string(bytes.TrimSpace(body)) {
	case "true":
		err = a.cfg.Broker.StartDrain(empty, stay)
	case "false":
		err = a.cfg.Broker.EndDrain()
	default:
		return nil, refuse(http.StatusBadRequest, "INVALID_VALUE: the body must be true or false")
	}
	if err != nil {
		return nil, refuse(http.StatusConflict, "TOO_LATE: "+err.Error())
	}
	return a.drainState(), nil
}

// option returns the value of an option.
func (a *api) option(name string) (any, error) {
	value, ok := a.cfg.Broker.Config(name)
	if !ok {
		return nil, refuse(http.StatusBadRequest, "INVALID_OPTION")
	}
	return value, nil
}

// putConfig changes one of the two options that can change while the broker runs.
func (a *api) putConfig(w http.ResponseWriter, req *http.Request, ps httprouter.Params) (any, error) {
	s := a.scratch.Get().(*scratch)
	defer a.release(s)
	body, err := s.read(a.moving(w, req, s, a.cfg.MaxMsgSize), a.cfg.MaxMsgSize)
	switch {
	case err != nil:
		return nil, err
	case len(body) == 0 || int64(len(body)) > a.cfg.MaxMsgSize:
		return nil, refuse(http.StatusRequestEntityTooLarge, "INVALID_VALUE")
	}
	name := ps.ByName("opt")
	switch name {
	case "nsqlookupd_tcp_addresses":
		var addresses []string
		if err = json.Unmarshal(body, &addresses); err == nil {
			err = a.cfg.Broker.SetLookupdAddresses(addresses)
		}
	case "drain":
		return a.putDrain(req, body)
	case "log_level":
		err = a.cfg.Broker.SetLogLevel(string(body))
	default:
		return nil, refuse(http.StatusBadRequest, "INVALID_OPTION")
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "INVALID_VALUE")
	}
	return a.option(name)
}

// getSettings lists every setting.
func (a *api) getSettings(http.ResponseWriter, *http.Request, httprouter.Params) (any, error) {
	return a.cfg.Broker.Settings(), nil
}

// reload has the settings read anew, and answers with all of them.
func (a *api) reload(_ http.ResponseWriter, req *http.Request, _ httprouter.Params) (any, error) {
	if err := httpapi.Reload(req, a.cfg.Broker.Reload); err != nil {
		return nil, err
	}
	return a.cfg.Broker.Settings(), nil
}
