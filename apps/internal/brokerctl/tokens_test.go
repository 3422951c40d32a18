package brokerctl

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"brokerd/apps/appkit"
	"brokerd/protocol/grant"
)

// TestTokenVerbs: a token is printed once and then known to a daemon that reads the file; it is listed without its secret, and goes.
func TestTokenVerbs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	code, out, errs := runTool(t, "token", "add", path, "orders-app", "publish:orders.*", "consume:x", "--expires=1h")
	token := strings.TrimSpace(out)
	if code != 0 || !grant.Looks(token) {
		t.Fatalf("exit %d: %s %s", code, out, errs)
	}
	if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), token) {
		t.Errorf("the file holds the token: %s %v", text, err)
	}
	if code, out, _ := runTool(t, "token", "list", path); code != 0 || !strings.Contains(out, "publish:orders.* consume:x") || strings.Contains(out, token) {
		t.Errorf("exit %d: %s", code, out)
	}
	for name, test := range map[string]struct {
		code int
		args []string
	}{
		"twice": {1, []string{"add", path, "orders-app", "read"}}, "no such scope": {2, []string{"add", path, "b", "write"}},
		"no grant": {2, []string{"add", path, "b"}}, "a bad id": {2, []string{"add", path, "a b", "read"}}, "no id": {2, []string{"add", path, "", "read"}},
		"none of that id": {3, []string{"remove", path, "nobody"}}, "no file": {1, []string{"list", path + "-none"}},
	} {
		if code, out, errs := runTool(t, append([]string{"token"}, test.args...)...); code != test.code || errs == "" {
			t.Errorf("%s: exit %d, %s %s", name, code, out, errs)
		}
	}
	if code, _, errs := runTool(t, "token", "remove", path, "orders-app"); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if list, err := grant.List(path); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func runTool(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	got := say(t, t.TempDir(), nil, args...)
	return got.code, got.out, got.errors
}

// TestEveryVerbHasJSON: whoever scripts brokerctl gets JSON of each verb, but of those that only write a manual or run a program of their own.
func TestEveryVerbHasJSON(t *testing.T) {
	without := map[string]string{
		"man": "it writes files for packages", "demo": "it is a view for people", "doomed-consumer": "it is the demo's",
		"demo-cluster": "it is a view for people",
	}
	seen := map[string]bool{}
	var walk func(path string, c appkit.Command)
	walk = func(path string, c appkit.Command) {
		if len(c.Sub) > 0 {
			for _, sub := range c.Sub {
				walk(strings.TrimSpace(path+" "+sub.Name), sub)
			}
			return
		}
		seen[c.Name] = true
		flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
		c.Setup(flags)
		_, excused := without[c.Name]
		if has := flags.Lookup("json") != nil || c.Progress; has == excused {
			t.Errorf("%s: --json is there: %v, excused: %v", path, has, excused)
		}
	}
	for _, c := range New().Sub {
		walk(c.Name, c)
	}
	for name := range without {
		if !seen[name] {
			t.Errorf("there is no verb %s", name)
		}
	}
}

// TestJSONOfVerbsThatAskNoDaemon: links, completion, contexts and tokens.
func TestJSONOfVerbsThatAskNoDaemon(t *testing.T) {
	config, dir := t.TempDir(), t.TempDir()
	ask := func(into any, args ...string) {
		t.Helper()
		got := say(t, config, nil, append(args, "--json")...)
		if err := json.Unmarshal([]byte(got.out), into); err != nil || got.code != 0 {
			t.Errorf("%q: exit %d, %v: %s %s", args, got.code, err, got.out, got.errors)
		}
	}
	var links []link
	if ask(&links, "links", dir); len(links) != 6 || filepath.Base(links[0].Path) != "nsq_stat" {
		t.Errorf("links %+v", links)
	}
	var completion struct{ Shell, Script string }
	if ask(&completion, "completion", "bash"); completion.Shell != "bash" || !strings.Contains(completion.Script, "brokerctl") {
		t.Errorf("completion %.100v", completion)
	}
	var row contextRow
	if ask(&row, "context", "add", "prod", "--lookupd-http-address=10.0.0.5:4161"); row.Name != "prod" || !row.InUse || row.Values["lookupd-http-address"][0] != "10.0.0.5:4161" {
		t.Errorf("context %+v", row)
	}
	if ask(&row, "context", "use", "prod"); row.Name != "prod" || !row.InUse {
		t.Errorf("context %+v", row)
	}
	var gone removed
	if ask(&gone, "context", "remove", "prod"); gone != (removed{"prod", true}) {
		t.Errorf("removed %+v", gone)
	}
	var made tokenRow
	file := filepath.Join(dir, "tokens")
	if ask(&made, "token", "add", file, "app", "read"); made.Name != "app" || made.Grants != "read:*" || !grant.Looks(made.Token) {
		t.Errorf("token %+v", made)
	}
	if ask(&gone, "token", "remove", file, "app"); gone != (removed{"app", true}) {
		t.Errorf("removed %+v", gone)
	}
}
