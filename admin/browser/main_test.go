package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"brokerd/cmd/cmdtest"
)

// chrome is the one browser that all tests use, each in a profile of its own; nil where there is none.
var chrome context.Context

func TestMain(m *testing.M) {
	path := browserPath()
	if path == "" {
		os.Exit(m.Run()) // each test says that it is skipped
	}
	os.Exit(cmdtest.Run(func() int { return withBrowser(path, m) }, "cmd/brokerd", "cmd/lookupd", "cmd/admind"))
}

// withBrowser runs the tests while the browser runs, and returns the exit code.
func withBrowser(path string, m *testing.M) int {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// Fewer processes: none that is begun ahead, or for a page that was left, or for the drawing alone. All pages are of this machine.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,SpareRendererForSitePerProcess,BackForwardCache,site-per-process,IsolateOrigins"),
		chromedp.Flag("disable-site-isolation-trials", true), chromedp.Flag("in-process-gpu", true))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...) // ends with the browser
	chrome, _ = chromedp.NewContext(allocator)
	if err := chromedp.Do(chrome); err != nil {
		fmt.Fprintf(os.Stderr, "starting %s: %v\n", path, err)
		return 1
	}
	code := m.Run()
	endProfiles()
	if err := chromedp.Cancel(chrome); err != nil {
		fmt.Fprintln(os.Stderr, "closing the browser:", err)
		code = max(code, 1)
	}
	return code
}

// browserPath returns where Chromium is, "" where it is not. The shell without a window of its own takes little more than half of the processor.
func browserPath() string {
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// whole is whether everything is looked at everywhere, as make pages does. make test takes turns: what is said of a kind of page, of a width or of a
// name is looked at on some of them, and everything somewhere.
var whole = os.Getenv("ADMIN_WHOLE") != ""

// turn returns one of n parts of a list, another for each i, or all of it.
func turn[T any](i, n int, list []T) []T {
	if whole {
		return list
	}
	var part []T
	for j, e := range list {
		if (i+j)%n == 0 {
			part = append(part, e)
		}
	}
	return part
}

// besides holds the tests that run beside others already.
var besides sync.Map

// needBrowser skips the test where there is none. Tests mostly wait for what a cluster does next, so they run beside each other; where figures are
// measured, one after another.
func needBrowser(t *testing.T) {
	t.Helper()
	if chrome == nil {
		t.Skip("NOT RUN: no Chromium on PATH; install it (Debian: apt-get install chromium) to have the page tested")
	}
	if _, already := besides.LoadOrStore(t, true); !already && !measured {
		t.Parallel()
	}
}
