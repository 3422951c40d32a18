package broker_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"brokerd/broker"
	"brokerd/protocol/httpapi"
)

// inUse returns which rooms of the cluster have goroutines.
func inUse() (found []string) {
	buf := make([]byte, 4<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	for _, room := range []string{"brokerd/broker/member.", "brokerd/broker/peer.", "brokerd/broker/replica.", "brokerd/broker/forward.", "brokerd/broker/shard."} {
		if strings.Contains(stacks, room) {
			found = append(found, room)
		}
	}
	return found
}

// TestWithoutAClusterNothingOfItExists: a broker without --cluster-name has no goroutine, port, series or byte on disk more.
func TestWithoutAClusterNothingOfItExists(t *testing.T) {
	dir := t.TempDir()
	n := start(t, func(o *broker.Options) { o.DataPath, o.Durability = dir, levelDisk })
	n.run([]request{{"POST", "/pub?topic=t", "m", 200, "OK"}, {"GET", "/cluster", "", 404, "NO_CLUSTER"}, {"POST", "/cluster/add?node=x", "", 404, "NO_CLUSTER"},
		{"POST", "/cluster/transfer?node=x", "", 404, "NO_CLUSTER"}})
	if found := inUse(); len(found) > 0 {
		t.Errorf("goroutines of %v", found)
	}
	if _, text := n.ask("GET", "/metrics", ""); strings.Contains(text, "cluster_") {
		t.Error("metrics tell of a cluster")
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest"))
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{`"cluster"`, `"groups"`} {
		if strings.Contains(string(manifest), word) {
			t.Errorf("the manifest has %s:\n%s", word, manifest)
		}
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "checkpoint.g*")); len(files) > 0 {
		t.Errorf("files of groups: %v", files)
	}
}

// TestABrokerThatWaitsForItsPeersServes: it says so, takes and delivers messages, and changes nothing of a cluster that there is not.
func TestABrokerThatWaitsForItsPeersServes(t *testing.T) {
	n := start(t, func(o *broker.Options) {
		o.Durability, o.ClusterName, o.ClusterListen = levelDisk, "prod", "127.0.0.1:0"
		o.ClusterAddress, o.ClusterPeers = "127.0.0.1:1", []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	})
	n.run([]request{{"POST", "/pub?topic=t", "m", 200, "OK"}, {"POST", "/cluster/add?node=x", "", 503, "NOT_DONE"}, {"POST", "/cluster/add", "", 400, "INVALID_ARG_NODE"},
		{"POST", "/cluster/replace?old=x", "", 400, "INVALID_ARG_NEW"}, {"POST", "/cluster/drain?node=x&undo=perhaps", "", 400, "INVALID_ARG_UNDO"},
		{"POST", "/topic/create?topic=r&replicas=3", "", 503, "NOT_DONE"}, {"POST", "/topic/create?topic=r&replicas=2", "", 400, "it must be 1 or 3"},
		{"POST", "/topic/create?topic=r%23ephemeral&replicas=3", "", 400, "INVALID_ARG_REPLICAS"}, {"POST", "/topic/create?topic=r&replicas=1", "", 200, ""},
		{"POST", "/topic/config?topic=r", `{"replicas":3}`, 400, "when it is made"}})
	_, answer := n.ask("GET", "/cluster", "")
	var v httpapi.Cluster
	if err := json.Unmarshal([]byte(answer), &v); err != nil || v.State != "asking" || v.Name != "prod" || !v.Preview || v.ID != "" {
		t.Errorf("%s: %v", answer, err)
	}
	if _, text := n.ask("GET", "/metrics", ""); !strings.Contains(text, `brokerd_cluster_state{state="asking"} 1`) {
		t.Error("metrics do not tell what it is")
	}
}

// lines is a log that a test reads while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestAClusterWithoutASecretSaysWhoMayPassForAMember: with one, which others of the machine cannot read, it does not.
func TestAClusterWithoutASecretSaysWhoMayPassForAMember(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"", secret} {
		o, log := options(t), &lines{}
		o.Durability, o.ClusterName, o.ClusterListen, o.ClusterSecretFile = levelDisk, "prod", "127.0.0.1:0", file
		o.ClusterAddress, o.ClusterPeers = "127.0.0.1:1", []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
		s, err := broker.New(o, slog.New(slog.NewTextHandler(log, nil)), new(slog.LevelVar))
		if err != nil {
			t.Fatal(err)
		}
		n := serve(t, s, o)
		if open := strings.Contains(n.get("/cluster"), `"open":true`); open != (file == "") {
			t.Errorf("with secret %q /cluster says that it is open: %v", file, open)
		}
		if said := strings.Contains(log.String(), "can pass for a broker of the cluster"); said != (file == "") {
			t.Errorf("with secret %q it is said: %v", file, said)
		}
	}
}

// TestExposedNamesWhatIsOpen to other machines: changes of the daemon and of its cluster only where --insecure opens them.
func TestExposedNamesWhatIsOpen(t *testing.T) {
	t.Parallel()
	for _, insecure := range []bool{false, true} {
		n := start(t, func(o *broker.Options) {
			o.HTTPAddress, o.Insecure = "0.0.0.0:0", insecure
			o.Durability, o.ClusterName, o.ClusterListen = levelDisk, "prod", "127.0.0.1:0"
			o.ClusterAddress, o.ClusterPeers = "127.0.0.1:1", []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
		})
		got := n.get("/config/exposed")
		for word, want := range map[string]bool{"delete, empty and pause topics": true, "see messages": true, "see profiles": insecure, "change options": insecure, "who is in the cluster": insecure} {
			if strings.Contains(got, word) != want {
				t.Errorf("with --insecure=%v: %q is there: %v\n%s", insecure, word, !want, got)
			}
		}
	}
}
