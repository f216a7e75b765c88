package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"cambio/trust/strictyaml"
	"cambio/web"
)

// drainTimeout is what requests under way get to end once the process is told
// to: as long as the longest write may take.
const drainTimeout = 15 * time.Second

// Serve listens on the configured addresses until ctx ends, then drains: new
// connections are refused, requests under way are answered. started is called
// once both listeners are open.
func (g *Gateway) Serve(ctx context.Context, started func()) error {
	listeners, err := g.listen(ctx)
	if err != nil {
		return err
	}
	public, admin := web.Server(g.public, g.env.Log), web.Server(g.admin, g.env.Log)
	failed := make(chan error, 2)
	for i, s := range []*http.Server{public, admin} {
		go func() {
			if err := s.Serve(listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	started()
	select {
	case err = <-failed:
	case <-ctx.Done():
		g.Drain()
		g.env.Log.InfoContext(ctx, "draining")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return errors.Join(err, public.Shutdown(ctx), admin.Shutdown(ctx))
}

// listen opens the public and the admin listener, or neither.
func (g *Gateway) listen(ctx context.Context) ([]net.Listener, error) {
	c, err := g.listenConfig()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	public, err := lc.Listen(ctx, "tcp", g.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("gateway: listen: %w", err)
	}
	admin, err := lc.Listen(ctx, "tcp", g.config.AdminListen)
	if err != nil {
		_ = public.Close() // nothing was served yet
		return nil, fmt.Errorf("gateway: admin_listen: %w", err)
	}
	g.env.Log.InfoContext(ctx, "listening", slog.String("public", public.Addr().String()), slog.String("admin", admin.Addr().String()))
	return []net.Listener{web.Listener(public, c), web.Listener(admin, web.ListenConfig{})}, nil
}

func (g *Gateway) listenConfig() (web.ListenConfig, error) {
	c := web.ListenConfig{TrustedProxies: prefixes(g.config.TrustedProxies)}
	if g.config.TLS == nil {
		return c, nil
	}
	c.TerminatedBy = prefixes(g.config.TLS.TerminatedBy)
	if g.config.TLS.Cert == "" {
		return c, nil
	}
	cert, err := tls.LoadX509KeyPair(g.config.TLS.Cert, g.config.TLS.Key)
	if err != nil {
		return c, fmt.Errorf("gateway: tls: %w", err)
	}
	c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if g.config.showsCertificates() {
		// Asked for, never required, and never verified here: who vouches for it is the
		// identity provider's affair, as it is for a token. A resumed connection would
		// prove a key of days ago, so none is.
		c.TLS.ClientAuth, c.TLS.SessionTicketsDisabled = tls.RequestClientCert, true
	}
	return c, nil
}

// checkTLS says whether the listener's certificate and key can be used, so that
// a start fails before anything was opened.
func checkTLS(c Config) strictyaml.Findings {
	if c.TLS == nil || c.TLS.Cert == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key); err != nil {
		return strictyaml.Findings{{
			ID: "tls-unusable", Severity: strictyaml.Error, File: c.TLS.at.file, Line: c.TLS.at.line, Column: c.TLS.at.column, Field: "tls",
			Message: err.Error(), Fix: "name a PEM certificate, and the unencrypted PEM key that belongs to it",
		}}
	}
	return nil
}

// Check says what Open would refuse, and what is worth a warning, without
// opening or changing anything.
func Check(c Config, now time.Time) strictyaml.Findings {
	_, findings := LoadPolicy(c, now)
	return slices.Concat(findings, checkTLS(c), checkKeys(c), checkAuthorities(c, now))
}
