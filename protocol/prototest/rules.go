package prototest

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"brokerd/protocol/grant"
	"brokerd/protocol/httpapi"
)

// Guard is an httpapi.Guard that takes everybody for the same caller.
type Guard struct{ Now *grant.Caller }

// Caller returns it.
func (g *Guard) Caller(*http.Request) (*grant.Caller, error) { return g.Now, nil }

var varying = regexp.MustCompile(`[:*](\w+)`)

// CheckRules walks over all routes of a daemon whose Door has the guard: see CheckRoutes.
func CheckRules(t *testing.T, guard *Guard, router *httpapi.Router, public ...string) {
	t.Helper()
	CheckRoutes(t, router.Routes(), func(method, path string, scopes ...string) int {
		guard.Now = &grant.Caller{Kind: grant.Anonymous}
		if len(scopes) > 0 {
			guard.Now = caller(t, scopes)
		}
		w := httptest.NewRecorder()
		router.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code
	}, public...)
}

// CheckRoutes walks over all routes of a daemon. Without a grant each answers 401, but for those that are listed as public (METHOD PATH); with all
// scopes but those that it names 403; with one of them neither. ask sends a request of a caller with the scopes, or without any, and
// returns the status.
func CheckRoutes(t *testing.T, routes []httpapi.Route, ask func(method, path string, scopes ...string) int, public ...string) {
	t.Helper()
	if len(routes) == 0 {
		t.Fatal("there are no routes")
	}
	for _, route := range routes {
		name := route.Method + " " + route.Path
		path := varying.ReplaceAllString(route.Path, "$1") + "?topic=t&channel=c"
		refused := func(code int) bool { return code == 401 || code == 403 }
		if slices.Contains(public, name) {
			if got := ask(route.Method, path); refused(got) {
				t.Errorf("%s, which is public: %d", name, got)
			}
			continue
		}
		if got := ask(route.Method, path); got != 401 {
			t.Errorf("%s without a grant: %d, want 401", name, got)
		}
		needs := strings.Split(route.Rule.Scope().String(), ",")
		if got := ask(route.Method, path, without(needs)...); got != 403 {
			t.Errorf("%s with all scopes but %s: %d, want 403", name, needs, got)
		}
		if strings.HasPrefix(route.Path, "/debug/") {
			continue // profiles take their time
		}
		for _, scope := range needs {
			if got := ask(route.Method, path, scope); refused(got) {
				t.Errorf("%s with scope %s: %d", name, scope, got)
			}
		}
	}
}

// without returns all scopes but those, and but admin, which stands for all.
func without(these []string) []string {
	all := []string{"read", "publish", "consume", "manage"}
	return slices.DeleteFunc(all, func(s string) bool { return slices.Contains(these, s) })
}

func caller(t *testing.T, scopes []string) *grant.Caller {
	t.Helper()
	g, err := grant.ParseGrant(strings.Join(scopes, ","))
	if err != nil {
		t.Fatal(err)
	}
	return &grant.Caller{Kind: grant.Token, Name: "test", Grants: grant.Grants{g}}
}
