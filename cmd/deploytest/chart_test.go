package deploytest

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

var update = flag.Bool("update", false, "write deploy/kubernetes anew, of the chart")

const chart = deploy + "/helm/brokerd"

// template renders the chart as release nsq.
func template(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, tool(t, "helm"), append([]string{"template", "nsq", chart, "--kube-version=1.30.0"}, args...)...)
}

// kinds returns what is rendered, by kind and name.
func kinds(text string) (list []string) {
	for _, m := range regexp.MustCompile(`(?m)^kind: (\w+)\nmetadata:\n  name: (\S+)`).FindAllStringSubmatch(text, -1) {
		list = append(list, m[1]+" "+m[2])
	}
	slices.Sort(list)
	return list
}

// variants are ways to use the chart; each is rendered, and validated by what knows Kubernetes' schemas.
var variants = map[string][]string{
	"as it is":      nil,
	"NSQ's values":  {"-f", "testdata/nsq-values.yaml"},
	"brokers alone": {"--set", "nsqlookupd.enabled=false,nsqadmin.enabled=false"},
	"everything": {"--set", "metrics.enabled=true,nsqadmin.ingress.enabled=true,nsqadmin.ingress.host=nsq.example.com,nsqadmin.service.type=NodePort," +
		"nsqadmin.service.nodePort=30171,nsqadmin.basePath=/nsq,nsqd.resources.limits.memory=1Gi,nsqd.podAnnotations.a=b,nsqd.extraArgs={--durability=fsync}"},
	"without a volume":    {"--set", "nsqd.persistence.enabled=false"},
	"admind's own volume": {"--set", "nsqadmin.persistence.enabled=true,nsqadmin.persistence.storageClass=fast"},
	"own security":        {"--set", "nsqd.podSecurityContext.runAsUser=1000,nsqd.podSecurityContext.fsGroup=1000"},
	"a class, no budget":  {"--set", "nsqd.persistence.storageClass=fast,nsqd.maxUnavailable=null"},
	"headless, no lookup": {"--set", "nsqd.service.type=headless,nsqlookupd.enabled=false"},
	"a cluster":           {"--set", "nsqd.cluster.name=prod,nsqd.cluster.secretName=brokers"},
}

// TestChartRenders in each variant, and without what a variant leaves out.
func TestChartRenders(t *testing.T) {
	run(t, tool(t, "helm"), "lint", "--strict", "--kube-version=1.30.0", chart)
	all := []string{"Deployment nsq-nsqadmin", "PodDisruptionBudget nsq-nsqd", "Service nsq-nsqadmin", "Service nsq-nsqd", "Service nsq-nsqd-headless",
		"Service nsq-nsqlookupd", "StatefulSet nsq-nsqd", "StatefulSet nsq-nsqlookupd"}
	for name, args := range variants {
		got := kinds(template(t, args...))
		switch name {
		case "as it is", "without a volume", "own security":
			if !slices.Equal(got, all) {
				t.Errorf("%s: %q", name, got)
			}
		case "brokers alone":
			if slices.ContainsFunc(got, func(s string) bool { return !strings.Contains(s, "nsqd") }) || len(got) != 4 {
				t.Errorf("%s: %q", name, got)
			}
		case "admind's own volume":
			if !slices.Contains(got, "PersistentVolumeClaim nsq-nsqadmin") {
				t.Errorf("%s: %q", name, got)
			}
		case "everything":
			if !slices.Contains(got, "Ingress nsq-nsqadmin") || !slices.Contains(got, "Service nsq-nsqd-metrics") {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// TestManifestsAreValid: by Kubernetes' own schemas.
func TestManifestsAreValid(t *testing.T) {
	validate := tool(t, "kubectl-validate")
	dir := t.TempDir()
	for name, args := range variants {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yaml")
		if err := os.WriteFile(file, []byte(template(t, args...)), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, validate, file, "--version", "1.30")
	}
	run(t, validate, filepath.Join(deploy, "kubernetes", "brokerd.yaml"), "--version", "1.30")
}

// TestQueuesAreOnTheVolume: in every variant brokerd's container, and no other, has the volume mounted at the folder that it is told to keep
// queues in, and that volume is there.
func TestQueuesAreOnTheVolume(t *testing.T) {
	for name, args := range variants {
		for _, document := range strings.Split(template(t, args...), "\n---") {
			if !strings.Contains(document, "command: [/brokerd]\n") {
				if strings.Contains(document, "{name: data,") || strings.Contains(document, "name: data\n") {
					t.Errorf("%s: another one has the volume of the queues:\n%s", name, document)
				}
				continue
			}
			_, containers, _ := strings.Cut(document, "      containers:\n")
			if n := strings.Count(containers, "\n      - name: ") + 1; n != 1 || strings.Count(document, "mountPath: /data") != 1 {
				t.Errorf("%s: %d containers:\n%s", name, n, containers)
			}
			folder := regexp.MustCompile(`- --data-path=(\S+)`).FindAllStringSubmatch(containers, -1)
			mount := regexp.MustCompile(`- \{name: data, mountPath: (\S+)\}`).FindAllStringSubmatch(containers, -1)
			if len(folder) != 1 || len(mount) != 1 || folder[0][1] != mount[0][1] {
				t.Errorf("%s: queues are in %v, the volume at %v", name, folder, mount)
			}
			claims := strings.Count(document, "  volumeClaimTemplates:\n  - metadata:\n      name: data\n")
			if passing := strings.Count(document, "- {name: data, emptyDir: {}}"); claims+passing != 1 || (passing == 1) != (name == "without a volume") {
				t.Errorf("%s: %d claims, %d volumes that go with the pod", name, claims, passing)
			}
		}
	}
}

// TestBrokersComeBackTogether: no pod waits for another one to be ready, a broker counts as there only when it takes work, and the
// nodes' maintenance takes one at a time.
func TestBrokersComeBackTogether(t *testing.T) {
	text := template(t)
	if n := strings.Count(text, "podManagementPolicy: Parallel\n"); n != strings.Count(text, "kind: StatefulSet\n") {
		t.Errorf("%d sets are started in parallel", n)
	}
	budget := regexp.MustCompile(`kind: PodDisruptionBudget\nmetadata:\n  name: nsq-nsqd\n(?s:.*?)maxUnavailable: (\d+)`).FindStringSubmatch(text)
	if budget == nil || budget[1] != "1" {
		t.Errorf("the budget is %v", budget)
	}
	if !strings.Contains(text, "readinessProbe:\n          httpGet: {path: /ready, port: http}") {
		t.Error("a broker is ready before it takes work")
	}
}

// TestBrokersOfTheChartCanBeACluster: brokerd takes what the chart tells it, and what would have brokers wait for each other, lose their
// majority to maintenance, or forget who they are is not made.
func TestBrokersOfTheChartCanBeACluster(t *testing.T) {
	as := func(set string) []string {
		return append(slices.Clone(variants["a cluster"]), "--set", set)
	}
	text := template(t, variants["a cluster"]...)
	set := text[strings.Index(text, "kind: StatefulSet\nmetadata:\n  name: nsq-nsqd\n"):]
	set, _, _ = strings.Cut(set, "\n---")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sixteen bytes or more"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"--check-config"}
	for _, m := range regexp.MustCompile(`(?m)^        - (--\S+)$`).FindAllStringSubmatch(set, -1) {
		args = append(args, strings.NewReplacer("$(POD_NAME)", "nsq-nsqd-1", "$(POD_NAMESPACE)", "default", "/cluster/secret", secret).Replace(m[1]))
	}
	if n := strings.Count(strings.Join(args, " "), "--cluster-peers="); n != 3 {
		t.Errorf("%d peers: %q", n, args)
	}
	run(t, cmdtest.Find(t, "brokerd"), args...)
	for value, want := range map[string]string{
		"nsqd.cluster.secretName=":              "nsqd.cluster.secretName must name a Secret",
		"nsqd.replicaCount=2":                   "a cluster has 3 brokers at least",
		"nsqd.podManagementPolicy=OrderedReady": "it must be Parallel in a cluster",
		"nsqd.persistence.enabled=false":        "must be true in a cluster",
		"nsqd.maxUnavailable=2":                 "it must be 1, or 0, in a cluster",
		"nsqd.maxUnavailable=50%":               "it must be 1, or 0, in a cluster",
	} {
		refused(t, want, as(value)...)
	}
}

// refused has the chart not made, for a reason.
func refused(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool(t, "helm"), append([]string{"template", "nsq", chart, "--kube-version=1.30.0"}, args...)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%q: %v: %.2000s", args, err, out)
	}
}

// TestAdmindOfTheChartRemembers the brokers that it has seen, under names that stay when their pods get other addresses.
func TestAdmindOfTheChartRemembers(t *testing.T) {
	text := template(t)
	for _, want := range []string{
		"--state-path=/state/brokers.json", "{name: state, mountPath: /state}", "--broadcast-address=$(POD_NAME).nsq-nsqd-headless.$(POD_NAMESPACE).svc\n", "publishNotReadyAddresses: true",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
}

// TestChartAllowsTheStop: longer than brokerd's own time for it, and a chart that would kill is not made.
func TestChartAllowsTheStop(t *testing.T) {
	text := template(t)
	grace := regexp.MustCompile(`terminationGracePeriodSeconds: (\d+)`).FindStringSubmatch(text)
	stop := regexp.MustCompile(`--shutdown-timeout=(\d+)s`).FindStringSubmatch(text)
	if grace == nil || stop == nil {
		t.Fatal("the chart lacks one of both times")
	}
	g, _ := strconv.Atoi(grace[1])
	s, _ := strconv.Atoi(stop[1])
	if g < s+10 || time.Duration(s)*time.Second < shutdownTimeout(t, "brokerd") {
		t.Errorf("%d s to stop, of which brokerd takes %d s", g, s)
	}
	refused(t, "at least 10 more than nsqd.shutdownTimeoutSeconds (30)", "--set", "nsqd.terminationGracePeriodSeconds=39")
}

// TestProbes: ready is /ready; alive is never asked over a full disk or an unhealthy log; and a start that reads a long log is waited for.
func TestProbes(t *testing.T) {
	text := template(t)
	set := text[strings.Index(text, "kind: StatefulSet\nmetadata:\n  name: nsq-nsqd\n"):]
	set, _, _ = strings.Cut(set, "\n---")
	for _, want := range []string{
		"readinessProbe:\n          httpGet: {path: /ready, port: http}", "livenessProbe:\n          tcpSocket: {port: tcp}", "startupProbe:\n          tcpSocket: {port: tcp}",
		"runAsNonRoot: true", "readOnlyRootFilesystem: true",
	} {
		if !strings.Contains(set, want) {
			t.Errorf("the set lacks %q", want)
		}
	}
}

// TestPlainManifestsAreTheCharts: deploy/kubernetes is what the chart makes; make manifests writes it.
func TestPlainManifestsAreTheCharts(t *testing.T) {
	text := "# What the chart in deploy/helm makes, for kubectl apply -f. Written by make manifests; change the chart instead.\n" + template(t)
	text = regexp.MustCompile(`(?m)^ +helm\.sh/.*\n|^# Source: .*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, "app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kubectl")
	path := filepath.Join(deploy, "kubernetes", "brokerd.yaml")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, "kubernetes/brokerd.yaml") != text {
		t.Error("deploy/kubernetes/brokerd.yaml is stale: make manifests")
	}
}

// TestContainerFiles: the image is not root and stops by SIGTERM, and compose waits longer than each daemon takes to stop.
func TestContainerFiles(t *testing.T) {
	image := read(t, "container/Dockerfile")
	for _, want := range []string{"FROM scratch\n", "USER 65532:65532\n", "VOLUME /data\n", "STOPSIGNAL SIGTERM\n", "HEALTHCHECK ", "CGO_ENABLED=0"} {
		if !strings.Contains(image, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	compose := read(t, "container/compose.yaml")
	for _, name := range daemons {
		service := compose[strings.Index(compose, "\n  "+name+":\n"):]
		grace := regexp.MustCompile(`stop_grace_period: (\d+s)`).FindStringSubmatch(service)
		if grace == nil {
			t.Errorf("%s has no stop_grace_period", name)
			continue
		}
		if d, err := time.ParseDuration(grace[1]); err != nil || d < shutdownTimeout(t, name)+10*time.Second {
			t.Errorf("%s is killed after %s and takes up to %v", name, grace[1], shutdownTimeout(t, name))
		}
	}
	if exec.CommandContext(t.Context(), tool(t, "docker"), "compose", "version").Run() != nil {
		t.Skip("NOT RUN: docker has no compose here, which would check the whole of compose.yaml")
	}
	run(t, "docker", "compose", "-f", filepath.Join(deploy, "container", "compose.yaml"), "config", "-q")
}
