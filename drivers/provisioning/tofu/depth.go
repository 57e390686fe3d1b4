package tofu

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds of a configuration file. HCL's parser calls itself for everything that
// is nested, and a stack that overflows ends the whole process: what comes from
// a repository is looked at before it is parsed.
const (
	maxDepth  = 200  // brackets and templates within each other; signs in a row
	maxChoice = 5000 // conditions, splats and template directives, each of which may hold all that follow
)

// tooDeep answers the line on which a file goes beyond the bounds; 0 for none.
func tooDeep(data []byte, name string) int {
	tokens, _ := hclsyntax.LexConfig(data, name, hcl.InitialPos) // what is wrong with them the parser says
	depth, signs, choices := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp:
			depth++
		case hclsyntax.TokenTemplateControl:
			depth++
			choices++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth = max(depth-1, 0)
		case hclsyntax.TokenQuestion, hclsyntax.TokenStar: // a splat may hold all that follow, too
			choices++
		}
		if t.Type == hclsyntax.TokenMinus || t.Type == hclsyntax.TokenBang {
			signs++
		} else {
			signs = 0
		}
		if depth > maxDepth || signs > maxDepth || choices > maxChoice {
			return t.Range.Start.Line
		}
	}
	return 0
}
