package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// store is the folder: NAME.json for each thing, and log, a line for each
// write.
type store struct{ folder string }

// record is the content of a thing's file.
type record struct {
	Name    string  `json:"name"`
	ID      string  `json:"id"`
	Token   string  `json:"token"`
	Zone    *string `json:"zone"`
	Content *string `json:"content"`
	Secret  *string `json:"secret"`
}

func (s *store) path(name string) string { return filepath.Join(s.folder, name+".json") }

// create makes a thing. One that is there already, since a tool was killed
// before it wrote down that it had made it, is taken over: its name is its
// client's choice.
func (s *store) create(r record) (record, error) {
	r.ID, r.Token = "id-"+r.Name, "token-"+rand.Text()
	if old, err := s.read(r.Name); err == nil {
		r.Token = old.Token
	}
	return r, s.write("create", r)
}

func (s *store) update(r record) error { return s.write("update", r) }

func (s *store) read(name string) (record, error) {
	var r record
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

func (s *store) write(what string, r record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	temp := s.path(r.Name) + ".tmp"
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(temp, s.path(r.Name)); err != nil {
		return err
	}
	return s.note(what, r.Name)
}

func (s *store) delete(name string) error {
	if err := os.Remove(s.path(name)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return s.note("delete", name)
}

// note adds a line to the log.
func (s *store) note(what, name string) error {
	f, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, what, name)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
