package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spate/broker"
	"spate/internal/clock"
	"spate/internal/config"
	"spate/internal/metrics"
	"spate/internal/task"
	"spate/internal/vfs"
)

// drainWithin bounds a clean shutdown: requests that are under way longer are given up. Kafka's clients wait 30 s.
const drainWithin = 30 * time.Second

// newBroker is "spate broker". began is when the process did.
func newBroker(began time.Time) *cobra.Command {
	var file string
	var set []string
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run a broker in the foreground",
		Long: `Run a broker in the foreground until SIGTERM or SIGINT. Without flags it serves
PLAINTEXT://127.0.0.1:9092 and keeps its data in ./data.

Configuration is Kafka's: a server.properties file, then KAFKA_* environment variables as Kafka's
container image takes them (KAFKA_LOG_DIRS=/data), then --set. The later wins.

When it serves, it prints one line on standard output:
  ready node.id=1 listeners=PLAINTEXT://127.0.0.1:9092 pid=1234 startup_ms=12
Logs go to standard error. Exit status: 0 after a clean shutdown, 2 for a configuration that is wrong.`,
		Example: "  spate broker --config server.properties --set num.partitions=3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, warnings, err := loadConfig(file, set)
			if err != nil {
				return usageError{err}
			}
			log := newLogger(c, cmd.ErrOrStderr())
			for _, w := range warnings {
				log.Warn("config", "key", w.Key, "note", w.Message)
			}
			return serve(cmd.Context(), c, log, cmd.OutOrStdout(), began)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "properties file, such as Kafka's server.properties")
	cmd.Flags().StringArrayVar(&set, "set", nil, "set a key, key=value; may be repeated, the last wins")
	return cmd
}

// loadConfig reads the sources of the configuration. Nothing is opened besides the file.
func loadConfig(file string, set []string) (*config.Config, []config.Warning, error) {
	sources := config.Sources{File: file, Environ: os.Environ(), Set: set, Hostname: "localhost"}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		sources.Properties = content
	}
	if name, err := os.Hostname(); err == nil {
		sources.Hostname = name
	}
	return config.Load(sources)
}

// newLogger makes the logger that the configuration asks for.
func newLogger(c *config.Config, out io.Writer) *slog.Logger {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn,
		"error": slog.LevelError}
	options := &slog.HandlerOptions{Level: levels[c.String("spate.log.level")]}
	if c.String("spate.log.format") == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// serve runs the broker until ctx ends.
func serve(ctx context.Context, c *config.Config, log *slog.Logger, out io.Writer, began time.Time) error {
	endpoint, err := listenMetrics(c.String("spate.metrics.listener"))
	if err != nil {
		return err
	}
	env := broker.Env{Clock: clock.Real{}, FS: vfs.NewOS(), Rand: rand.Reader, Log: log}
	b, err := broker.Open(env, c)
	if err != nil {
		return errors.Join(err, endpoint.close(ctx))
	}
	b.Metrics().Gauge(metrics.BuildInfo, version, runtime.Version()).Set(1)
	endpoint.serve(b.Metrics())
	if _, err := fmt.Fprintln(out, readyLine(b, endpoint, time.Since(began))); err != nil {
		log.Warn("standard output is closed", "error", err)
	}
	var failed error
	select {
	case <-ctx.Done():
		log.Info("shutting down")
	case <-b.Failed():
		failed = b.Failure()
	}
	deadline, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	err = errors.Join(failed, b.Close(deadline), endpoint.close(deadline))
	if err == nil {
		log.Info("shut down")
	}
	return err
}

// readyLine is the line by which scripts know that clients can connect, and where.
func readyLine(b *broker.Broker, endpoint *metricsEndpoint, startup time.Duration) string {
	var listeners []string
	for _, l := range b.Listeners() {
		listeners = append(listeners, l.Name+"://"+l.Address.String())
	}
	line := fmt.Sprintf("ready node.id=%d listeners=%s pid=%d startup_ms=%d", b.NodeID(), strings.Join(listeners, ","),
		os.Getpid(), startup.Milliseconds())
	if endpoint != nil {
		line += " metrics=http://" + endpoint.listener.Addr().String() + metricsPath
	}
	return line
}

// metricsPath is where Prometheus looks by default.
const metricsPath = "/metrics"

// metricsEndpoint serves the metrics over HTTP. Nil serves none.
type metricsEndpoint struct {
	listener net.Listener
	server   http.Server
	running  task.Group
}

// listenMetrics opens the listener, so that an address in use ends the start; an empty address opens none.
func listenMetrics(address string) (*metricsEndpoint, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("spate.metrics.listener: %w", err)
	}
	return &metricsEndpoint{listener: listener}, nil
}

// serve begins to answer.
func (e *metricsEndpoint) serve(registry *metrics.Registry) {
	if e == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, registry.Handler())
	// A scraper is one request at a time; the bounds keep one that hangs from holding a connection for ever.
	e.server = http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	e.running.Go("metrics", func() { _ = e.server.Serve(e.listener) }) // it ends with ErrServerClosed
}

// close ends the endpoint and the goroutine that serves it.
func (e *metricsEndpoint) close(ctx context.Context) error {
	if e == nil {
		return nil
	}
	err := e.server.Shutdown(ctx)
	_ = e.listener.Close() // Shutdown closed it, if it ever served
	e.running.Wait()
	return err
}
