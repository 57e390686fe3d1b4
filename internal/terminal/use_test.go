package terminal

import (
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

func aUse(name, version string) schema.Use {
	return schema.Use{Template: "WebService", Version: version, Name: name, Pos: schema.Pos{File: "teams/shop/" + name + ".yaml", Line: 3, Col: 1}}
}

// aPlanOfUses is aPlan, parts of which templates yielded.
func aPlanOfUses() reconciler.PlanView {
	v := aPlan()
	web, api := aUse("web", "v2"), aUse("api", "")
	v.Changes[2].Use, v.Changes[3].Use, v.Changes[4].Use = &web, &web, &api
	return v
}

func aStatusOfUses() reconciler.Status {
	s := aStatus()
	web, api := aUse("web", "v2"), aUse("api", "")
	s.Resources[1].Use, s.Resources[2].Use, s.Resources[3].Use = &web, &web, &api
	return s
}

func aTemplate() Template {
	k := aKind()
	k.Name, k.Layer, k.Data = "WebService", "", false
	return Template{Kind: k, Version: "v2", Versions: []string{"v2", "v1"}, At: "templates:web.cue:3:1"}
}
