// Package hclbounds looks at HCL before it is parsed. The parser calls itself for
// everything that is nested, and a stack that overflows ends the whole process;
// what comes from a repository must not be able to. It knows no schema.
package hclbounds

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of a file.
const (
	maxDepth  = 200  // brackets and templates within each other; signs in a row
	maxChoice = 5000 // conditions, splats and template directives, each of which may hold all that follow
)

// closes is what ends each thing that others can stand within.
var closes = map[hclsyntax.TokenType]hclsyntax.TokenType{
	hclsyntax.TokenOParen: hclsyntax.TokenCParen, hclsyntax.TokenOBrack: hclsyntax.TokenCBrack, hclsyntax.TokenOBrace: hclsyntax.TokenCBrace,
	hclsyntax.TokenOQuote: hclsyntax.TokenCQuote, hclsyntax.TokenOHeredoc: hclsyntax.TokenCHeredoc,
	hclsyntax.TokenTemplateInterp: hclsyntax.TokenTemplateSeqEnd, hclsyntax.TokenTemplateControl: hclsyntax.TokenTemplateSeqEnd,
}

// Beyond answers the line on which a file goes beyond the bounds; 0 for none.
func Beyond(data []byte, name string) int {
	tokens, _ := hclsyntax.LexConfig(data, name, hcl.InitialPos) // what is wrong with them the parser says
	return beyond(tokens)
}

// BeyondTemplate is Beyond for the text of a template.
func BeyondTemplate(data []byte, name string) int {
	tokens, _ := hclsyntax.LexTemplate(data, name, hcl.InitialPos) // as above
	return beyond(tokens)
}

func beyond(tokens hclsyntax.Tokens) int {
	var open []hclsyntax.TokenType // what would close each
	signs, choices := 0, 0
	for _, t := range tokens {
		if by, ok := closes[t.Type]; ok {
			open = append(open, by)
		} else if n := len(open); n > 0 && open[n-1] == t.Type {
			open = open[:n-1]
		}
		switch t.Type {
		case hclsyntax.TokenTemplateControl, hclsyntax.TokenQuestion, hclsyntax.TokenStar:
			choices++
			signs = 0
		case hclsyntax.TokenMinus, hclsyntax.TokenBang:
			signs++
		case hclsyntax.TokenNewline, hclsyntax.TokenComment: // which the parser may skip
		default:
			signs = 0
		}
		if len(open) > maxDepth || signs > maxDepth || choices > maxChoice {
			return t.Range.Start.Line
		}
	}
	return 0
}
