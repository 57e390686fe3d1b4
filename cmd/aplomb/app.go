package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/schema"
)

// The formats of output.
const (
	formatText    = "text"
	formatJSON    = "json"
	formatDOT     = "dot"
	formatMermaid = "mermaid"
)

// defaultData is the data folder where nothing names another one.
const defaultData = ".aplomb"

// app is what every command shares.
type app struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	out, errs      *terminal.Printer

	data   string // data folder
	format string
	level  string // of the log; "" was not given

	env                       string // which of a daemon's environments; "": the only one
	server, tokenFile, caFile string // of a daemon that is reached over TCP
}

// client gives a command the flags that say which daemon is asked, and about
// what.
func (a *app) client(c *cobra.Command) *cobra.Command {
	f := c.Flags()
	f.StringVar(&a.env, "env", a.getenv("APLOMB_ENV"), "which of the daemon's environments (or APLOMB_ENV)")
	f.StringVar(&a.server, "server", a.getenv("APLOMB_SERVER"), "URL of the daemon to ask, instead of this machine's (or APLOMB_SERVER)")
	f.StringVar(&a.tokenFile, "token-file", a.getenv("APLOMB_TOKEN_FILE"), "with --server: file that holds the token (or APLOMB_TOKEN_FILE)")
	f.StringVar(&a.caFile, "ca-file", a.getenv("APLOMB_CA_FILE"), "with --server: file of the authorities to trust (or APLOMB_CA_FILE)")
	return c
}

// root is the command line.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "aplomb",
		Short:         "Keeps what runs true to what Git declares",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(meant(cmd, args[0]), "unknown command %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetIn(a.stdin)
	root.CompletionOptions.HiddenDefaultCmd = true
	data := a.getenv("APLOMB_DATA")
	if data == "" {
		data = defaultData
	}
	f := root.PersistentFlags()
	f.StringVar(&a.data, "data", data, "data folder (or APLOMB_DATA)")
	f.StringVarP(&a.format, "output", "o", formatText, "text or json")
	f.StringVar(&a.level, "log-level", "", "also log to standard error: debug, info, warning or error")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(cmd.CommandPath()+" --help lists the flags", "%w", err)
	})
	root.PersistentPreRunE = a.checkFlags
	root.AddCommand(a.up(), a.run(), a.plan(), a.apply(), a.validate(), a.set(), a.environments(), a.status(), a.show(), a.approve(), a.suspend(),
		a.resume(), a.rollback(), a.history(), a.audit(), a.graph(), a.explain(), a.schema(), a.policy(), a.down(), a.version())
	return root
}

// meant says which command was probably meant.
func meant(cmd *cobra.Command, name string) string {
	var names []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if n := schema.Closest(name, names); n != "" {
		return fmt.Sprintf("did you mean aplomb %s? aplomb --help lists the commands", n)
	}
	return "aplomb --help lists the commands"
}

func (a *app) checkFlags(cmd *cobra.Command, _ []string) error {
	switch a.format {
	case formatText, formatJSON:
	case formatDOT, formatMermaid:
		if cmd.Name() != "graph" {
			return usage("-o text or -o json", "only graph writes %s", a.format)
		}
	default:
		return usage("-o text or -o json", "%q is not a format", a.format)
	}
	if a.level != "" {
		if _, err := logrus.ParseLevel(a.level); err != nil {
			return usage("debug, info, warning or error", "%q is not a level of the log", a.level)
		}
	}
	return nil
}

// args is cobra.PositionalArgs whose error is one of usage.
func args(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < least || len(given) > most {
			return usage(cmd.CommandPath()+" --help", "%s wants %s; %d arguments were given", cmd.CommandPath(), names, len(given))
		}
		return nil
	}
}

// json writes v where -o json was asked for, and says whether it did.
func (a *app) json(v any) (bool, error) {
	if a.format != formatJSON {
		return false, nil
	}
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return true, fmt.Errorf("write JSON: %w", err)
	}
	return true, nil
}

// jsonLine writes v on one line, where a command writes many.
func (a *app) jsonLine(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// person is who pulls a lever: the operating system's name for this user.
func person() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}
