package schema_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

const canary = "canary-7f3a91"

func TestSecretNeverPrints(t *testing.T) {
	s := schema.NewSecret(canary)
	type holder struct {
		S schema.Secret
		P *schema.Secret
		M map[string]schema.Secret
		L []schema.Secret
		u schema.Secret
	}
	h := holder{s, &s, map[string]schema.Secret{"a": s}, []schema.Secret{s}, s}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "s", s, "h", h)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "s", s, "h", h)
	out := []string{logged.String(), fmt.Sprint(s, h), fmt.Errorf("x %w %v", fmt.Errorf("%s", s), h).Error(), s.String(), s.GoString()}
	for _, verb := range "vsqxXdtbcoUeEfFgGTpw" {
		for _, flags := range []string{"", "+", "#", "-20", "010", ".3"} {
			format := "%" + flags + string(verb)
			out = append(out, fmt.Sprintf(format, s), fmt.Sprintf(format, &s), fmt.Sprintf(format, h), fmt.Sprintf(format, []any{s, h}))
		}
	}
	for _, text := range out {
		for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
			if strings.Contains(text, form) {
				t.Errorf("a secret prints: %s", text)
			}
		}
	}
	if fmt.Sprint(s) != schema.Redacted {
		t.Errorf("it prints %s", s)
	}
	if s.Reveal() != canary {
		t.Error("Reveal does not reveal")
	}
}

func TestSecretRefusesToBeMarshalled(t *testing.T) {
	s := schema.NewSecret(canary)
	type holder struct{ S schema.Secret }
	for name, marshal := range map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"yaml": yaml.Marshal,
		"xml":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var buf bytes.Buffer
			err := gob.NewEncoder(&buf).Encode(v)
			return buf.Bytes(), err
		},
	} {
		for _, v := range []any{s, &s, holder{s}, &holder{s}, []schema.Secret{s}} {
			out, err := marshal(v)
			if err == nil {
				t.Errorf("%s marshals %T as %s", name, v, out)
			}
			if bytes.Contains(out, []byte(canary)) || err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("%s tells the secret in %T", name, v)
			}
		}
	}
}

func TestToken(t *testing.T) {
	text := "a " + schema.Token("0f") + " b " + schema.Token("v1")
	if !schema.HasToken(text) || schema.HasToken("[secret") || schema.HasToken("plain") {
		t.Error("HasToken")
	}
	if got := schema.Mask(text); got != "a [redacted] b [redacted]" {
		t.Error(got)
	}
	if schema.Token("a") == schema.Token("b") {
		t.Error("a token does not change with the secret")
	}
}

// A token is one word of letters that fingerprints are made of.
func TestTokensAreNarrow(t *testing.T) {
	for text, want := range map[string]string{
		"a " + schema.Token("00ff") + " b":          "a " + schema.Redacted + " b",
		schema.Token("memory.secret/e-1#12"):        schema.Redacted,
		"[secret: hidden]":                          "[secret: hidden]",
		"[secret:two\nlines]":                       "[secret:two\nlines]",
		"[secret:" + strings.Repeat("a", 300) + "]": "[secret:" + strings.Repeat("a", 300) + "]",
	} {
		if got := schema.Mask(text); got != want {
			t.Errorf("%q is shown as %q", text, got)
		}
		if !schema.ForgesToken(text) {
			t.Errorf("%q may be declared", text)
		}
	}
	if schema.ForgesToken("secret: a") {
		t.Error("a plain text may not be declared")
	}
}
