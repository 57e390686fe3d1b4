package reconciler

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// reportLoop writes the status back, at most once in ReportEvery, after turns
// that changed something. A refused or raced write is tried again; the turn
// stands.
func (r *Reconciler) reportLoop(ctx context.Context) {
	if r.cfg.Reporter == nil || r.cfg.ReadOnly {
		return
	}
	for tries := 1; ; {
		select {
		case <-ctx.Done():
			return
		case <-r.reports:
		}
		rep, due := r.compose(false)
		if !due {
			continue
		}
		err := r.cfg.Reporter.Report(ctx, rep)
		if ctx.Err() != nil {
			return
		}
		r.reported(err)
		if err != nil {
			pause(ctx, min(backoff(tries, nil), r.cfg.ReportEvery))
			tries++
			nudge(r.reports)
			continue
		}
		tries = 1
		pause(ctx, r.cfg.ReportEvery)
	}
}

func (r *Reconciler) reported(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.report
	r.report = ReportStatus{OK: err == nil, At: time.Now()}
	if err != nil {
		r.report.Error = schema.Mask(err.Error())
		r.status.say()
		if was.Error != r.report.Error {
			r.log.WithError(err).Warn("the status was not written back; it is tried again")
			r.status.emit(Event{Type: "report", Message: r.report.Error})
		}
	}
	r.status.changed()
}

// Inventory is what an environment owns, as the status branch keeps it: enough
// to find everything again after the data folder is lost.
type Inventory struct {
	Environment string           `json:"environment"` // id
	Owned       []InventoryEntry `json:"owned"`
}

// InventoryEntry is one owned thing.
type InventoryEntry struct {
	ID     schema.ID `json:"id"`
	Target string    `json:"target"`
	Handle string    `json:"handle"`
}

// SignedInventory is an inventory with its signature: Ed25519 over the bytes
// of Inventory as they stand, by the key that the environment's key yields.
type SignedInventory struct {
	Inventory json.RawMessage `json:"inventory"`
	PublicKey string          `json:"publicKey"` // base64
	Signature string          `json:"signature"` // base64
}

// lastReportTime bounds the report at the end of Run.
const lastReportTime = 5 * time.Second

// lastReport writes back what no report has told yet, at the end of Run.
func (r *Reconciler) lastReport() {
	if r.cfg.Reporter == nil || r.cfg.ReadOnly {
		return
	}
	rep, due := r.compose(true)
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastReportTime)
	defer cancel()
	r.reported(r.cfg.Reporter.Report(ctx, rep))
}

// compose is the report of now, where there is one to make: not while calls
// are changing things, since the next moment has better news, unless that goes
// on for long or this is the last.
func (r *Reconciler) compose(last bool) (sources.Report, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	unsaid := r.status.unsaid
	if unsaid.IsZero() || !last && !r.status.settled && time.Since(unsaid) < r.cfg.ReportEvery {
		return sources.Report{}, false
	}
	s := r.statusNow()
	signed, err := r.inventory()
	if err != nil {
		r.log.WithError(err).Error("the inventory could not be signed")
		return sources.Report{}, false
	}
	machine, err := reportJSON(s, signed)
	if err != nil {
		r.log.WithError(err).Error("the status could not be written as JSON")
		return sources.Report{}, false
	}
	title := fmt.Sprintf("%s: %s at %s", s.Environment, summary(s), s.Revision.Short())
	if done := r.status.tally.String(); done != "" {
		title += " (" + done + ")"
	}
	r.status.unsaid, r.status.tally = time.Time{}, tally{}
	return sources.Report{Environment: r.cfg.Name, Title: title, Files: map[string][]byte{"README.md": reportPage(s), "status.json": machine}}, true
}

// inventory is signed, sorted and without anything that changes of itself.
func (r *Reconciler) inventory() (SignedInventory, error) {
	inv := Inventory{Environment: r.cfg.ID, Owned: []InventoryEntry{}}
	for _, n := range r.core.w.Nodes {
		if n.Owned != nil {
			inv.Owned = append(inv.Owned, InventoryEntry{ID: n.ID, Target: n.Key.Target, Handle: n.Key.Handle})
		}
	}
	slices.SortFunc(inv.Owned, func(a, b InventoryEntry) int { return a.ID.Compare(b.ID) })
	raw, err := json.Marshal(inv)
	if err != nil {
		return SignedInventory{}, err
	}
	key := SigningKey(r.cfg.Key)
	public, _ := key.Public().(ed25519.PublicKey)
	return SignedInventory{Inventory: raw, PublicKey: base64.StdEncoding.EncodeToString(public),
		Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(key, raw))}, nil
}

// SigningKey is the key that an environment's key yields for signing.
func SigningKey(environmentKey []byte) ed25519.PrivateKey {
	mac := hmac.New(sha256.New, environmentKey)
	_, _ = mac.Write([]byte("aplomb status signing v1"))
	return ed25519.NewKeyFromSeed(mac.Sum(nil))
}

// summary is the environment in a word, or in counts.
func summary(s Status) string {
	if s.Converged {
		return string(Converged)
	}
	var parts []string
	for _, st := range States {
		if s.Counts[st] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", s.Counts[st], st))
		}
	}
	if s.Refused != nil {
		parts = append(parts, "refused "+s.Refused.Revision.Short())
	}
	return strings.Join(parts, ", ")
}

// reportJSON is status.json: the status without what changes of itself.
func reportJSON(s Status, signed SignedInventory) ([]byte, error) {
	s.At, s.Seq, s.Source.At, s.Report, s.WellSince = time.Time{}, 0, time.Time{}, ReportStatus{}, time.Time{}
	for _, f := range []**FollowedStatus{&s.Templates, &s.Policies} {
		if *f != nil {
			still := **f
			still.Source.At = time.Time{}
			*f = &still
		}
	}
	s.Forge = s.Forge.still()
	raw, err := json.MarshalIndent(struct {
		Status
		SignedInventory SignedInventory `json:"signedInventory"`
	}{s, signed}, "", "  ")
	return append(raw, '\n'), err
}

// reportPage is README.md: a line of summary and a table.
func reportPage(s Status) []byte {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "# %s\n\n%s at `%s` %s%s\n", cell(s.Environment), summary(s), s.Revision.Short(), cell(s.Revision.Title), underPage(s))
	if s.Refused != nil {
		_, _ = fmt.Fprintf(&b, "\n`%s` is not in force:\n\n", s.Refused.Revision.Short())
		for _, f := range s.Refused.Findings {
			_, _ = fmt.Fprintf(&b, "- %s\n", cell(f.String()))
		}
		if s.Refused.Error != "" {
			_, _ = fmt.Fprintf(&b, "- %s\n", cell(s.Refused.Error))
		}
	}
	if q := s.Rollback; q != nil {
		_, _ = fmt.Fprintf(&b, "\n`%s` is quarantined by %s: %s\n", q.Quarantined.Short(), cell(q.Lever.By), cell(q.Lever.Why))
	}
	b.WriteString("\n| resource | state | since | last change |\n|---|---|---|---|\n")
	for _, r := range s.Resources {
		state := string(r.State)
		if r.Reason != "" {
			state += ": " + r.Reason
		}
		_, _ = fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(r.ID.Short()), cell(state), minute(r.Since), cell(lastChange(r)))
	}
	reportPolicies(&b, s)
	return b.Bytes()
}

// mostReported is how many things that policies say the page holds.
const mostReported = 100

// reportPolicies is what policies say, at its lines.
func reportPolicies(b *bytes.Buffer, s Status) {
	n := 0
	for _, r := range s.Resources {
		for _, v := range r.Violations {
			if n++; n > mostReported {
				continue
			}
			if n == 1 {
				b.WriteString("\n| policy | level | resource | says | at |\n|---|---|---|---|---|\n")
			}
			_, _ = fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", cell(v.Policy), v.Level, cell(r.ID.Short()), cell(v.Message), cell(v.Pos.String()))
		}
	}
	if n > mostReported {
		_, _ = fmt.Fprintf(b, "\nand %d more: `aplomb status --all`\n", n-mostReported)
	}
}

// underPage says what the revision was compiled under.
func underPage(s Status) string {
	text := ""
	for i, f := range []*FollowedStatus{s.Templates, s.Policies} {
		if f != nil && f.Revision.ID != "" {
			text += fmt.Sprintf(", %s `%s`", []string{"templates", "policies"}[i], f.Revision.Short())
		}
	}
	return text
}

func lastChange(r ResourceStatus) string {
	if r.LastAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s %s (%s)", r.LastAction, minute(r.LastAt), sources.Revision{ID: r.LastRev}.Short())
}

func minute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// cell keeps outside text from becoming Markdown or a second cell.
func cell(s string) string {
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.NewReplacer("\n", " ", "\r", " ", `\`, `\\`, "|", `\|`, "&", "&amp;", "<", "&lt;", "[", `\[`, "]", `\]`, "*", `\*`, "_", `\_`, "@", "&#64;", "`", "'").Replace(s)
}
