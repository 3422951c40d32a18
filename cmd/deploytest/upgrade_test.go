package deploytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// kubeAPI answers as much of Kubernetes' API as Helm asks for, and takes of a set or a deployment that is there no change that Kubernetes refuses.
type kubeAPI struct {
	mu      sync.Mutex
	objects map[string]map[string]any // by path
	patches []string                  // of sets and deployments: path and changed fields of the spec
	writes  int                       // of anything that is not Helm's own
}

// groups are the kinds that the charts make, by the path of their API and by the name in it.
var groups = map[string]map[string]string{
	"/api/v1":                        {"services": "Service", "secrets": "Secret", "persistentvolumeclaims": "PersistentVolumeClaim"},
	"/apis/apps/v1":                  {"statefulsets": "StatefulSet", "deployments": "Deployment"},
	"/apis/policy/v1":                {"poddisruptionbudgets": "PodDisruptionBudget"},
	"/apis/networking.k8s.io/v1":     {"ingresses": "Ingress"},
	"/apis/monitoring.coreos.com/v1": {"servicemonitors": "ServiceMonitor"},
}

// changeable are the fields of a spec that Kubernetes lets be changed: of a set all else is fixed, of a deployment the selector is.
var changeable = []string{"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}

func (k *kubeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	answer := func(code int, body any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body)
	}
	if found := k.discover(r.URL.Path); found != nil {
		answer(http.StatusOK, found)
		return
	}
	path := r.URL.Path
	object := k.objects[path]
	var sent map[string]any
	if r.Method != http.MethodGet && r.Method != http.MethodDelete {
		var err error
		if sent, err = decodeBody(r.Body); err != nil {
			answer(http.StatusBadRequest, status(http.StatusBadRequest, "BadRequest", err.Error()))
			return
		}
	}
	if r.Method != http.MethodGet && !strings.Contains(path, "/secrets") {
		k.writes++
	}
	switch {
	case r.Method == http.MethodPost:
		name := sent["metadata"].(map[string]any)["name"].(string)
		k.objects[path+"/"+name] = sent
		answer(http.StatusCreated, sent)
	case r.Method == http.MethodGet && object == nil && groups[filepath.Dir(filepath.Dir(filepath.Dir(path)))] != nil:
		answer(http.StatusOK, k.list(path, r.URL.Query().Get("labelSelector")))
	case object == nil:
		answer(http.StatusNotFound, status(http.StatusNotFound, "NotFound", path+" not found"))
	case r.Method == http.MethodPatch:
		if fixed := k.patch(path, sent); fixed != "" {
			answer(http.StatusUnprocessableEntity, status(http.StatusUnprocessableEntity, "Invalid", "spec: Forbidden: updates to "+fixed))
			return
		}
		merge(object, sent)
		answer(http.StatusOK, object)
	case r.Method == http.MethodPut:
		k.objects[path] = sent
		answer(http.StatusOK, sent)
	case r.Method == http.MethodDelete:
		delete(k.objects, path)
		answer(http.StatusOK, status(http.StatusOK, "", ""))
	default:
		answer(http.StatusOK, object)
	}
}

// decodeBody reads an object, which is JSON, but for Helm's own secrets: those are protobuf.
func decodeBody(body io.Reader) (object map[string]any, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	binary, ok := bytes.CutPrefix(text, []byte("k8s\x00"))
	if !ok {
		return object, json.Unmarshal(text, &object)
	}
	secret := fields(last(fields(binary)[2]))
	meta, labels, data := fields(last(secret[1])), map[string]any{}, map[string]any{}
	for _, entry := range meta[11] {
		labels[string(last(fields(entry)[1]))] = string(last(fields(entry)[2]))
	}
	for _, entry := range secret[2] {
		data[string(last(fields(entry)[1]))] = last(fields(entry)[2]) // base64 as JSON
	}
	return map[string]any{"kind": "Secret", "apiVersion": "v1", "type": string(last(secret[3])), "data": data,
		"metadata": map[string]any{"name": string(last(meta[1])), "labels": labels}}, nil
}

// fields returns what a message has under each number, of what has a length.
func fields(message []byte) map[protowire.Number][][]byte {
	found := map[protowire.Number][][]byte{}
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			break
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			break
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[n:])
			found[number] = append(found[number], value)
		}
		message = message[n+size:]
	}
	return found
}

func last(values [][]byte) []byte {
	if len(values) == 0 {
		return nil
	}
	return values[len(values)-1]
}

func status(code int, reason, text string) map[string]any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": text, "code": code}
}

// discover answers what there is.
func (k *kubeAPI) discover(path string) any {
	switch path {
	case "/version":
		return map[string]string{"major": "1", "minor": "30", "gitVersion": "v1.30.0"}
	case "/api":
		return map[string]any{"kind": "APIVersions", "versions": []string{"v1"}}
	case "/apis":
		var list []any
		for group := range groups {
			if name, ok := strings.CutPrefix(group, "/apis/"); ok {
				version := map[string]string{"groupVersion": name, "version": "v1"}
				list = append(list, map[string]any{"name": strings.TrimSuffix(name, "/v1"), "versions": []any{version}, "preferredVersion": version})
			}
		}
		return map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": list}
	}
	if groups[path] == nil {
		return nil
	}
	var list []any
	for name, kind := range groups[path] {
		list = append(list, map[string]any{"name": name, "kind": kind, "namespaced": true, "verbs": []string{"get", "list", "create", "update", "patch", "delete"}})
	}
	version := strings.TrimPrefix(strings.TrimPrefix(path, "/apis/"), "/api/")
	return map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list}
}

// list returns what is in a namespace of one kind, with all labels of a selector.
func (k *kubeAPI) list(path, selector string) any {
	items := []any{}
	for at, object := range k.objects {
		if filepath.Dir(at) != path {
			continue
		}
		labels, _ := object["metadata"].(map[string]any)["labels"].(map[string]any)
		fits := true
		for _, term := range strings.Split(selector, ",") {
			if key, value, ok := strings.Cut(term, "="); ok {
				fits = fits && labels[key] == value
			}
		}
		if fits {
			items = append(items, object)
		}
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(path)))
	return map[string]any{"kind": groups[dir][filepath.Base(path)] + "List", "apiVersion": strings.TrimPrefix(strings.TrimPrefix(dir, "/apis/"), "/api/"), "metadata": map[string]any{}, "items": items}
}

// patch notes a change, and returns the field that Kubernetes would not let be changed.
func (k *kubeAPI) patch(path string, sent map[string]any) (fixed string) {
	spec, _ := sent["spec"].(map[string]any)
	for field := range spec {
		switch kind := filepath.Base(filepath.Dir(path)); {
		case kind == "statefulsets" && !slices.Contains(changeable, field), kind == "deployments" && field == "selector":
			return path + ": " + field
		case kind == "statefulsets" || kind == "deployments":
			k.patches = append(k.patches, filepath.Base(path)+" "+field)
		}
	}
	return ""
}

// merge puts what a patch has into an object: as much as the next patch needs.
func merge(object, patch map[string]any) {
	for key, value := range patch {
		into, ok := object[key].(map[string]any)
		from, is := value.(map[string]any)
		switch {
		case value == nil:
			delete(object, key)
		case ok && is:
			merge(into, from)
		default:
			object[key] = value
		}
	}
}

// cluster is a kubeAPI and Helm that speaks with it.
type cluster struct {
	*kubeAPI
	t      *testing.T
	config string
}

func newCluster(t *testing.T) *cluster {
	k := &kubeAPI{objects: map[string]map[string]any{}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": %q}}],
		"users": [{"name": "u"}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "default"}}]}`, server.URL)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &cluster{k, t, config}
}

// helm runs Helm and returns what it said.
func (c *cluster) helm(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), tool(c.t, "helm"), append(args, "--disable-openapi-validation")...)
	home := c.t.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.config, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// install installs, as release nsq, a chart that makes what a text has.
func (c *cluster) install(manifests string) {
	c.t.Helper()
	dir := c.t.TempDir()
	for name, text := range map[string]string{"Chart.yaml": "apiVersion: v2\nname: nsq\nversion: 0.0.1\n", "templates/all.yaml": manifests} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	if out, err := c.helm("install", "nsq", dir); err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
}

// nsqsSets is what NSQ's chart has in its sets and its deployment that Kubernetes lets nobody change; instance is in the selector from 0.0.11 on. What
// follows is put into the specification of the set of nsqd.
func nsqsSets(instance bool, policy, claims string) string {
	text := ""
	for _, part := range []string{"nsqd", "nsqlookupd", "nsqadmin"} {
		labels := "app.kubernetes.io/component: " + part
		if instance {
			labels += ", app.kubernetes.io/instance: nsq"
		}
		kind, more := "StatefulSet", "  podManagementPolicy: "+policy+"\n  serviceName: nsq-"+part+"\n"
		switch part {
		case "nsqadmin":
			kind, more = "Deployment", ""
		case "nsqd":
			more = strings.Replace(more, "serviceName: nsq-nsqd", "serviceName: nsq-nsqd-headless", 1) + claims
		}
		text += fmt.Sprintf("---\napiVersion: apps/v1\nkind: %s\nmetadata:\n  name: nsq-%s\n  labels: {helm.sh/release: nsq}\nspec:\n  replicas: 3\n%s"+
			"  selector: {matchLabels: {%s}}\n  template:\n    metadata: {labels: {%s}}\n    spec: {containers: [{name: nsq-%s, image: nsq}]}\n", kind, part, more, labels, labels, part)
	}
	return text
}

const oneGiB = "  volumeClaimTemplates:\n  - metadata: {name: data}\n    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"

// TestUpgradeFromEachReleasedChart, of NSQ's and of our own, is taken by Kubernetes, and pods are made anew of the new template.
func TestUpgradeFromEachReleasedChart(t *testing.T) {
	tool(t, "helm")
	released := map[string]string{"NSQ's up to 0.0.10": nsqsSets(false, "Parallel", oneGiB), "NSQ's from 0.0.11 on": nsqsSets(true, "Parallel", oneGiB)}
	for _, m := range regexp.MustCompile(`(?m)^## (\d\S*)`).FindAllStringSubmatch(read(t, "../CHANGELOG.md"), -1) {
		text, err := os.ReadFile(filepath.Join("testdata", "released", m[1]+".yaml"))
		if err != nil {
			t.Errorf("there is no manifest of release %s, which make changelog leaves: %v", m[1], err)
			continue
		}
		released["brokerd's "+m[1]] = strings.ReplaceAll(string(text), "managed-by: kubectl", "managed-by: Helm")
	}
	for name, manifests := range released {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			c.install(manifests)
			if out, err := c.helm("upgrade", "nsq", chart, "--set", "image.tag=next"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, want := range []string{"nsq-nsqd template", "nsq-nsqlookupd template", "nsq-nsqadmin template"} {
				if !slices.Contains(c.patches, want) {
					t.Errorf("%s has not changed: %q", want, c.patches)
				}
			}
		})
	}
}

// TestUpgradeThatCannotBe says so, and what to do, before anything changes: Kubernetes would refuse it halfway, or the brokers would begin
// with no queues.
func TestUpgradeThatCannotBe(t *testing.T) {
	tool(t, "helm")
	for name, c := range map[string]struct{ was, set, want string }{
		"other size":      {nsqsSets(true, "Parallel", oneGiB), "nsqd.persistence.size=10Gi", "Set nsqd.persistence.size=1Gi, or have the set made anew"},
		"other class":     {nsqsSets(true, "Parallel", oneGiB), "nsqd.persistence.storageClass=fast", "Set nsqd.persistence.storageClass=-,"},
		"other modes":     {nsqsSets(true, "Parallel", oneGiB), "nsqd.persistence.accessModes={ReadWriteMany}", "Set nsqd.persistence.accessModes={ReadWriteOnce},"},
		"volumes no more": {nsqsSets(true, "Parallel", oneGiB), "nsqd.persistence.enabled=false", "Set nsqd.persistence.enabled=true,"},
		"volumes now":     {nsqsSets(true, "Parallel", ""), "nsqd.persistence.enabled=true", "Set nsqd.persistence.enabled=false,"},
		"in order":        {nsqsSets(true, "OrderedReady", oneGiB), "image.tag=next", "podManagementPolicy=OrderedReady, or have the set made anew"},
		"another name":    {nsqsSets(true, "Parallel", oneGiB), "nsqd.fullnameOverride=brokers", "Set nsqd.fullnameOverride=nsq-nsqd"},
		"another folder":  {nsqsSets(true, "Parallel", oneGiB), "nsqd.extraArgs={--data-path=/var/lib/brokerd}", "queues are in /data, where the volume is, and stay there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newCluster(t)
			k.install(c.was)
			before := k.writes
			out, err := k.helm("upgrade", "nsq", chart, "--set", c.set)
			if err == nil || !strings.Contains(out, c.want) || k.writes != before {
				t.Errorf("%d changes, %v: %s", k.writes-before, err, out)
			}
		})
	}
}
