// Package notify tells others what became of an environment: by a webhook, or
// in a chat that takes what Slack takes. One message for what changed, in order,
// again until it is taken, over restarts.
//
// It tells what aplomb status shows, and nothing that status does not. What comes
// from a repository or an engine stands in a message as text.
//
// Read in this order: notify.go (the loop), news.go (what changed since the last
// message), message.go (how it is said), send.go (to whom), book.go (what was
// told). It must not know the reconciler's inside, nor who is asked for a file.
package notify

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// Notifier tells one receiver. Its fields are not changed after Run began.
type Notifier struct {
	Environment string
	Name        string // of the receiver, in Book
	On          []string
	Send        func(context.Context, Message) error // see Receiver
	Book        *Book
	Status      func() reconciler.Status
	Wait        func(context.Context, func(reconciler.Status) bool) (reconciler.Status, error)
	Log         logrus.FieldLogger

	// Gather is how long what changes is gathered before it is told, and apart
	// times that the least time between two messages; First the
	// wait after a failure, doubled with each further one up to Most. Zero:
	// DefaultGather, DefaultFirst, DefaultMost.
	Gather, First, Most time.Duration
}

// apart is how many times Gather lies between two messages at least: what comes
// and goes does not flood anybody.
const apart = 6

// The waits where Notifier says nothing.
const (
	DefaultGather = 5 * time.Second
	DefaultFirst  = 2 * time.Second
	DefaultMost   = 10 * time.Minute
)

// Run tells until ctx ends.
func (n *Notifier) Run(ctx context.Context) {
	r := n.Book.of(n.Name)
	gather := orElse(n.Gather, DefaultGather)
	var last time.Time // a message was taken
	for ctx.Err() == nil {
		if r.Pending != nil {
			if !n.deliver(ctx, *r.Pending) {
				return
			}
			r.Pending, last = nil, time.Now()
			n.keep(r)
			continue
		}
		s := n.Status()
		told, news := since(r.Told, s)
		if len(wanted(news, n.On)) > 0 {
			if !rest(ctx, max(gather, time.Until(last.Add(apart*gather)))) {
				return
			}
			s = n.Status()
			told, news = since(r.Told, s)
		}
		news = wanted(news, n.On)
		changed := !told.same(r.Told)
		r.Told = told
		if len(news) > 0 {
			m := n.message(s, news)
			r.Pending = &m
		}
		if changed || r.Pending != nil {
			n.keep(r)
		}
		if r.Pending != nil {
			continue
		}
		if _, err := n.Wait(ctx, func(now reconciler.Status) bool { return now.Seq != s.Seq }); err != nil {
			return // the reconciler, or ctx, has ended
		}
	}
}

// keep writes down what was told. Where that fails, it is told all the same: a
// restart may then tell it again.
func (n *Notifier) keep(r record) {
	if err := n.Book.write(n.Name, r); err != nil {
		n.Log.WithError(err).WithFields(logrus.Fields{"env": n.Environment, "receiver": n.Name}).Warn("what was told could not be written down")
	}
}

// deliver sends a message until it is taken; false if ctx ended.
func (n *Notifier) deliver(ctx context.Context, m Message) bool {
	log := n.Log.WithFields(logrus.Fields{"env": n.Environment, "receiver": n.Name, "message": m.ID})
	for tries := 1; ; tries++ {
		err := n.Send(ctx, m)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if refused(err) {
			log.WithError(err).Error("a notification is refused, and not sent again")
			return true
		}
		wait := max(n.backoff(tries), retryAfter(err))
		log.WithError(err).WithField("next", wait.String()).Warn("a notification could not be sent; it is sent again")
		if !rest(ctx, wait) {
			return false
		}
	}
}

func (n *Notifier) backoff(tries int) time.Duration {
	first, most := orElse(n.First, DefaultFirst), orElse(n.Most, DefaultMost)
	if tries < 16 {
		return min(first<<(tries-1), most)
	}
	return most
}

func (n *Notifier) message(s reconciler.Status, news []news) Message {
	m := Message{
		ID: rand.Text(), Environment: n.Environment, At: time.Now().UTC().Truncate(time.Second),
		Revision: s.Revision.ID, Title: tidy(s.Revision.Title), Converged: s.Converged, Counts: s.Counts,
	}
	m.add(news)
	m.Text = m.plain()
	return m
}

// rest waits; false if ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func orElse(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}
