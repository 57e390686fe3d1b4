package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// auditPage is how many entries are asked for at once.
const auditPage = 1000

func (a *app) audit() *cobra.Command {
	var export, verify bool
	var known string
	c := records(a, "audit", "Who pulled which lever, when, why and by which means; newest first",
		reconciler.Control.Audit, func(p *terminal.Printer, es []reconciler.AuditEntry) { p.Audit(es) })
	list := c.RunE
	c.Use = "audit [FILE]"
	c.Long = `Lists who pulled which lever, when, why and by which means, newest first.

With --export the whole log is written, the oldest entry first, a line of JSON
each. With --verify the chain of its entries is followed from the first one on,
of the log itself, or of FILE, which is an export (-: standard input). It says
the hash of the last entry: keep it elsewhere. With it, --known HASH finds a log
whose end was cut off, too, or that was written anew.`
	c.Args = args(0, 1, "at most one FILE")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case export && verify:
			return usage("aplomb audit --export > audit.jsonl, then aplomb audit --verify audit.jsonl", "--export and --verify are two things")
		case !verify && (len(args) > 0 || known != ""):
			return usage("add --verify", "FILE and --known are about --verify")
		case (export || verify) && cmd.Flags().Changed("limit"):
			return usage("leave -n out", "--export and --verify take the whole log")
		case known != "" && reconciler.CheckDigest(known) != nil:
			return usage("12 hex digits or more", "--known %q is no hash of an entry", known)
		case export:
			return a.exportAudit(cmd.Context())
		case verify && len(args) > 0:
			return a.verifyExport(args[0], known)
		case verify:
			return a.verifyAudit(cmd.Context(), known)
		}
		return list(cmd, args)
	}
	c.Flags().BoolVar(&export, "export", false, "write the whole log, the oldest entry first, a line of JSON each")
	c.Flags().BoolVar(&verify, "verify", false, "say whether the log, or an export of it, is whole")
	c.Flags().StringVar(&known, "known", "", "with --verify: a hash that an entry had before")
	return c
}

// eachEntry calls f with every entry as it is kept, the oldest first, and with
// the session that answers them.
func (a *app) eachEntry(ctx context.Context, f func(line []byte) error) (err error) {
	s, err := a.askOrOpen(ctx, opening{readOnly: true, idle: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for after := uint64(0); ; {
		page, err := s.AuditLog(ctx, after, auditPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, line := range page {
			if err := f(line); err != nil {
				return err
			}
		}
		var last store.Entry
		if err := json.Unmarshal(page[len(page)-1], &last); err != nil || last.Seq <= after {
			return fmt.Errorf("read the audit: after entry %d comes none that can be read", after)
		}
		after = last.Seq
	}
}

// newestEntry looks at what is missing at the end, which only the log knows.
func (a *app) newestEntry(ctx context.Context) (err error) {
	s, err := a.askOrOpen(ctx, opening{readOnly: true, idle: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	_, err = s.Audit(ctx, 1)
	return err
}

func (a *app) exportAudit(ctx context.Context) error {
	w := bufio.NewWriter(a.stdout)
	err := a.eachEntry(ctx, func(line []byte) error {
		_, err := w.Write(append(line, '\n'))
		return err
	})
	return errors.Join(err, w.Flush())
}

func (a *app) verifyAudit(ctx context.Context, known string) error {
	c := store.Chain{Known: known}
	err := a.eachEntry(ctx, c.Add)
	if err == nil {
		err = a.newestEntry(ctx)
	}
	return a.tellChain(&c, err)
}

func (a *app) verifyExport(file, known string) (err error) {
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return hinted{fmt.Errorf("audit --verify: %w", err), "FILE is what aplomb audit --export wrote"}
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	c := store.Chain{Known: known}
	return a.tellChain(&c, chained(in, &c))
}

// chained follows the entries of an export.
func chained(in io.Reader, c *store.Chain) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, store.MaxEntry+1)
	for lines.Scan() {
		if err := c.Add(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	return nil
}

// wholeAudit is what audit --verify answers with -o json.
type wholeAudit struct {
	Entries uint64    `json:"entries"`
	Last    time.Time `json:"last,omitzero"`
	Head    string    `json:"head"` // hash of the last entry
}

// tellChain says what came of following a chain.
func (a *app) tellChain(c *store.Chain, err error) error {
	if err == nil {
		err = c.End()
	}
	if errors.Is(err, store.ErrAltered) {
		return hinted{err, "somebody wrote to it beside aplomb: compare with an export, or with a backup of the data folder"}
	}
	if err != nil {
		return err
	}
	if done, err := a.json(wholeAudit{c.Entries, c.Last.At, c.Last.Hash}); done {
		return err
	}
	if c.Entries == 0 {
		a.out.Note("whole: nobody has pulled a lever yet")
		return nil
	}
	a.out.Note(fmt.Sprintf("whole: entries 1 to %d, the last one of %s", c.Entries, c.Last.At.UTC().Format(time.RFC3339)))
	a.out.Note("head: " + c.Last.Hash)
	return nil
}
