package cmdkit

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

// TestUnknownKeysAreWarnedOf with the key that was probably meant, however it was misspelt.
func TestUnknownKeysAreWarnedOf(t *testing.T) {
	for key, want := range map[string]string{
		"wait_tiem": "wait_time", "waittime": "wait_time", "Wait_Time": "wait_time", "wait-time": "wait_time", "wai_time": "wait_time",
		"peer_address": "peers", "per_address": "peers", "peer": "peers", "tcp_adress": "tcp_address", "tcpaddress": "tcp_address",
		"sise": "size", "szie": "size", "other": "", "x": "", "replication": "",
		strings.Repeat("wait_time", 1000): "",
	} {
		_, r, err := resolve(t, nil, nil, `"`+key+`" = 1`)
		if w := []Unknown{{"key", key, want}}; err != nil || !reflect.DeepEqual(r.Unknown, w) {
			t.Errorf("%.20s: got %+v, want %q, error %v", key, r.Unknown, want, err)
		}
	}
	_, r, err := resolve(t, nil, nil, "verbose = true\nworker_id = 5\nsize = 3\n[others]\nsize = 5")
	if w := []Unknown{{"key", "others", ""}}; err != nil || !reflect.DeepEqual(r.Unknown, w) {
		t.Errorf("got %+v, want %+v, error %v", r.Unknown, w, err)
	}
}

// TestUnknownVariablesAreWarnedOf as keys are.
func TestUnknownVariablesAreWarnedOf(t *testing.T) {
	for variable, want := range map[string]string{
		"RELAY_WAIT_TIEM": "RELAY_WAIT_TIME", "RELAY_wait_time": "RELAY_WAIT_TIME", "RELAY_PEERS": "RELAY_PEER_ADDRESS",
		"RELAY_CONFIG_FILE": "", "RELAY_CONFG": "RELAY_CONFIG", "RELAY_OTHER": "", "RELAY_": "",
		"RELAY_PORT": "", "RELAY_SERVICE": "", "RELAY_NAME": "",
	} {
		_, r, err := resolve(t, nil, map[string]string{variable: "80"}, "")
		if w := []Unknown{{"variable", variable, want}}; err != nil || !reflect.DeepEqual(r.Unknown, w) {
			t.Errorf("%s: got %+v, want %q, error %v", variable, r.Unknown, want, err)
		}
	}
}

// TestVariablesOfKubernetesArePassedOver: services with the daemon's name, or one that begins with it, are told to every container.
func TestVariablesOfKubernetesArePassedOver(t *testing.T) {
	_, r, err := resolve(t, nil, map[string]string{
		"RELAY_PORT": "tcp://10.96.0.7:4150", "RELAY_SERVICE_HOST": "10.96.0.7", "RELAY_SERVICE_PORT": "4150", "RELAY_SERVICE_PORT_HTTP": "4151",
		"RELAY_PORT_4150_TCP": "tcp://10.96.0.7:4150", "RELAY_PORT_4150_TCP_PROTO": "tcp", "RELAY_PORT_4150_TCP_PORT": "4150",
		"RELAY_PORT_4150_TCP_ADDR": "10.96.0.7", "RELAY_PORT_8125_UDP": "udp://10.96.0.7:8125",
		"RELAY_HTTP_PORT": "tcp://10.96.0.8:80", "RELAY_HTTP_SERVICE_HOST": "10.96.0.8", "RELAY_HTTP_SERVICE_PORT": "80",
		"RELAY_HTTP_PORT_80_TCP_ADDR": "10.96.0.8", "RELAY_NAME": "/web/relay",
		"RELAYER_SIZE": "not ours", "SIZE": "nor this", "RELAY": "nor this", "RELAY_VERBOSE": "true", "RELAY_WORKER_ID": "1",
	}, "")
	if err != nil || len(r.Unknown) > 0 {
		t.Errorf("got %+v, error %v", r.Unknown, err)
	}
}

// TestWarningsNameTheNearestAndNoValue: a value may be a password that went to the wrong name.
func TestWarningsNameTheNearestAndNoValue(t *testing.T) {
	_, r, err := resolve(t, nil, map[string]string{"RELAY_SISE": "s3cret"}, `count_ = "s3cret"`)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	r.WarnOfIgnored(NewLogger(&out, "text", slog.LevelInfo))
	for _, want := range []string{
		`level=WARN msg="ignored an unknown key" key=count_ file=` + r.File + " did_you_mean=count\n",
		"level=WARN msg=\"ignored an unknown variable\" variable=RELAY_SISE did_you_mean=RELAY_SIZE\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s\nlacks %s", &out, want)
		}
	}
	if strings.Contains(out.String(), "s3cret") {
		t.Errorf("a value is told: %s", &out)
	}
}
