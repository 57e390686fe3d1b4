package proposals

import "github.com/sirupsen/logrus"

// grumble logs what goes wrong at look after look: once for each thing that it
// is. What comes again is for who reads closely.
type grumble struct{ last string }

// about logs err, and forgets what was wrong where it is nil.
func (g *grumble) about(log logrus.FieldLogger, err error, words string) {
	if err == nil {
		g.last = ""
		return
	}
	log = log.WithError(err)
	if g.last == err.Error() {
		log.Debug(words)
		return
	}
	g.last = err.Error()
	log.Warn(words)
}
