package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"spate/internal/proc"
)

// patience bounds everything that one test does in the browser.
const patience = 2 * time.Minute

// tab is a page in the browser, and what it has done that it must not do.
type tab struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	requests []string // addresses that it asked for
	faults   []string // exceptions, errors on the console, violations of the policy
}

// open starts a browser that finds no host, with one page.
func open(t *testing.T) *tab {
	t.Helper()
	if err := proc.Install("chromium", "chromium", "fonts-dejavu-core"); err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox,
		chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("no-pings", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"), chromedp.WSURLReadTimeout(patience))
	ctx, cancelBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	p := &tab{}
	ctx, cancelTab := chromedp.NewContext(ctx, chromedp.WithListener(p.listen))
	if err := chromedp.Do(ctx, calling(network.Enable, network.EnableParams{}), calling(log.Enable, cdp.Empty{}),
		calling(runtime.Enable, cdp.Empty{})); err != nil {
		t.Fatal(err)
	}
	p.ctx, p.cancel = context.WithTimeout(ctx, patience)
	t.Cleanup(func() {
		p.cancel()
		if err := chromedp.Cancel(ctx); err != nil { // ends the browser and what it has started, removes its directory
			t.Error(err)
		}
		cancelTab()
		cancelBrowser()
	})
	return p
}

// calling is a command whose answer says nothing.
func calling[P any](command cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, command, params)
		return chromedp.Void{}, err
	}
}

// listen collects what the page asks for and complains of.
func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		p.requests = append(p.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, fmt.Sprint(e.ExceptionDetails.Text, " ", e.ExceptionDetails.URL))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			p.faults = append(p.faults, fmt.Sprintf("console: %s", e.Args[0].Value))
		}
	case *log.EventEntryAdded:
		p.faults = append(p.faults, fmt.Sprintf("%s: %s", e.Entry.Level, e.Entry.Text))
	}
}

// do runs actions in the page.
func (p *tab) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// ask runs one action in the page and gives what it found.
func ask[T any](t *testing.T, p *tab, action chromedp.Action[T]) T {
	t.Helper()
	found, err := chromedp.Run(p.ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// complaints are what the page asked for beside files, and what it complained of.
func (p *tab) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []string
	for _, url := range p.requests {
		if !strings.HasPrefix(url, "file:///") {
			found = append(found, "the page asked for "+url)
		}
	}
	return append(found, p.faults...)
}

// clean fails the test if there are complaints.
func (p *tab) clean(t *testing.T) {
	t.Helper()
	for _, complaint := range p.complaints() {
		t.Error(complaint)
	}
}

// shoot keeps a picture of the whole page.
func (p *tab) shoot(t *testing.T, name string) {
	t.Helper()
	picture := ask(t, p, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), name+".png"), picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
