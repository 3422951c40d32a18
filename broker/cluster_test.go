package broker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestOptionsOfAClusterThatCannotBe: the texts are what an operator reads.
func TestOptionsOfAClusterThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want string
		set  func(*Options)
	}{
		{"", func(*Options) {}},
		{"--cluster-name must be given when another option of the cluster is", func(o *Options) { o.ClusterName = "" }},
		{"--cluster-name must be 1 to 64 letters", func(o *Options) { o.ClusterName = "a b" }},
		{"--cluster-listen must be host:port", func(o *Options) { o.ClusterListen = "here" }},
		{"--cluster-listen must be on loopback without", func(o *Options) { o.ClusterListen = "0.0.0.0:4170" }},
		{"--cluster-listen must be on loopback without", func(o *Options) { o.ClusterListen = ":4170" }},
		{"", func(o *Options) { o.ClusterListen, o.ClusterSecretFile = "0.0.0.0:4170", "secret" }},
		{"--cluster-tls-cert must be given together", func(o *Options) { o.ClusterTLSCert, o.ClusterTLSKey = "c", "k" }},
		{"--cluster-address must be host:port", func(o *Options) { o.ClusterAddress = "a" }},
		{"--cluster-peers must name 3 brokers at least", func(o *Options) { o.ClusterPeers = []string{"a:1,b:1"} }},
		{"--cluster-peers must be addresses", func(o *Options) { o.ClusterPeers = []string{"a:1", "b:1", "a:1"} }},
		{"--cluster-peers must be addresses", func(o *Options) { o.ClusterPeers = []string{"a:1", "b:1", "c"} }},
		{"--cluster-election-timeout must be from 500ms to 10s", func(o *Options) { o.ClusterElection = 100 * time.Millisecond }},
		{"--cluster-fast-failover must be on or off", func(o *Options) { o.ClusterFast = "perhaps" }},
		{"--cluster-wait must be from 100ms to 1m", func(o *Options) { o.ClusterWait = time.Hour }},
	} {
		o := DefaultOptions()
		o.ClusterName, o.ClusterPeers = "prod", []string{"a:1, b:1", "c:1"}
		c.set(&o)
		err := o.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
}

func TestAddressInTheCluster(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ listen, address, broadcast, want string }{
		{"10.0.0.1:4170", "", "b", "10.0.0.1:4170"}, {"0.0.0.0:4170", "", "b", "b:4170"}, {":4170", "", "b", "b:4170"}, {"[::]:4170", "", "b", "b:4170"},
		{":4170", "x:1", "b", "x:1"},
	} {
		o := Options{ClusterListen: c.listen, ClusterAddress: c.address, BroadcastAddress: c.broadcast}
		if got := o.clusterAddress(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestSecretsOfAClusterThatCannotBe: a file that everybody can read, that is none, or too short or too long, is refused, and no text says what is in it.
func TestSecretsOfAClusterThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(text string, mode os.FileMode) string {
		path := filepath.Join(dir, strconv.Itoa(int(mode))+strconv.Itoa(len(text)))
		if err := errors.Join(os.WriteFile(path, []byte(text), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "canary-0123456789"
	for want, path := range map[string]string{
		"":                  file(secret+"\r\n", 0o640),
		"open to everybody": file(secret, 0o644),
		"no regular file":   dir,
		"more than":         file(strings.Repeat(secret, 5000), 0o600),
		"16 are the least":  file(secret[:15]+"\n\n\n", 0o600),
		"no such file":      filepath.Join(dir, "none"),
	} {
		got, err := readSecret(path)
		switch {
		case want == "" && (err != nil || string(got) != secret):
			t.Errorf("%q, %v", got, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")):
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
