package httpd

import (
	"encoding/json"
	"net/http"

	"github.com/julienschmidt/httprouter"
)

func (a *api) getConfig(_ http.ResponseWriter, _ *http.Request, ps httprouter.Params) (any, error) {
	return a.option(ps.ByName("opt"))
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
