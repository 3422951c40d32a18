package httpd

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/julienschmidt/httprouter"

	"brokerd/admin/access"
	"brokerd/admin/audit"
	"brokerd/admin/history"
	"brokerd/protocol/grant"
	"brokerd/protocol/release"
)

// session is what a page needs to know before anything else.
type session struct {
	Version    string          `json:"version"` // of NSQ
	Release    release.Build   `json:"release"`
	BasePath   string          `json:"base_path"`
	SignIn     access.Way      `json:"sign_in"`
	User       string          `json:"user"`
	Role       string          `json:"role"` // the most that he may on any topic
	CSRF       string          `json:"csrf"`
	MustSignIn bool            `json:"must_sign_in"`
	Warnings   []string        `json:"warnings"`
	Mode       string          `json:"mode"`
	Lookups    []string        `json:"lookups"`
	RefreshMS  int64           `json:"refresh_ms"`
	Windows    []window        `json:"windows"`
	Graphite   *graphiteToPage `json:"graphite"`
	Hostname   string          `json:"hostname"`
	Now        int64           `json:"now"`

	// Patterns of the topics that he may change, publish to, see, and read the messages of; and whether he may do what belongs to no topic.
	Manages   []string `json:"manages"`
	Publishes []string `json:"publishes"`
	Sees      []string `json:"sees"`
	Reads     []string `json:"reads"`
	Runs      bool     `json:"runs"`
	Tokens    bool     `json:"tokens"` // one will do in the place of a password
}

type window struct {
	Name   string `json:"name"`
	StepMS int64  `json:"step_ms"`
	Points int    `json:"points"`
}

// sessionOf says what c's page needs. Who has not signed in learns nothing of the cluster.
func (a *api) sessionOf(c access.Caller) session {
	s := session{
		Version: a.Version, Release: release.This(), BasePath: a.BasePath + "/", SignIn: a.Guard.Way(), User: c.User, Role: c.Role().String(), CSRF: c.Token,
		Manages: c.Grants.Patterns(grant.Manage), Publishes: c.Grants.Patterns(grant.Publish), Sees: c.Grants.Patterns(grant.Read), Reads: c.Grants.Patterns(grant.Consume),
		Runs: c.Grants.Everywhere(grant.Admin), Tokens: a.Guard.TakesTokens(), MustSignIn: c.Role() == access.None, Warnings: a.Warnings, Mode: "lookupd", Lookups: []string{},
		RefreshMS: a.Refresh.Milliseconds(), Graphite: a.Graphite.toPage(), Now: time.Now().UnixMilli(),
	}
	for _, w := range history.Windows {
		s.Windows = append(s.Windows, window{w.Name, w.Step.Milliseconds(), history.Points})
	}
	if s.Warnings == nil {
		s.Warnings = []string{}
	}
	if !a.Cluster.ByLookups() {
		s.Mode = "nsqd"
	}
	if c.Role() != access.None {
		s.Lookups, s.Hostname = append(s.Lookups, a.Cluster.Lookups()...), a.Hostname
	}
	return s
}

func (a *api) session(w http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	c, err := a.Guard.Who(r)
	if err != nil {
		return nil, a.signInError(w, err)
	}
	return a.sessionOf(c), nil
}

func (a *api) signIn(w http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	var body struct{ User, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 16<<10)).Decode(&body); err != nil {
		return nil, refuse(http.StatusBadRequest, "INVALID_BODY: "+err.Error())
	}
	c, err := a.Guard.SignIn(w, r, body.User, body.Password)
	act := audit.Act{Time: time.Now(), User: shown(body.User), Action: "sign_in", Result: "done"}
	act.From(r)
	if err != nil {
		act.Result, act.Error = "refused", err.Error()
		a.Trail.Write(act)
		return nil, a.signInError(w, err)
	}
	a.Trail.Write(act)
	return a.sessionOf(c), nil
}

// shown cuts a name that somebody tried: people type their password into the wrong field.
func shown(name string) string {
	if access.ValidUser(name) != nil {
		return "(no valid name)"
	}
	return name
}

func (a *api) signOut(w http.ResponseWriter, r *http.Request, _ httprouter.Params) (any, error) {
	c, err := a.Guard.Who(r)
	if err != nil {
		return nil, a.signInError(w, err)
	}
	if err := a.ours(r, c); err != nil {
		return nil, err
	}
	a.Guard.SignOut(w, r)
	left := access.Caller{}
	if a.Guard.Way() != access.Users {
		left = c
	}
	return a.sessionOf(left), nil
}
