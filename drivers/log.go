package drivers

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
)

// Log tells of every call that ends: Observe and Plan at debug level, Apply at
// info. A failed call is told by the class of its error only: the error itself
// is answered, and whoever handles it logs it.
type Log struct {
	Driver
	Logger logrus.FieldLogger // never nil
}

var _ Driver = (*Log)(nil)

// Unwrap gives As the decorated driver.
func (l *Log) Unwrap() Driver { return l.Driver }

// ended is the entry of a call.
func (l *Log) ended(since time.Time, err error, fields logrus.Fields) logrus.FieldLogger {
	fields["took"] = time.Since(since).String()
	if err != nil {
		fields["class"] = Class(err).Error()
	}
	return l.Logger.WithFields(fields)
}

// Observe implements Driver.
func (l *Log) Observe(ctx context.Context, items []Item) ([]State, error) {
	since := time.Now()
	states, err := l.Driver.Observe(ctx, items)
	failed := 0
	for i := range states {
		if states[i].Err != nil {
			failed++
		}
	}
	l.ended(since, err, logrus.Fields{"items": len(items), "failed": failed}).Debug("observed")
	return states, err
}

// Plan implements Driver.
func (l *Log) Plan(ctx context.Context, item Item, live State) (Change, error) {
	since := time.Now()
	c, err := l.Driver.Plan(ctx, item, live)
	l.ended(since, err, logrus.Fields{"resource": item.ID.String(), "action": string(c.Action)}).Debug("planned")
	return c, err
}

// Apply implements Driver.
func (l *Log) Apply(ctx context.Context, c Change) (State, error) {
	since := time.Now()
	s, err := l.Driver.Apply(ctx, c)
	l.ended(since, err, logrus.Fields{"resource": c.ID.String(), "action": string(c.Action), "handle": c.Handle}).Info("applied")
	return s, err
}
