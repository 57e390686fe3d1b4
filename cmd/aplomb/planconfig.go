package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
)

// turnOf is turn for an environment of a configuration: its daemon's, where one
// runs, or opened here as the daemon would.
func (a *app) turnOf(ctx context.Context, o turnFlags, args []string, how opening) (*session, error) {
	if len(args) > 0 || o.sourceFlags != (sourceFlags{}) || o.given() || a.server != "" {
		return nil, usage("leave PATH and the other flags out", "the configuration says what %s follows", "an environment")
	}
	cfg, findings, err := loadConfig(ctx, o.config)
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, a.findings(findings)
	}
	e, err := a.sectionOf(cfg)
	if err != nil {
		return nil, err
	}
	a.data, a.env = cfg.Data, e.Name
	if s, err := a.dial(ctx, a.data); !errors.Is(err, api.ErrNotRunning) {
		return s, err
	}
	if _, err := os.Stat(cfg.Data); errors.Is(err, fs.ErrNotExist) && !o.init {
		return nil, missing(cfg.Data)
	}
	h, err := openHome(cfg)
	if err != nil {
		return nil, err
	}
	if h.record.Environments[e.Name] == "" && !o.init {
		return nil, errors.Join(missing(h.join(e.Name)), h.Close())
	}
	f, err := h.folder(*e)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	how.source, how.section, how.file = sourceOf(*e), e, h.record.Configuration
	s, err := a.open(ctx, f, how)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	inner := s.close
	s.close = func() error { return errors.Join(inner(), h.Close()) }
	return s, nil
}

// sectionOf is the environment of a configuration that --env names, or the only
// one.
func (a *app) sectionOf(cfg *config.Config) (*config.Environment, error) {
	if i := slices.IndexFunc(cfg.Environments, func(e config.Environment) bool {
		return e.Name == a.env || a.env == "" && len(cfg.Environments) == 1
	}); i >= 0 {
		return &cfg.Environments[i], nil
	}
	var names []string
	for _, e := range cfg.Environments {
		names = append(names, e.Name)
	}
	return nil, usage("--env NAME", "%s has environments %s", cfg.Path, strings.Join(names, ", "))
}
