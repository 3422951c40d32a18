package httpd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/access"
	"brokerd/admin/audit"
	"brokerd/admin/views"
	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

type callerKey struct{}

// callerOf returns who a request is from that a rule has let in.
func callerOf(r *http.Request) access.Caller {
	c, _ := r.Context().Value(callerKey{}).(access.Caller) // nobody on public routes
	return c
}

// sightOf returns what a caller sees of the cluster.
func sightOf(c access.Caller) views.Sight {
	if c.All() {
		return views.Sight{}
	}
	return views.Sight{Name: c.Grants.String(), Topic: func(topic string) bool { return c.Grants.On(grant.Read, topic) }}
}

// admitting makes a handler answer only those whom the rule lets in, and writes down acts of others.
func (a *api) admitting(rule httpapi.Rule, h httprouter.Handle) httprouter.Handle {
	if rule.Public() {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request, ps httprouter.Params) {
		c, err := a.caller(w, r, rule, ps)
		if err != nil {
			a.refused(r, c.User, err)
			httpapi.RespondError(w, err)
			return
		}
		h(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)), ps)
	}
}

// caller returns who a request is from, and why the rule does not let him in.
func (a *api) caller(w http.ResponseWriter, r *http.Request, rule httpapi.Rule, ps httprouter.Params) (access.Caller, error) {
	c, err := a.Guard.Who(r)
	if err != nil {
		return c, a.signInError(w, err)
	}
	err = rule.Check(c.Grants, r, ps)
	var refused *httpapi.Error
	switch {
	case err == nil:
		return c, nil
	case errors.As(err, &refused) && refused.Code != http.StatusForbidden && refused.Code != http.StatusUnauthorized:
		return c, err
	case c.User == "" && a.Guard.Way() == access.Users:
		return c, refuse(http.StatusUnauthorized, "SIGN_IN_REQUIRED")
	}
	return c, refuse(http.StatusForbidden, "FORBIDDEN")
}

// may refuses an act on a topic that the request's body names.
func (d *deed) may(scope grant.Scope, topic string) error {
	if callerOf(d.r).Grants.On(scope, topic) {
		return nil
	}
	return refuse(http.StatusForbidden, "FORBIDDEN")
}

// signInError is the answer to a password that was not taken.
func (a *api) signInError(w http.ResponseWriter, err error) error {
	var many *access.TooMany
	switch {
	case errors.As(err, &many):
		w.Header().Set("Retry-After", strconv.Itoa(int(many.RetryAfter/time.Second)+1))
		return refuse(http.StatusTooManyRequests, many.Error())
	case errors.Is(err, access.ErrBadCredentials), errors.Is(err, access.ErrBadToken):
		return refuse(http.StatusUnauthorized, err.Error())
	case errors.Is(err, access.ErrNoForm):
		return refuse(http.StatusBadRequest, err.Error())
	}
	return err
}

// ours refuses a request that changes something when it does not carry its session's token. The Door has seen to it already that no
// other site's page sent it.
func (a *api) ours(r *http.Request, c access.Caller) error {
	if err := a.Guard.MayAct(r, c); err != nil {
		return refuse(http.StatusForbidden, err.Error())
	}
	return nil
}

// strangerRefused writes down an act that the Door refused.
func (a *api) strangerRefused(r *http.Request, err error) { a.refused(r, "", err) }

// refused writes an act down that was not let in.
func (a *api) refused(r *http.Request, user string, err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return
	}
	action := fmt.Sprintf("%.16s %.300s", strings.ToLower(r.Method), r.URL.Path) // a stranger's
	act := audit.Act{Time: time.Now(), User: user, Action: action, Result: "refused", Error: err.Error()}
	act.From(r)
	a.Trail.Write(act)
}
