package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

func (a *app) schema() *cobra.Command {
	var dir, file, from string
	c := &cobra.Command{
		Use:   "schema",
		Short: "The schemas of all kinds for editors, as CUE and as JSON Schema",
		Long: `Writes the schemas of all kinds for editors and other tools; aplomb itself needs
none of it.

With --cue DIR they are the CUE package ` + cueload.ModulePath + ` and those below it, with
the templates that are shipped, in DIR/cue.mod/pkg: there cue vet and editors
find them, where DIR is the root of a repository. A DIR/cue.mod/module.cue is
written if there is none. What an earlier aplomb wrote there is replaced.

With --json-schema they are one JSON Schema of a declaration of any kind, and of
uses of the templates, on standard output or in FILE. Name it in a YAML file's first line:

    # yaml-language-server: $schema=.aplomb.schema.json`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			wanted := cmd.Flags().Changed("json-schema")
			if dir == "" && !wanted {
				return usage("--cue DIR or --json-schema", "nothing is asked for")
			}
			return a.runSchema(cmd.Context(), dir, file, from, wanted)
		},
	}
	c.Flags().StringVar(&dir, "cue", "", "write the CUE module into `DIR`/cue.mod/pkg")
	c.Flags().StringVar(&file, "json-schema", "", "write the JSON Schema to `FILE`; without it, to standard output")
	c.Flags().StringVar(&from, "templates", "", "the folder of the templates whose uses the JSON Schema knows; without it, those that are shipped")
	c.Flags().Lookup("json-schema").NoOptDefVal = "-"
	return c
}

func (a *app) runSchema(ctx context.Context, dir, file, from string, wanted bool) error {
	var written []string
	if dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return hinted{fmt.Errorf("write the schemas: %w: %s", errNoPath, dir), "name the root of the repository"}
		}
		var err error
		if written, err = cueload.Write(dir); err != nil {
			return err
		}
	}
	if wanted {
		known, findings, err := templates(ctx, from)
		if err != nil {
			return err
		}
		if len(findings) > 0 {
			return a.findings(findings)
		}
		text, err := compile.JSONSchema(known)
		if err != nil {
			return fmt.Errorf("make the JSON Schema: %w", err)
		}
		if file == "-" {
			if _, err := a.stdout.Write(text); err != nil {
				return fmt.Errorf("write the JSON Schema: %w", err)
			}
			return nil
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("write the JSON Schema: %w", err)
		}
		written = append(written, file)
	}
	if done, err := a.json(written); done {
		return err
	}
	for _, name := range written {
		a.out.Note(name)
	}
	return nil
}
