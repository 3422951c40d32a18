package brokerd_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "brokerd"

// topFolders are the only ones that hold Go; the root holds this file.
var topFolders = []string{"admin", "apps", "broker", "cmd", "diskqueue", "lookup", "protocol"}

// room says which packages of this module the packages of one folder may import, and why no others. A pattern names a
// package, or with /... it and everything below.
type room struct {
	path  string // pattern; the most specific one that fits a package counts
	allow []string
	why   string
}

// rooms is the table of the architecture: imports go down only. Tests are held to it as well, but for packages that lend
// helpers to tests, which any test may import, and black-box tests, both listed apart.
var rooms = []room{
	{"protocol", nil, "the wire is pure: whoever reads it must need nothing else"},
	{"protocol/lookupwire", []string{"protocol"}, "the registration wire is pure and shares names only"},
	{"protocol/wholefile", nil, "how files are read that settings name; what they say is decided above"},
	{"protocol/tlsfiles", []string{"protocol/wholefile"}, "certificates in files; who shows them decides the rest"},
	{"protocol/exposition", nil, "how metrics are shown: which there are, daemons know"},
	{"protocol/loglevel", nil, "pure: words and what they stand for"},
	{"protocol/grant", []string{"protocol/wholefile"}, "who may do what, judged alike by all daemons and by the tool that writes it down"},
	{"protocol/keyrule", nil, "pure: brokers and tools take the same key out of a body"},
	{"protocol/release", []string{"protocol"}, "pure: what the build has written into the program"},
	{"protocol/httpapi", []string{"protocol", "protocol/grant", "protocol/release"}, "apps and admin use it without any daemon"},
	{"protocol/apitest", []string{"protocol/httpapi", "protocol/grant", "cmd/cmdtest"}, "it is given routes, and knows no daemon; cmdtest holds files to texts"},
	{"protocol/prototest", []string{"protocol", "protocol/lookupwire", "protocol/grant", "protocol/httpapi"},
		"the suite is given an address, so that it can judge any broker"},

	{"diskqueue/vfs", nil, "it stands for the file system"},
	{"diskqueue/stall", []string{"diskqueue/vfs"}, "which calls are out; what they are for, callers say"},
	{"diskqueue/wal", []string{"diskqueue/vfs", "diskqueue/stall", "protocol"}, "what is on disk knows records, not topics"},
	{"diskqueue/segment", []string{"diskqueue/vfs", "protocol"}, "what is on disk knows records, not topics"},
	{"diskqueue/journal", []string{"diskqueue/wal", "protocol"}, "pure: what the log's records mean, so that a model can check it"},
	{"diskqueue/manifest", []string{"diskqueue/vfs", "diskqueue/wal"}, "it names what belongs to a folder; it looks at none of it"},
	{"diskqueue/nsqdata", []string{"diskqueue/vfs", "protocol"}, "nsqd's folder is a format; who moves messages is decided above"},

	{"broker/inflight", []string{"protocol", "diskqueue/journal"}, "pure: no lock, no clock, so that a model can check it"},
	{"broker/backlog", []string{"protocol", "diskqueue/..."}, "it holds what waits; it must not know who takes it"},
	{"broker/policy", []string{"protocol", "protocol/keyrule"}, "pure: what options mean; who holds to them is the channel, and the topic"},
	{"broker/fifo", nil, "a queue of anything"},
	{"broker/channel", []string{"protocol", "diskqueue/journal", "broker/backlog", "broker/fifo", "broker/inflight", "broker/policy"},
		"pure: the only mover of messages between their states; it must not know its topic, nor where messages are kept"},
	{"broker/topic", []string{"protocol", "protocol/keyrule", "broker/policy", "broker/backlog", "broker/channel", "broker/fifo", "broker/inflight", "diskqueue/..."},
		"the path of a message: the locks and stores around channels; it must not know connections, HTTP or options"},
	{"broker/auth", []string{"protocol", "protocol/grant", "protocol/httpapi"}, "it says what a client may do; sessions decide what follows"},
	{"broker/quota", nil, "accounts that sessions and HTTP share; what follows is their matter"},
	{"broker/bodies", nil, "a bound that sessions and HTTP share; who reads is their matter"},
	{"broker/registrar", []string{"protocol", "protocol/httpapi", "protocol/lookupwire"},
		"it tells lookups what it is told; it must not reach into topics"},
	{"broker/telemetry", []string{"protocol", "protocol/httpapi"}, "metrics watch, never steer: it is handed figures"},
	{"broker/metrics", []string{"protocol/exposition", "protocol/release", "broker/topic", "diskqueue/journal", "diskqueue/wal"}, "metrics watch, never steer: it is handed snapshots"},
	{"broker/tracing", []string{"protocol"}, "it reports what it is told, to a collector that may be gone"},
	{"broker/metadata", []string{"protocol", "broker/topic", "diskqueue/..."}, "it writes down which topics there are, nothing more"},
	{"broker/storage", []string{"protocol", "broker/topic", "broker/policy", "diskqueue/..."}, "when things are written; what is written topics know"},
	{"broker/session", []string{"protocol", "protocol/grant", "protocol/httpapi", "broker/topic", "broker/auth", "broker/bodies", "broker/nowait", "broker/quota"},
		"one client's connection; the server above composes it with the rest"},
	{"broker/httpd", []string{"protocol", "protocol/grant", "protocol/httpapi", "broker/policy", "broker/topic", "broker/telemetry", "broker/bodies", "broker/lately", "broker/quota"},
		"answers HTTP through an interface that the server fulfils, so that it is tested without one"},
	{"broker", []string{"protocol", "protocol/exposition", "protocol/tlsfiles", "protocol/wholefile", "protocol/grant", "protocol/httpapi", "protocol/loglevel", "protocol/release", "broker/...", "diskqueue/..."},
		"composes its rooms; brokers share nothing with lookups"},

	{"broker/replica", []string{"diskqueue/..."}, "one group of replicas: it must know neither sockets nor topics; only it knows the engine"},

	{"broker/nowait", nil, "two system calls; whose sockets they are for is decided above"},

	{"broker/peer", []string{"broker/nowait"}, "links between brokers; what goes over them, and who is let in, is decided above"},

	{"broker/cluster", nil, "pure: the map of a cluster, so that a model can check it; no clock, no chance, no messages"},

	{"broker/shard", []string{"diskqueue/...", "broker/cluster", "broker/policy", "broker/replica", "broker/topic"},
		"the topics of one group: it serves while it leads; it must know neither sockets nor who is a member"},

	{"broker/forward", []string{"protocol", "diskqueue/journal", "broker/peer", "broker/policy", "broker/topic"},
		"publishes that others lead: it must know neither who is a member nor clients"},

	{"broker/relay", []string{"protocol", "protocol/httpapi", "broker/inflight", "broker/peer", "broker/topic"},
		"consumers of topics that others lead: it must know neither who is a member nor sockets"},

	{"broker/member", []string{"diskqueue/...", "protocol/httpapi", "broker/cluster", "broker/lately", "broker/peer", "broker/replica"},
		"what a broker is in its cluster: the map over a group and links; it must not know topics"},

	{"broker/lately", nil, "what was done within some seconds; not what that was"},

	{"broker/histories", nil, "it judges what tests have written down; it must not know who did it"},

	{"broker/simnet", nil, "a network in memory for tests; what goes over it is theirs"},

	{"broker/interop", []string{"protocol", "protocol/httpapi"}, "black box over processes: it knows daemons by their ports only"},

	{"lookup/registry", []string{"protocol", "protocol/lookupwire"}, "pure but for one lock, so that a model can check it"},
	{"lookup/session", []string{"protocol", "protocol/grant", "protocol/httpapi", "protocol/lookupwire", "lookup/registry"}, "one broker's connection"},
	{"lookup/httpd", []string{"protocol", "protocol/grant", "protocol/httpapi", "protocol/release", "protocol/lookupwire", "lookup/registry"},
		"answers from the registry only, whose entries are what brokers said on the registration wire"},
	{"lookup/metrics", []string{"protocol/exposition", "protocol/release", "lookup/registry"}, "it is handed snapshots"},
	{"lookup", []string{"protocol", "protocol/grant", "protocol/tlsfiles", "protocol/httpapi", "protocol/lookupwire", "protocol/loglevel", "lookup/..."},
		"a lookup runs without a broker's code"},

	{"admin/...", []string{"protocol", "protocol/exposition", "protocol/tlsfiles", "protocol/wholefile", "protocol/grant", "protocol/httpapi", "protocol/loglevel", "protocol/release", "admin/..."}, "it sees daemons over HTTP only, as NSQ's own do"},
	{"admin/metrics", []string{"protocol/exposition", "protocol/release", "admin/cluster"}, "it is handed snapshots"},
	{"admin/history", nil, "pure but for one lock, so that a model can check it: what points mean is decided above"},
	{"admin/compat", []string{"protocol/httpapi"}, "pure: nsqadmin's shapes and sums"},
	{"admin/cluster", []string{"protocol", "protocol/httpapi"}, "what is known of the daemons; who may act is decided above"},
	{"admin/roster", []string{"protocol/httpapi", "protocol/wholefile", "admin/cluster"}, "a file of brokers; what is known of them is cluster's"},
	{"admin/attention", []string{"protocol/httpapi", "admin/cluster"}, "pure rules over a state of the cluster"},
	{"admin/access", []string{"protocol/grant"}, "who somebody is; it must not know what he asks for"},
	{"admin/audit", nil, "it writes down what it is told"},
	{"admin/docs", []string{"admin/docs/build", "admin/ui"}, "generated pages; only its tests build them"},
	{"admin/docs/build", nil, "Markdown in, pages out; it knows no daemon"},
	{"admin/ui", nil, "files; what they show they ask for over HTTP"},
	{"admin/fakes", []string{"protocol/httpapi"}, "made-up daemons for tests"},
	{"apps/appkit", []string{"protocol", "protocol/httpapi", "protocol/loglevel", "protocol/release", "protocol/tlsfiles", "protocol/wholefile", "cmd/cmdkit"},
		"it knows no tool, and daemons by their APIs only; its log and help look as theirs do"},
	{"apps/internal/...", []string{"protocol", "protocol/httpapi", "protocol/wholefile", "apps/appkit"}, "tools are clients of daemons; none knows another"},
	{"apps/internal/bench/...", []string{"protocol", "protocol/grant", "protocol/httpapi", "apps/appkit", "apps/internal/bench/..."},
		"a client of daemons as the others; its load, figures and standard scenarios are rooms of their own"},
	{"apps/internal/bench/standard", []string{"protocol/httpapi", "apps/appkit", "apps/internal/bench/...", "cmd/child"},
		"as the rest of bench; it starts the brokers that it measures"},
	{"apps/internal/apptest", []string{"cmd/cmdtest"}, "stock clients for tests, at the processes of cmdtest"},
	{"apps/internal/targets", nil, "pure: a choice among addresses, with the time as an argument"},
	{"apps/internal/delivery", []string{"apps/internal/targets"}, "what tools share that hand messages on; it knows neither of them"},
	{"apps/internal/definitions", []string{"protocol", "protocol/wholefile"}, "the form of a file; it asks nobody"},
	{"apps/internal/fleet", []string{"protocol/httpapi", "apps/appkit"}, "it asks daemons; what is shown of that, tools decide"},
	{"apps/internal/pub", []string{"protocol", "protocol/keyrule", "protocol/httpapi", "apps/appkit", "apps/internal/targets"}, "a client of daemons; it sends keys where relay does"},
	{"apps/internal/relay", []string{"protocol", "protocol/keyrule", "protocol/httpapi", "apps/appkit", "apps/internal/delivery", "apps/internal/fleet",
		"apps/internal/targets"}, "a client of daemons; it shares with tohttp what both hand messages on with"},
	{"apps/internal/tohttp", []string{"protocol", "protocol/httpapi", "protocol/wholefile", "apps/appkit", "apps/internal/delivery", "apps/internal/fleet",
		"apps/internal/targets"}, "a client of daemons; it shares with relay what both hand messages on with"},
	{"apps/internal/tail", []string{"protocol", "apps/appkit", "apps/internal/delivery"}, "a client of daemons"},
	{"apps/internal/tofile", []string{"protocol", "protocol/httpapi", "apps/appkit", "apps/internal/fleet"}, "a client of daemons"},
	{"apps/internal/stat", []string{"protocol/httpapi", "apps/appkit", "apps/internal/fleet"}, "a client of daemons over HTTP"},
	{"apps/internal/brokerctl", []string{"protocol", "protocol/grant", "protocol/httpapi", "apps/appkit", "apps/internal/..."},
		"the one binary that has every tool"},
	{"apps/...", []string{"apps/appkit", "apps/internal/brokerctl"}, "the one main package of the tools runs them, no more"},
	{"apps/internal/demo", []string{"protocol", "protocol/httpapi", "apps/appkit", "cmd/child"}, "a client that starts its broker; it stands alone"},
	{"apps/internal/democluster", []string{"protocol/httpapi", "apps/appkit", "cmd/child"}, "clients that start their cluster and end it; it stands alone"},

	{"cmd/child", []string{"protocol/httpapi"}, "it runs any command, ours or NSQ's, and asks its /ping"},
	{"cmd/leaktest", nil, "it ends the tests of any room"},
	{"cmd/cmdtest", []string{"cmd/leaktest", "cmd/child", "cmd/cmdkit", "protocol/httpapi"}, "black box: it knows commands by their flags and ports only"},
	{"cmd/deploytest", nil, "black box over files and programs: tests only"},
	{"cmd/cmdkit", []string{"protocol/wholefile", "protocol/httpapi", "protocol/loglevel", "protocol/release"}, "it turns text into values and must know no daemon"},
	{"cmd/brokerd", []string{"protocol/release", "cmd/cmdkit", "broker", "protocol/httpapi"}, "flags, signals and exit code; no logic"},
	{"cmd/lookupd", []string{"protocol/release", "cmd/cmdkit", "lookup", "protocol/httpapi"}, "flags, signals and exit code; no logic"},
	{"cmd/admind", []string{"protocol/release", "cmd/cmdkit", "admin", "protocol/httpapi"}, "flags, signals and exit code; no logic"},
}

// testHelpers may be imported by any test.
var testHelpers = []string{"protocol/prototest", "protocol/apitest", "diskqueue/vfs", "cmd/cmdtest", "cmd/leaktest", "admin/fakes", "apps/internal/apptest",
	"broker/histories", "broker/simnet"}

// blackBoxTests start whole daemons, or rooms that meet in a daemon only, and may import them, in their test files only.
var blackBoxTests = map[string][]string{
	"broker/relay": {"broker/auth", "broker/session", "diskqueue/journal", "protocol/grant"},
	"broker":       {"broker/metrics", "lookup/metrics", "admin/metrics", "protocol/exposition", "cmd/child", "lookup"},
	"apps":         {"broker", "lookup", "admin"},
	"admin":        {"broker", "lookup"},
	"lookup":       {"broker"},
}

// source is one Go file of the module.
type source struct {
	path  string // slash-separated, from the root
	dir   string // its package's folder
	test  bool
	text  []byte
	lines int
	tree  *ast.File
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "." {
			continue
		}
		r, ok := roomOf(s.dir)
		if !ok {
			t.Errorf("%s: its folder is in no line of the table of rooms", s.path)
			continue
		}
		for _, imported := range s.tree.Imports {
			path, err := strconv.Unquote(imported.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			inner, ours := strings.CutPrefix(path, module+"/")
			if ours && inner != s.dir && !r.allows(inner) && !(s.test && testMayImport(s.dir, inner)) {
				t.Errorf("%s imports %s; %s may import %q: %s", s.path, inner, s.dir, r.allow, r.why)
			}
		}
	}
}

// pure are rooms that have no clock, lock, disk, log, dice or goroutine: a moment is an argument, so that a model can check them.
var pure = []string{"broker/channel", "broker/fifo", "broker/inflight"}

var (
	impureImport = regexp.MustCompile(`^(context|io|io/.*|log|log/.*|math/rand.*|net|net/.*|os|os/.*|runtime|runtime/.*|sync|sync/.*|syscall|unsafe)$`)
	impureCode   = regexp.MustCompile(`\btime\.(Now|Since|Until|Sleep|After|AfterFunc|Tick|NewTicker|NewTimer)\b|(?m:^\s*go (func|\w+[.(]))`)
)

// TestPureRoomsArePure holds that they neither import nor call any of that.
func TestPureRoomsArePure(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.dir) {
			continue
		}
		for _, imported := range s.tree.Imports {
			if path, _ := strconv.Unquote(imported.Path.Value); impureImport.MatchString(path) {
				t.Errorf("%s imports %s; %s is pure", s.path, path, s.dir)
			}
		}
		if found := impureCode.Find(s.text); found != nil {
			t.Errorf("%s has %q; %s is pure", s.path, found, s.dir)
		}
	}
}

// TestWithoutTheDetectorIsOneGoroutine holds that rooms whose tests make test runs without the race detector, and their tests, start no goroutine,
// but for tests that it runs with it as well.
func TestWithoutTheDetectorIsOneGoroutine(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	words := func(name string) []string {
		found := regexp.MustCompile(`(?m)^` + name + ` = ((?:.*\\\n)*.*)$`).FindSubmatch(makefile)
		if found == nil {
			t.Fatalf("the Makefile has no %s", name)
		}
		return strings.Fields(strings.ReplaceAll(string(found[1]), "\\\n", " "))
	}
	undetected, meanwhile := words("PURE"), words("MEANWHILE")
	if len(undetected) < 10 || len(meanwhile) == 0 {
		t.Fatalf("read %q and %q", undetected, meanwhile)
	}
	for _, s := range sources(t) {
		if !slices.Contains(undetected, s.dir) {
			continue
		}
		whole, err := parser.ParseFile(token.NewFileSet(), s.path, s.text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(whole, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok && slices.Contains(meanwhile, f.Name.Name) {
				return false
			}
			if found := goroutine(n); found != "" {
				t.Errorf("%s has a %s: the Makefile's PURE says that %s has one goroutine", s.path, found, s.dir)
			}
			return true
		})
	}
}

// goroutine says what of a piece of code starts goroutines, or lets tests run beside each other, if anything does.
func goroutine(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "go statement"
	case *ast.ImportSpec:
		if slices.Contains([]string{`"testing/synctest"`, `"net"`, `"os/exec"`}, n.Path.Value) {
			return "import of " + n.Path.Value
		}
	case *ast.CallExpr:
		called, ok := n.Fun.(*ast.SelectorExpr)
		if ok && slices.Contains([]string{"Go", "Parallel", "AfterFunc", "NewServer", "NewTLSServer"}, called.Sel.Name) {
			return "call of " + called.Sel.Name
		}
	}
	return ""
}

// TestOneRoomKnowsTheEngine holds that the engine of groups of replicas can be told from one room what it is, and be replaced there.
func TestOneRoomKnowsTheEngine(t *testing.T) {
	for _, s := range sources(t) {
		for _, imported := range s.tree.Imports {
			if path, _ := strconv.Unquote(imported.Path.Value); strings.HasPrefix(path, "go.etcd.io/raft/") && s.dir != "broker/replica" {
				t.Errorf("%s imports %s; only broker/replica may", s.path, path)
			}
		}
	}
}

func TestOnlyTheTopFoldersHoldGo(t *testing.T) {
	for _, s := range sources(t) {
		top, _, inFolder := strings.Cut(s.path, "/")
		if inFolder && !slices.Contains(topFolders, top) || !inFolder && s.path != "arch_test.go" {
			t.Errorf("%s lies outside of %q", s.path, topFolders)
		}
	}
}

// TestTheProgramsAreFour holds that go build makes these programs and no other, none of which is named as one of a system's.
func TestTheProgramsAreFour(t *testing.T) {
	var programs []string
	for _, s := range sources(t) {
		if s.tree.Name.Name == "main" && !slices.Contains(programs, s.dir) {
			programs = append(programs, s.dir)
		}
	}
	slices.Sort(programs)
	if want := []string{"apps/brokerctl", "cmd/admind", "cmd/brokerd", "cmd/lookupd"}; !slices.Equal(programs, want) {
		t.Errorf("the programs are %q, want %q", programs, want)
	}
}

func TestEachPackageSaysWhatItIs(t *testing.T) {
	comments := make(map[string]int) // by folder
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if s.tree.Doc == nil {
			comments[s.dir] += 0 // the package is there, documented or not
			continue
		}
		comments[s.dir]++
		want := "Package " + s.tree.Name.Name + " "
		if s.tree.Name.Name == "main" {
			want = "Command " + filepath.Base(s.dir) + " "
		}
		if !strings.HasPrefix(s.tree.Doc.Text(), want) {
			t.Errorf("%s: the package comment should begin with %q", s.path, want)
		}
		if name := filepath.Base(s.path); name != "doc.go" && name != "main.go" {
			t.Errorf("%s: the package comment belongs into doc.go", s.path)
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments, wanted exactly one", dir, n)
		}
	}
}

// TestTheMapNamesEveryRoom holds docs/ARCHITECTURE.md to the tree: it has each package in the first column of its table, and nothing
// else.
func TestTheMapNamesEveryRoom(t *testing.T) {
	text, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if first, _, isRow := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); isRow && strings.HasPrefix(line, "| `") {
			for _, dir := range strings.Split(first, "`, `") {
				named[dir] = true
			}
		}
	}
	for _, s := range sources(t) {
		if s.dir != "." && !s.test {
			if _, ok := named[s.dir]; !ok {
				t.Errorf("docs/ARCHITECTURE.md does not name %s", s.dir)
			}
			named[s.dir] = false
		}
	}
	for dir, missing := range named {
		if missing {
			t.Errorf("docs/ARCHITECTURE.md names %s, which is not there", dir)
		}
	}
}

// inText finds files and what packages declare, in a text that names code: `broker/topic/keys.go`, `keys.go`, `inflight.Turns`.
var inText = regexp.MustCompile("`(?:([a-z_/]+\\.go)|([a-z]+)\\.([A-Z][A-Za-z]*))`")

// TestTheMapNamesWhatThereIs holds what docs/ARCHITECTURE.md says of code to the tree: files are there, and packages have what it names.
func TestTheMapNamesWhatThereIs(t *testing.T) {
	text, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	all := sources(t)
	for _, m := range inText.FindAllStringSubmatch(string(text), -1) {
		file, pkg, name := m[1], m[2], m[3]
		declares := regexp.MustCompile(`(?m)^(type|func|func \(.*\)) ` + name + `\b`)
		if !slices.ContainsFunc(all, func(s source) bool {
			if file != "" {
				return s.path == file || filepath.Base(s.path) == file
			}
			return s.tree.Name.Name == pkg && !s.test && declares.Match(s.text)
		}) {
			t.Errorf("docs/ARCHITECTURE.md names %s, which is not there", m[0])
		}
	}
}

func TestFilesAreSmallEnoughToSee(t *testing.T) {
	const limit = 600
	for _, s := range sources(t) {
		if !s.test && s.lines > limit {
			t.Errorf("%s has %d lines, more than %d", s.path, s.lines, limit)
		}
	}
}

// allows reports whether the room's packages may import the package.
func (r room) allows(path string) bool {
	return slices.ContainsFunc(r.allow, func(pattern string) bool { return matches(pattern, path) })
}

// matches reports whether path is the pattern's package or, with /..., below it.
func matches(pattern, path string) bool {
	base, deep := strings.CutSuffix(pattern, "/...")
	return path == base || deep && strings.HasPrefix(path, base+"/")
}

// roomOf finds the line of the table that fits a folder best.
func roomOf(dir string) (room, bool) {
	best, found := room{}, false
	for _, r := range rooms {
		if matches(r.path, dir) && len(r.path) >= len(best.path) {
			best, found = r, true
		}
	}
	return best, found
}

func testMayImport(dir, path string) bool {
	if slices.Contains(testHelpers, path) {
		return true
	}
	top, _, _ := strings.Cut(dir, "/")
	return slices.Contains(blackBoxTests[top], path) || slices.Contains(blackBoxTests[dir], path)
}

// read is what sources has parsed: once for all tests.
var read []source

// sources parses every Go file of the module, down to its package clause and imports.
func sources(t *testing.T) []source {
	t.Helper()
	if read != nil {
		return read
	}
	var list []source
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); path != "." && (name[0] == '.' || name[0] == '_' || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		list = append(list, source{
			path: path, dir: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go"),
			text: text, lines: strings.Count(string(text), "\n"), tree: tree,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read = list
	return list
}
