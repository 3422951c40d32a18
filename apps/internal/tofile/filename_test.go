package tofile

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"brokerd/cmd/cmdtest"
)

func TestMain(m *testing.M) { cmdtest.Main(m, "cmd/brokerd", "cmd/lookupd", "apps/brokerctl") }

// flagged returns the options of a command line.
func flagged(t *testing.T, args ...string) *options {
	t.Helper()
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	o := newOptions(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

var noon = time.Date(2026, time.March, 5, 12, 4, 9, 0, time.UTC)

func TestDatetimeFormats(t *testing.T) {
	for format, want := range map[string]string{
		"%Y-%m-%d_%H": "2026-03-05_12", "%y%B%b%A%a": "26MarchMarThursdayThu", "%I:%M:%S %p %Z%z": "12:04:09 PM UTC+0000",
		"%%Y": "%Y", "2006 Jan 1 MST": "2006 Jan 1 MST", "%q%": "%q%", "": "",
	} {
		if got := formatTime(format, noon); got != want {
			t.Errorf("%q is %q, wanted %q", format, got, want)
		}
	}
}

func TestFileNames(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	short, _, _ := strings.Cut(host, ".")
	for _, c := range []struct{ args, want string }{
		{"", "t." + short + ".2026-03-05_12.log"},
		{"--gzip", "t." + short + "-000007.2026-03-05_12.log.gz"},
		{"--zstd --filename-format=<TOPIC>/<DATETIME><REV>.zst", "t/2026-03-05_12-000007.zst"},
		{"--filename-format=<PID>-<HOST> --host-identifier=<HOSTNAME>+<SHORT_HOST>+x", strconv.Itoa(os.Getpid()) + "-" + host + "+" + short + "+x"},
		{"--work-dir=/elsewhere --datetime-format=%d", "t." + short + "-000007.05.log"},
		{"--rotate-size=1 --filename-format=a//b/../<REV>", "a/-000007"},
		{"--filename-format=same<REV>", "same"},
		{"--gzip --filename-format=<TOPIC>", "missing <REV> in --filename-format when gzip, rotation, or work dir enabled"},
		{"--rotate-interval=1h --filename-format=<TOPIC>", "missing <REV>"},
		{"--filename-format=../<TOPIC>", "makes no name of a file below --output-dir"},
		{"--filename-format=<TOPIC>/", "makes no name of a file"},
	} {
		o := flagged(t, append(strings.Fields(c.args), "--utc")...)
		n, err := newNamer(o, "t", o.revised(folders{"/w" + o.workDir, "/w"}))
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = revise(n.name(noon), 7)
		}
		if got != c.want && !(err != nil && strings.Contains(got, c.want)) {
			t.Errorf("%q: %q, wanted %q", c.args, got, c.want)
		}
	}
}

// FuzzFileName holds that no format leads out of the folder, and that names of different revisions differ.
func FuzzFileName(f *testing.F) {
	f.Add("<TOPIC>.<HOST><REV>.<DATETIME>.log", "%Y-%m-%d_%H")
	f.Add("../<REV>", "%Y/../..")
	f.Add("<TOPIC>/<DATETIME>/<REV>", "%%%q%")
	f.Fuzz(func(t *testing.T, format, datetime string) {
		o := &options{filenameFormat: format, datetimeFormat: datetime, rotateSize: 1}
		n, err := newNamer(o, "topic", true)
		if err != nil {
			return
		}
		name := n.name(noon)
		if revise(name, 1) == revise(name, 2) {
			t.Errorf("%q: both revisions are %q", format, revise(name, 1))
		}
		if path := revise(name, 1); !filepath.IsLocal(path) {
			t.Errorf("%q with %q leads to %q", format, datetime, path)
		}
	})
}

func TestSettingsThatDoNotFit(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--nsqd-tcp-address or --lookupd-http-address required"},
		{"--nsqd-tcp-address=a:1", "--topic or --topic-pattern required"},
		{"--nsqd-tcp-address=a:1 --topic-pattern=x", "--lookupd-http-address required when no --topic specified"},
		{"--nsqd-tcp-address=a:1 --topic=t --channel=", "--channel is required"},
		{"--nsqd-tcp-address=a:1 --topic=t/u", "--topic is invalid"},
		{"--nsqd-tcp-address=a:1 --topic=t --channel=c/d", "--channel is invalid"},
		{"--nsqd-tcp-address=a:1 --topic=t --gzip-level=10", "invalid --gzip-level value (10), should be 1-9"},
		{"--nsqd-tcp-address=a:1 --topic=t --gzip --zstd", "use --gzip or --zstd not both"},
		{"--nsqd-tcp-address=a:1 --topic=t --topic-pattern=(", "--topic-pattern: error parsing regexp"},
		{"--nsqd-tcp-address=a:1 --topic=t --http-client-connect-timeout=0s", "--http-client-connect-timeout should be positive"},
		{"--nsqd-tcp-address=a:1 --topic=t --sync-interval=0s", "should be positive"},
		{"--nsqd-tcp-address=a:1 --topic=t", ""},
	} {
		err := flagged(t, strings.Fields(c.args)...).check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestRecordOfAFile(t *testing.T) {
	want := record{from: 12, to: 3456789, rev: 7, name: "a/b c<REV>.log"}
	got, err := parseRecord(want.text())
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "tofile 1", strings.Replace(string(want.text()), "tofile 1", "tofile 2", 1),
		"tofile 1 00000000000000000009 00000000000000000008 0000000000\nname\n",
		"tofile 1 00000000000000000000 00000000000000000000 0000000000\n../name\n",
		"tofile 1 00000000000000000000 00000000000000000000 0000000000\nna"} {
		if _, err := parseRecord([]byte(text)); err == nil {
			t.Errorf("%q is a record", text)
		}
	}
}

// FuzzRecord holds that what is taken for a record is exactly what would be written for it.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(record{from: 12, to: 34, rev: 5, name: "x<REV>.log"}.text()))
	f.Add([]byte("tofile 1 00000000000000000000 00000000000000000000 0000000000\nname\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text)
		if err == nil && string(r.text()) != string(text) {
			t.Errorf("%q became %q", text, r.text())
		}
	})
}
