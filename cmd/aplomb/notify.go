package main

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/notify"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// toldFile is what receivers were told, in a data folder.
const toldFile = "notify.json"

// newNotifiers makes those who tell an environment's receivers.
func newNotifiers(f *folder, e config.Environment, c reconciler.Control, log logrus.FieldLogger) ([]*notify.Notifier, error) {
	if len(e.Notify) == 0 {
		return nil, nil
	}
	names := slices.Sorted(maps.Keys(e.Notify))
	book, err := notify.OpenBook(f.join(toldFile), names)
	if err != nil {
		return nil, hinted{err, "put the file away: what is wrong is then told again"}
	}
	var all []*notify.Notifier
	for _, name := range names {
		r := e.Notify[name]
		to := &notify.Receiver{Slack: r.Kind == "slack", CAFile: r.CAFile}
		to.URL = func() (schema.Secret, error) { return schema.NewSecret(r.URL), nil }
		if r.URLFile != "" {
			to.URL = (&secretFile{path: r.URLFile, log: log}).read
		}
		to.Secret = (&secretFile{path: r.SecretFile, log: log}).orNone()
		n := &notify.Notifier{Environment: e.Name, Name: name, On: r.On, Send: to.Send, Book: book, Status: c.Status, Wait: c.Wait, Log: log, Gather: time.Duration(r.Gather)}
		if r.On == nil {
			n.On = notify.Whats
		}
		all = append(all, n)
	}
	return all, nil
}

// tellAll tells every receiver until ctx ends.
func tellAll(ctx context.Context, all []*notify.Notifier) {
	var told sync.WaitGroup
	for _, n := range all {
		told.Go(func() { n.Run(ctx) })
	}
	told.Wait()
}
