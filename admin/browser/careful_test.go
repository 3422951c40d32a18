package browser

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"brokerd/admin/fakes"
	"brokerd/protocol/httpapi"
)

// TestADeadBrokerStaysRedUntilItIsDismissed: also on the page of an admind that was started after it died; it says what was on it.
func TestADeadBrokerStaysRedUntilItIsDismissed(t *testing.T) {
	alive, dead := newBroker(t, "alive"), newBroker(t, "dead")
	dead.Stats.Topics = []httpapi.Topic{topic("orders", channel("billing", 321))}
	s := newStage(t, []*fakes.Broker{alive, dead}, "--state-path="+filepath.Join(t.TempDir(), "state"))
	p := openTab(t, s.base)
	p.mayWrite("ERR_") // the browser's own lines about an admind that is started anew
	p.visit("")
	p.see("2 nodes", "orders")
	s.withDead(t, 1)
	p.see("1 down")
	s.admin.Kill(t)
	s.admin.Start(t)
	p.visit("")
	p.see("1 down", dead.Address()+" does not answer", "321 messages not finished were on it", "no node that answers has orders")
	p.until("its topic is down", `document.querySelector("tbody .badge.bad")?.textContent === "down"`)
	p.press("node " + dead.Address())
	p.see("This node does not answer", "321 messages on 1 topic were not finished", "orders")
	p.press("Dismiss")
	p.see("Nothing on its disk is touched")
	p.agree("Dismiss")
	p.told("Dismissed " + dead.Address())
	p.until("only the other is listed", `document.querySelectorAll("tbody tr[data-index]").length === 1`)
	p.press("Overview")
	p.see("No topic yet")
	p.seeNoMore("does not answer")
}

// TestTheSlowestChannelIsTold: one channel that keeps up does not hide another that finishes nothing, and what is a sum says so.
func TestTheSlowestChannelIsTold(t *testing.T) {
	b := newBroker(t, "b")
	b.Stats.Topics = []httpapi.Topic{topic("orders", channel("fast", 0, consumer("fast-1", 1, nil)), channel("archive", 0))}
	s := newStage(t, []*fakes.Broker{b})
	s.move(t, func(b *fakes.Broker, n int) { flow(b, n); b.Stats.Topics[0].Channels[1].Depth += 5 })
	p := openTab(t, s.base)
	p.visit("")
	p.see("finished, 2 channels together", "most on orders / archive", "Slowest channel")
	cells := `[...document.querySelector("tbody tr[data-index='0']").children].map((c) => c.textContent)`
	p.until("something comes in, nothing goes out of the slowest", `((c) => Number(c[1]) > 0 && c[2] === "0" && c[5] === "archive")(`+cells+`)`)
	p.press("orders")
	p.see("slowest channel: archive", "out, slowest channel")
	p.until("the tile has the slowest channel's rate", `[...document.querySelectorAll(".tile")].some((t) => /^Out\s*0\/s/.test(t.innerText))`)
}

// TestTheLevelsWordSaysWhereMessagesAre: what a crash leaves of them, and not in which memory their bodies happen to be.
func TestTheLevelsWordSaysWhereMessagesAre(t *testing.T) {
	var brokers []*fakes.Broker
	levels := []string{"disk", "fsync", "memory", ""}
	for i, level := range levels {
		b := newBroker(t, "b")
		c := channel("c", 57748)
		if level == "" { // an nsqd
			b.Storage, b.Levels, c.BackendDepth = nil, nil, 7748
		} else {
			b.Levels["t-"+level] = level
		}
		b.Stats.Topics = []httpapi.Topic{topic([]string{"t-disk", "t-fsync", "t-memory", "t-nsqd"}[i], c)}
		brokers = append(brokers, b)
	}
	p := openTab(t, newStage(t, brokers).base)
	for path, want := range map[string]string{"t-disk": "safe on disk", "t-fsync": "safe on disk, synced", "t-memory": "in memory only", "t-nsqd": "7.75k on disk, 50.0k in memory"} {
		p.visit("topics/" + path)
		p.see(want)
		p.visit("topics/" + path + "/c")
		p.see(want)
		p.seeNoMore("0 on disk")
	}
}

// TestConsumersAndNodesAgree: on the page of a channel that is finished by turns on one node and the other, both tables name the same one.
func TestConsumersAndNodesAgree(t *testing.T) {
	brokers := []*fakes.Broker{newBroker(t, "a"), newBroker(t, "b")}
	for i, b := range brokers {
		b.Stats.Topics = []httpapi.Topic{topic("orders", channel("billing", 0, consumer("billing-1", i, nil)))}
	}
	s := newStage(t, brokers)
	s.move(t, func(b *fakes.Broker, n int) {
		if (n/9)%2 == 0 == (b == brokers[0]) {
			flow(b, n)
		}
	})
	p := openTab(t, s.base)
	p.visit("topics/orders/billing")
	rates := `(() => {
		const column = (table, label) => {
			const at = [...table.querySelectorAll("thead th")].findIndex((h) => h.textContent.startsWith(label)), by = [...table.querySelectorAll("thead th")].findIndex((h) => h.textContent.startsWith("Node"));
			return Object.fromEntries([...table.querySelectorAll("tbody tr[data-index]")].map((r) => [r.children[by].textContent, r.children[at].textContent]));
		};
		const [consumers, nodes] = document.querySelectorAll("table");
		return [column(consumers, "Finished/s"), column(nodes, "Out/s")];
	})()`
	p.until("the tables are there", `document.querySelectorAll("table").length === 2`)
	p.until("rates are known", `((r) => !Object.values(r[0]).includes("–") && Object.values(r[0]).some((n) => n !== "0"))(`+rates+`)`)
	seen := map[string]bool{}
	eventually(t, "both nodes had their turn", func() bool {
		two := eval[[]map[string]string](p, rates)
		for node, rate := range two[0] { // a node that answered too late for this page tells no consumers
			if rate != two[1][node] {
				t.Errorf("consumers finish %v, nodes %v", two[0], two[1])
			}
			seen[node] = seen[node] || rate != "0"
		}
		return t.Failed() || seen[brokers[0].Address()] && seen[brokers[1].Address()]
	})
}

// TestADeadNodesFiguresAreDimmedWithTheirAge, its rates are not said to be zero, and its charts end where nothing is known.
func TestADeadNodesFiguresAreDimmedWithTheirAge(t *testing.T) {
	s := healthy(t)
	dead := s.brokers[0]
	p := openTab(t, s.base)
	p.visit("nodes/" + dead.Address())
	p.see("About")
	dead.Kill()
	p.see("This node does not answer", "as of")
	p.until("each tile is dimmed", `document.querySelectorAll(".tile.old").length === document.querySelectorAll(".tile").length`)
	p.until("no rate is told", `[...document.querySelectorAll(".tile")].some((t) => /^In\s*–\s*as of/.test(t.innerText))`)
	p.until("the charts' newest point is no zero", `[...document.querySelectorAll(".legend b")].every((b) => b.textContent === "–")`)
	p.press("Nodes")
	p.until("its rates are not zero in the list", `[...document.querySelectorAll("tr.stale td")].some((c) => c.textContent === "–")`)
	for _, b := range s.brokers[1:] {
		b.Kill()
	}
	p.press("Overview")
	p.until("the whole is dimmed when no node answers", `document.querySelectorAll(".tile.old").length === 5`)
}

// TestOneEntryForEachCauseIsShown: none is hidden behind a button, many of a kind are one that opens, and a paused channel is said to be paused.
func TestOneEntryForEachCauseIsShown(t *testing.T) {
	s := busy(t).withDead(t, 1)
	p := openTab(t, s.base)
	p.visit("")
	p.see("Needs attention", "cannot keep messages", "does not answer", "7 channels with messages have no consumer", "worst: channel archive of orders")
	p.until("the critical ones come first", `((l) => l[0] && l.findIndex((e) => !e.classList.contains("critical")) === l.filter((e) => e.classList.contains("critical")).length)([...document.querySelectorAll(".attention > li")])`)
	p.seeNoMore("Show")
	p.press("7 channels")
	p.see("channel store of sensor-0 has no consumer")
	p.press("channel store of sensor-0")
	p.see("Latency")
}

// TestAStuckConsumerIsFlagged in the list of all, on its channel's page and on its own; timeouts have columns.
func TestAStuckConsumerIsFlagged(t *testing.T) {
	s := busy(t)
	p := openTab(t, s.base)
	for _, path := range []string{"consumers", "topics/orders/fraud", "consumers?client=fraud-detection-worker-1.shop.example.com"} {
		p.visit(path)
		p.until(path+" flags it", `[...document.querySelectorAll("tr.stuck")].some((r) => r.innerText.includes("stuck"))`)
		p.see("Timed out/s")
	}
	p.visit("topics/orders/billing")
	p.see("Latency", "billing-1")
	p.until("one that works is not flagged", `document.querySelectorAll("tbody tr").length > 0 && !document.querySelector("tr.stuck")`)
}

// TestExactNamesComeFirstAndKeysAreTold: the search, and the page of keys.
func TestExactNamesComeFirstAndKeysAreTold(t *testing.T) {
	b := newBroker(t, "b")
	b.Stats.Topics = []httpapi.Topic{topic("billing.audit"), topic("orders", channel("billing", 0, consumer("billing", 1, nil)))}
	p := openTab(t, newStage(t, []*fakes.Broker{b}).base)
	p.visit("consumers")
	p.see("1 connection")
	p.seeNoMore("1 connections")
	p.slash()
	p.key("billing")
	p.until("the channel of that name is first", `document.querySelector("[role=option][aria-selected=true]")?.innerText.replace(/\s+/g, " ").startsWith("channel orders/billing")`)
	p.key(kb.Escape)
	p.key(kb.Escape)
	p.key("?")
	p.see("Keys", "search topics, channels, nodes and consumers")
	p.key(kb.Escape)
	p.until("the dialog is gone", `!document.querySelector("dialog")`)
	p.slash()
	p.key("?")
	p.until("in a field it is a letter", `document.activeElement.value === "?" && !document.querySelector("dialog")`)
}

// TestNothingOfANameIsInterpreted: whatever topics, channels, hosts, libraries, addresses and daemons are called, it is text: nothing runs, no element
// comes of it, nothing is hidden, and what is written from right to left turns nothing around.
func TestNothingOfANameIsInterpreted(t *testing.T) {
	s := hostile(t)
	p := openTab(t, s.base)
	p.mayWrite("404") // the browser's own lines about a page of a name that no path can have, and about a refusal
	p.mayWrite("400")
	paths := []string{"", "nodes", "consumers", "lookup", "nodes/" + s.brokers[0].Address()}
	for i, name := range hostileNames {
		if strings.ContainsAny(name, "/\x00") || name == "" {
			continue // no path can have it
		}
		of := []string{"topics/" + url.PathEscape(name), "topics/" + url.PathEscape(name) + "/" + url.PathEscape(name), "consumers?client=" + url.QueryEscape(name)}
		paths = append(paths, turn(i, len(of), of)...)
	}
	for _, path := range paths {
		p.visit(path)
		p.until(path+" is there", `document.querySelector("table, .blank, .empty") && !document.querySelector(".loading")`)
		p.harmless(path)
	}
	p.visit("")
	for _, name := range hostileNames {
		p.fill("Search topics, channels, nodes and consumers", strings.Map(typed, name))
		p.until("the search has answered", `document.querySelector(".found:not([hidden])")`)
		p.harmless("the search for " + name)
	}
	p.visit("topics/" + url.PathEscape(hostileNames[0]))
	p.see(hostileNames[0])
	p.press("Delete")
	p.fill("To go on, type the name of the", hostileNames[0])
	p.press("Delete")
	p.see("INVALID_TOPIC")
	p.harmless("a dialog")
}

// typed leaves out what has no key.
func typed(r rune) rune {
	if r < ' ' {
		return -1
	}
	return r
}

// harmless fails the test when a name was taken for more than a text.
func (p *tab) harmless(where string) {
	p.t.Helper()
	faults := eval[[]string](p, `(() => {
		const faults = [];
		if (window.hacked !== undefined) faults.push("a script of a name ran");
		for (const e of document.querySelectorAll("img, script:not([src]):not(#session), iframe, object, embed, base, form[action], [onerror], [onclick], [onload], a[href^='javascript:'], b.x"))
			faults.push("there is an element " + e.outerHTML.slice(0, 80));
		const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		for (let n; (n = walk.nextNode());) {
			if (n.parentNode.id === "session") continue;
			if (/[\u200b-\u200f\u202a-\u202e\u0000-\u0008\u000b-\u001f]/.test(n.data)) faults.push("something unseen is in the text " + n.data.slice(0, 80));
		}
		if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is too wide");
		return faults;
	})()`)
	p.mu.Lock()
	faults = append(faults, p.written...)
	p.written = nil
	p.mu.Unlock()
	for _, fault := range faults {
		p.t.Errorf("%s: %s", where, fault)
	}
}

// TestAnEmptyClusterSaysWhatToDoFirst, step by step, with commands that can be copied, and follows what was done.
func TestAnEmptyClusterSaysWhatToDoFirst(t *testing.T) {
	s := newStage(t, nil)
	p := openTab(t, s.base)
	p.visit("")
	p.see("No broker yet", "brokerd --lookupd-tcp-address=127.0.0.1:4160")
	eval[bool](p, `(Object.defineProperty(navigator, "clipboard", { value: { writeText: async (text) => { window.copied = text; } } }), true)`)
	eval[bool](p, `(new MutationObserver(() => { window.saidSo ||= document.body.innerText.includes("Copied"); }).observe(document.body, { subtree: true, childList: true, characterData: true }), true)`)
	p.press("Copy: brokerd --lookupd-tcp-address=127.0.0.1:4160")
	p.until("it says so for a moment", "window.saidSo")
	if got := eval[string](p, "window.copied"); got != "brokerd --lookupd-tcp-address=127.0.0.1:4160" {
		t.Errorf("the clipboard has %q", got)
	}
	b := newBroker(t, "first")
	s.lookup.Change(func(l *fakes.Lookup) { l.Nodes = append(l.Nodes, b.Node()) })
	p.see("No topic yet", b.Address()+" is here.", "curl -d 'first message' 'http://"+b.Address()+"/pub?topic=hello'", fmt.Sprintf("--nsqd-tcp-address=127.0.0.1:%d", b.Port()+1))
	b.Change(func(b *fakes.Broker) { b.Stats.Topics = []httpapi.Topic{topic("hello")} })
	p.see("1 topic", "hello")
	p.seeNoMore("No topic yet")
}

// TestEveryMessageIsAccountedFor on the page of its channel: what was accepted, and what became of it.
func TestEveryMessageIsAccountedFor(t *testing.T) {
	c := newCluster(t, 2)
	c.create(t, "orders", "billing")
	for _, b := range c.brokers {
		for range 3 {
			b.Publish(t, "orders", "a book")
		}
	}
	c.brokers[0].Post(t, "/channel/empty?topic=orders&channel=billing", nil)
	p := openTab(t, c.base)
	p.visit("topics/orders/billing")
	p.see("Every message", "On 2 nodes")
	p.until("the sum is told", `((t) => /Accepted\s*6\s*=/.test(t) && /Discarded: \S.*\s*3/.test(t) && /Waiting\s*3/.test(t))(document.querySelector(".account .sum").innerText)`)
	p.seeNoMore("does not add up")
}

// TestANodesSettingsAreOnItsPage as they are in force, those that are no defaults first.
func TestANodesSettingsAreOnItsPage(t *testing.T) {
	c := newCluster(t, 1)
	p := openTab(t, c.base)
	p.visit("nodes/" + c.brokers[0].HTTP)
	p.see("Settings", "--data-path", c.brokers[0].Data, "flag")
	p.seeNoMore("--broadcast-http-port")
	p.press("All")
	p.until("all are listed", `Number(document.querySelector("table[aria-label='Settings in force']").getAttribute("aria-rowcount")) > 50`)
	eval[bool](p, `(document.querySelector("table[aria-label='Settings in force']").scrollIntoView(), true)`)
	p.see("--broadcast-address", "default")
}

// TestSettingsAreForOperators: a viewer is not told them.
func TestSettingsAreForOperators(t *testing.T) {
	s := newStage(t, []*fakes.Broker{newBroker(t, "b")}, "--admin-user=alice")
	p := openTab(t, s.base)
	p.visit("nodes/" + s.brokers[0].Address())
	p.see("About", "Topics")
	p.seeNoMore("--data-path")
	answer, err := http.Get(s.base + "api/nodes/" + s.brokers[0].Address() + "/settings")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", answer.StatusCode)
	}
}
