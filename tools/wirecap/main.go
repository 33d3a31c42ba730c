// Command wirecap captures golden bytes of the Kafka protocol: it starts a real Apache Kafka behind a small TCP relay,
// lets Kafka's own tools, franz-go and a driver of its own talk to it, and writes one request and its response for each
// API key and version that Spate serves into a folder, as text files of hexadecimal digits. The tests of kafka/wire
// decode those bytes and must encode the very same.
//
//	go run ./wirecap -out ../kafka/wire/testdata
//	go run ./wirecap -listen 127.0.0.1:9393 -broker 127.0.0.1:9292 -out DIR   (relay only, until interrupted)
//
// The broker behind the relay has to advertise the relay's address, or clients go round it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	out := flag.String("out", "", "folder for the captures (required)")
	listen := flag.String("listen", "127.0.0.1:0", "address of the relay")
	broker := flag.String("broker", "", "relay to this broker and do nothing else; empty: start a Kafka and talk to it")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *broker, *out); err != nil {
		fmt.Fprintln(os.Stderr, "wirecap:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, broker, out string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	captures := newCaptures()
	relay := &relay{listener: listener, broker: broker, captures: captures}
	if broker == "" {
		err = driveKafka(ctx, relay)
	} else {
		relay.start()
		<-ctx.Done()
	}
	relay.close()
	if err != nil {
		return err
	}
	n, err := captures.write(out)
	fmt.Printf("wirecap: %d files in %s\n", n, out)
	return err
}
