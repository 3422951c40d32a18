package browser

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"brokerd/admin/fakes"
	"brokerd/cmd/cmdtest"
	"brokerd/protocol/httpapi"
)

// TestPicturesOfTheDocumentation makes docs/images/admin-*.png anew: a shop with four brokers, one of which has died, after ten minutes in which the
// charts have filled.
func TestPicturesOfTheDocumentation(t *testing.T) {
	if os.Getenv("ADMIN_DOC_PICTURES") == "" {
		t.Skip("NOT RUN: it takes ten minutes and changes docs/images; set ADMIN_DOC_PICTURES=1 to have the pictures made anew")
	}
	needBrowser(t)
	s := &stage{brokers: shopBrokers(t)}
	args := []string{"--refresh-interval=1s"}
	for _, b := range s.brokers {
		args = append(args, "--nsqd-http-address="+b.Address())
	}
	s.admin = cmdtest.NewAdmin(t, "admind", args...)
	s.base = "http://" + s.admin.HTTP + "/"
	s.admin.Start(t)
	s.move(t, waves)
	p := openTab(t, s.base)
	wait := func(d time.Duration) {
		eval[bool](p, fmt.Sprintf("new Promise((done) => setTimeout(() => done(true), %d))", d.Milliseconds()))
	}
	for range 14 {
		wait(30 * time.Second)
	}
	s.brokers[3].Kill()
	for range 6 {
		wait(30 * time.Second)
	}
	p.visit("")
	p.see("1 down")
	wait(3 * time.Second)
	p.documented("admin-overview")
	p.scheme("dark")
	p.visit("topics/orders/billing")
	p.see("Latency")
	p.until("time is drawn", `document.querySelectorAll(".chart canvas").length >= 3`)
	wait(5 * time.Second)
	p.documented("admin-channel")
	p.narrow()
	p.scheme("light")
	p.visit("")
	p.see("1 down")
	wait(3 * time.Second)
	p.documented("admin-phone")
}

// shopBrokers are four brokers of a shop.
func shopBrokers(t *testing.T) []*fakes.Broker {
	var brokers []*fakes.Broker
	for i := range 4 {
		b := newBroker(t, fmt.Sprintf("queue-%d", i+1))
		b.Info.BroadcastAddress, b.Info.HTTPPort, b.Info.TCPPort = fmt.Sprintf("queue-%d.shop.example.com", i+1), 4151, 4150
		b.Storage.FreeBytes = uint64(380+17*i) * gib
		b.Stats.Memory = &httpapi.Memory{HeapInUseBytes: 48 << 20, HeapObjects: 41000, GCPauseUsec99: 140, GCTotalRuns: 912}
		of := func(name string, n int) (clients []httpapi.Client) {
			for k := range n {
				clients = append(clients, consumer(fmt.Sprintf("%s-%d", name, k+1), 40*i+7*k+len(name), nil))
			}
			return clients
		}
		b.Stats.Topics = []httpapi.Topic{
			topic("audit", channel("archive", 0, of("archive", 1)...)),
			topic("carts", channel("abandoned", 0, of("reminders", 1)...), channel("metrics#ephemeral", 0, of("metrics", 1)...)),
			topic("clicks", channel("metrics#ephemeral", 0, of("metrics", 1)...), channel("recommend", 0, of("recommend", 2)...)),
			topic("invoices", channel("print", 0, of("print", 1)...)),
			topic("mail.outbound", channel("smtp", 12, of("smtp", 2)...)),
			topic("orders", channel("archive", 0, of("archive", 1)...), channel("billing", 0, of("billing", 2)...), channel("fraud", 0, of("fraud", 1)...)),
			topic("payments", channel("ledger", 0, of("ledger", 2)...)),
			topic("returns", channel("refund", 0, of("refund", 1)...)),
			topic("stock", channel("warehouse", 0, of("warehouse", 1)...), channel("website", 0, of("website", 1)...)),
		}
		for _, topic := range b.Stats.Topics {
			b.Levels[topic.TopicName] = "disk"
		}
		brokers = append(brokers, b)
	}
	return brokers
}

// waves is the traffic of a shop: it comes and goes; billing falls behind for a while, as one in four of its messages fails, and fraud's consumer hangs.
func waves(b *fakes.Broker, n int) {
	for i := range b.Stats.Topics {
		t := &b.Stats.Topics[i]
		at := float64(n)/260 + float64(i)
		in := uint64(4 + 3*float64(len(t.TopicName)%5) + 6*(1+math.Sin(at)) + float64((n*(i+3))%4))
		t.MessageCount += in
		t.MessageBytes += in * uint64(220+90*i)
		for j := range t.Channels {
			c := &t.Channels[j]
			c.MessageCount += in
			switch c.ChannelName {
			case "billing":
				out := min(uint64(c.Depth)+in, 14)
				c.Depth += int64(in) - int64(out)
				c.RequeueCount += out / 6
				c.TimeoutCount += uint64(n/7%9) / 8
				c.InFlightCount, c.DeferredCount = 18+n%5, 9+n/11%6
				share(c.Clients, out)
				for k := range c.Clients {
					c.Clients[k].InFlightCount = int64(9 + (n+k)%4)
					c.Clients[k].RequeueCount += out / 12
					c.Clients[k].MessageCount += out / 12
				}
			case "fraud":
				c.Depth += int64(in)
				c.InFlightCount, c.Clients[0].InFlightCount, c.Clients[0].FinishCount, c.Clients[0].MessageCount = 25, 25, 1000, 1025
			default:
				share(c.Clients, in)
			}
		}
	}
}

// documented writes what is in sight to docs/images.
func (p *tab) documented(name string) {
	p.t.Helper()
	text, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	whole, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	few := image.NewPaletted(whole.Bounds(), colours(whole)) // a third of the bytes
	draw.Draw(few, few.Bounds(), whole, image.Point{}, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("../../docs/images", name+".png"), out.Bytes(), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// colours are the picture's 256 most frequent ones.
func colours(of image.Image) color.Palette {
	counts := make(map[color.RGBA]int)
	for y := of.Bounds().Min.Y; y < of.Bounds().Max.Y; y++ {
		for x := of.Bounds().Min.X; x < of.Bounds().Max.X; x++ {
			counts[color.RGBAModel.Convert(of.At(x, y)).(color.RGBA)]++
		}
	}
	all := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(uint32(a.R)<<16|uint32(a.G)<<8|uint32(a.B), uint32(b.R)<<16|uint32(b.G)<<8|uint32(b.B)))
	})
	var most color.Palette
	for _, c := range all[:min(256, len(all))] {
		most = append(most, c)
	}
	return most
}
