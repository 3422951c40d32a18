package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

var (
	daemons string          // folder of our binaries, set once before any test runs
	chrome  context.Context // the one browser that all tests use, each in a profile of its own; nil where there is none
)

func TestMain(m *testing.M) {
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.RemoveAll(daemons)
		os.Exit(1)
	}
	code := m.Run()
	if chrome != nil {
		if err := chromedp.Cancel(chrome); err != nil {
			fmt.Fprintln(os.Stderr, "closing the browser:", err)
			code = max(code, 1)
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(daemons)
	os.Exit(code)
}

// prepare builds the daemons and starts the browser, if there is one.
func prepare() error {
	path := browserPath()
	if path == "" {
		return nil
	}
	var err error
	if daemons, err = os.MkdirTemp("", "browser-"); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-o", daemons, "brokerd/cmd/brokerd", "brokerd/cmd/lookupd", "brokerd/cmd/admind")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the daemons: %w\n%s", err, out)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...) // ends with the browser, which TestMain closes
	chrome, _ = chromedp.NewContext(allocator)
	if err := chromedp.Do(chrome); err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	return nil
}

// browserPath returns where Chromium is, "" where it is not.
func browserPath() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// needBrowser skips the test where there is none.
func needBrowser(t *testing.T) {
	t.Helper()
	if chrome == nil {
		t.Skip("NOT RUN: no Chromium on PATH; install it (Debian: apt-get install chromium) to have the page tested")
	}
}
