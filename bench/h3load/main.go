// h3load sends requests over HTTP/3 (quic-go): connections, each with streams, for some seconds; or holds idle connections.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

func main() {
	url := flag.String("url", "", "")
	connections := flag.Int("connections", 10, "")
	streams := flag.Int("streams", 10, "")
	seconds := flag.Float64("seconds", 5, "")
	requests := flag.Int64("requests", 0, "end after so many, not after a time")
	idle := flag.Bool("idle", false, "one request on each connection, then wait for the end of stdin")
	flag.Parse()

	var begun, done, failed, bytes atomic.Int64
	var first atomic.Value
	configuration := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}, ServerName: "gate.test"}
	settings := &quic.Config{
		InitialStreamReceiveWindow:     1 << 20,
		MaxStreamReceiveWindow:         6 << 20,
		InitialConnectionReceiveWindow: 4 << 20,
		MaxConnectionReceiveWindow:     16 << 20,
		MaxIdleTimeout:                 5 * time.Minute,
		KeepAlivePeriod:                0,
	}
	get := func(transport *http3.Transport) error {
		request, _ := http.NewRequestWithContext(context.Background(), "GET", *url, nil)
		request.Host = configuration.ServerName
		response, err := transport.RoundTrip(request)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		bytes.Add(n)
		if err == nil && response.StatusCode != 200 {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	var group sync.WaitGroup
	begin := time.Now()
	end := begin.Add(time.Duration(*seconds * float64(time.Second)))
	limit := make(chan struct{}, 50)
	for i := 0; i < *connections; i++ {
		transport := &http3.Transport{TLSClientConfig: configuration, QUICConfig: settings}
		if *idle {
			group.Add(1)
			limit <- struct{}{}
			go func() {
				defer group.Done()
				defer func() { <-limit }()
				if err := get(transport); err != nil {
					failed.Add(1)
					first.CompareAndSwap(nil, err.Error())
				} else {
					done.Add(1)
				}
			}()
			continue
		}
		for j := 0; j < *streams; j++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for {
					if *requests > 0 && begun.Add(1) > *requests || *requests == 0 && !time.Now().Before(end) {
						break
					}
					if err := get(transport); err != nil {
						failed.Add(1)
						first.CompareAndSwap(nil, err.Error())
						time.Sleep(10 * time.Millisecond)
					} else {
						done.Add(1)
					}
				}
			}()
		}
	}
	group.Wait()
	out := map[string]any{"requests": done.Load(), "failed": failed.Load(), "bytes": bytes.Load(),
		"seconds": time.Since(begin).Seconds(), "error": first.Load()}
	json.NewEncoder(os.Stdout).Encode(out)
	if *idle {
		io.Copy(io.Discard, os.Stdin)
	}
}
