package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	admin "brokerd/admin/metrics"
	broker "brokerd/broker/metrics"
	"brokerd/cmd/child"
	"brokerd/cmd/cmdtest"
	lookup "brokerd/lookup/metrics"
	"brokerd/protocol/exposition"
)

const deploy = "../../deploy"

// families returns every metric that a daemon exports under a name of its own.
func families() []*exposition.Family {
	return append(append(broker.Families(), lookup.Families()...), admin.Families()...)
}

// TestThePageOfMetricsIsWhatIsExported holds docs/METRICS.md to the families.
func TestThePageOfMetricsIsWhatIsExported(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Metrics

Each daemon answers ` + "`GET /metrics`" + ` in Prometheus' format, on its HTTP port. With a token file the scraper needs the
right to read. Units are seconds and bytes; counters begin at 0 with the process. This page is made of the code. A
dashboard for Grafana and alert rules are in the folder ` + "`deploy`" + ` of the source.

A broker tells as many topics one by one as ` + "`--metrics-max-topics`" + ` says, with their channels. All others are one sum,
with empty labels: its counters never fall while topics come and go. A topic that is in the sum stays there until it is
deleted. Nothing is told of single connections: ` + "`GET /stats`" + ` does that.

Beside these each daemon has what Prometheus' library tells of a process (` + "`process_*`" + `: memory, processor, descriptors,
start) and of Go's runtime (` + "`go_*`" + `: goroutines, heap, collections).
`)
	for _, d := range []struct {
		name     string
		families []*exposition.Family
	}{{"brokerd", broker.Families()}, {"lookupd", lookup.Families()}, {"admind", admin.Families()}} {
		fmt.Fprintf(&b, "\n## %s\n\n%s", d.name, exposition.Table(d.families))
	}
	fmt.Fprintf(&b, "\nThe bounds of the histograms are %s.\n", strings.Join(broker.Bounds(), ", "))
	cmdtest.Document(t, "docs/METRICS.md", b.Bytes())
}

// names are metrics in a text, as those of a dashboard or a rule.
var names = regexp.MustCompile(`\b(brokerd|lookupd|admind|process|go)_[a-z0-9_]+`)

// TestDashboardAndRulesNameWhatThereIs: each metric in deploy/ is one that a daemon exports, and each panel asks for one.
func TestDashboardAndRulesNameWhatThereIs(t *testing.T) {
	known := map[string]bool{}
	for _, f := range families() {
		known[f.Name] = true
		if f.Kind == exposition.Histogram {
			known[f.Name+"_bucket"], known[f.Name+"_sum"], known[f.Name+"_count"] = true, true, true
		}
	}
	b := newBroker(t, "brokerd", "brokerd", t.TempDir())
	b.Start(t)
	for line := range strings.Lines(scrape(t, b)) {
		if name, isType := strings.CutPrefix(line, "# TYPE "); isType && !strings.HasPrefix(name, "brokerd_") {
			known[strings.Fields(name)[0]] = true
		}
	}
	for _, file := range []string{"grafana/brokerd.json", "prometheus/brokerd.rules.yml", "prometheus/brokerd.rules.test.yml"} {
		text, err := os.ReadFile(filepath.Join(deploy, file))
		if err != nil {
			t.Fatal(err)
		}
		found := names.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, name := range found {
			if !known[name] {
				t.Errorf("%s names %s, which no daemon exports", file, name)
			}
		}
	}
	var dashboard struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(filepath.Join(deploy, "grafana/brokerd.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if !names.MatchString(target.Expr) && !strings.Contains(target.Expr, "up{") {
				t.Errorf("the panel %q asks for no metric: %s", p.Title, target.Expr)
			}
		}
	}
}

// TestLookupsAndAdminsExportAllTheirFamilies, whose labels have no values only while nothing has happened.
func TestLookupsAndAdminsExportAllTheirFamilies(t *testing.T) {
	l := cmdtest.Lookup(t, "lookupd")
	cmdtest.Broker(t, "brokerd", []*cmdtest.Process{l})
	a := cmdtest.Admin(t, "admind", "--lookupd-http-address="+l.HTTP)
	cmdtest.Eventually(t, "admind has asked", 10*time.Second, func() bool { return ask(t, a, http.MethodGet, "/ready", "").status == http.StatusOK })
	absent := map[string]bool{"lookupd_refused_commands_total": true, // no refusal, no TLS
		"lookupd_certificate_start_timestamp_seconds": true, "lookupd_certificate_expiry_timestamp_seconds": true}
	for d, list := range map[*cmdtest.Process][]*exposition.Family{l: lookup.Families(), a: admin.Families()} {
		got := scrape(t, d)
		for _, f := range list {
			if !strings.Contains(got, "\n"+f.Name+" ") && !strings.Contains(got, "\n"+f.Name+"{") && !absent[f.Name] {
				t.Errorf("%s does not tell %s", d.Label, f.Name)
			}
			if strings.HasSuffix(f.Name, "_total") != (f.Kind == exposition.Counter) {
				t.Errorf("%s is a %s: counters, and only they, end in _total", f.Name, f.Kind)
			}
		}
	}
}

// prometheusTool returns the path of a program of Prometheus. The test is skipped, and says so, when it is not there.
func prometheusTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT RUN: %s is not on PATH; Debian has it in the package prometheus", name)
	}
	return path
}

// TestRulesAlertWhenTheyShould has promtool check the files and run the rules over made-up series.
func TestRulesAlertWhenTheyShould(t *testing.T) {
	tool := prometheusTool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "brokerd.rules.yml"}, {"check", "config", "prometheus.yml"}, {"test", "rules", "brokerd.rules.test.yml"},
	} {
		c := exec.CommandContext(t.Context(), tool, args...)
		c.Dir = filepath.Join(deploy, "prometheus")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", args, err, out)
		}
	}
}

// TestPrometheusScrapesAllDaemons: a real one, with the rules of deploy/, finds each daemon up and evaluates each rule without an error,
// and each panel's query is one that it understands.
func TestPrometheusScrapesAllDaemons(t *testing.T) {
	binary := prometheusTool(t, "prometheus")
	l := cmdtest.Lookup(t, "lookupd")
	b := cmdtest.Broker(t, "brokerd", []*cmdtest.Process{l})
	a := cmdtest.Admin(t, "admind", "--lookupd-http-address="+l.HTTP)
	b.Create(t, "t", "c")
	b.Publish(t, "t", "x")
	p := startPrometheus(t, binary, map[string]string{"brokerd": b.HTTP, "lookupd": l.HTTP, "admind": a.HTTP})
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health, LastError, ScrapePool string }
		}
	}
	cmdtest.Eventually(t, "all targets are up", 30*time.Second, func() bool {
		p.Get(t, "/api/v1/targets", &targets)
		up := 0
		for _, target := range targets.Data.ActiveTargets {
			if target.Health == "up" {
				up++
			}
		}
		return up == 3
	})
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	cmdtest.Eventually(t, "all rules are evaluated", 30*time.Second, func() bool {
		p.Get(t, "/api/v1/rules", &rules)
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return false
				}
			}
		}
		return len(rules.Data.Groups) > 0
	})
	for _, g := range rules.Data.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" {
				t.Errorf("the rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	for query, want := range map[string]string{
		`brokerd_topic_messages_total{topic="t"}`: "1", `brokerd_channel_waiting_messages{topic="t",channel="c"}`: "1",
		`lookupd_brokers{state="active"}`: "1", `admind_brokers{state="healthy"}`: "1", "brokerd_lookup_connected": "1",
	} {
		cmdtest.Eventually(t, query+" is "+want, 20*time.Second, func() bool { return p.value(t, query) == want })
	}
}

// prometheus is a Prometheus that runs.
type prometheus struct{ *cmdtest.Process }

// startPrometheus starts one that scrapes the addresses, by job, each second, with the rules of deploy/.
func startPrometheus(t *testing.T, binary string, jobs map[string]string) prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(deploy, "prometheus", "brokerd.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config strings.Builder
	fmt.Fprintf(&config, "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n", rules)
	for job, address := range jobs {
		fmt.Fprintf(&config, "- {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, address)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	address, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	var log bytes.Buffer
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
		if t.Failed() {
			t.Logf("Prometheus says:\n%s", &log)
		}
	})
	p := prometheus{cmdtest.Remote(t, "prometheus", address)}
	cmdtest.Eventually(t, "Prometheus is ready", 30*time.Second, func() bool { return p.Ask(t, "/api/v1/status/config", nil) == nil })
	return p
}

// value returns the value of the only series that a query gives, empty when there is none.
func (p prometheus) value(t *testing.T, query string) string {
	t.Helper()
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	p.Get(t, "/api/v1/query?query="+strings.NewReplacer("{", "%7B", "}", "%7D", `"`, "%22").Replace(query), &answer)
	if len(answer.Data.Result) != 1 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}
