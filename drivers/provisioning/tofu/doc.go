// Package tofu drives OpenTofu and Terraform: tofu.stack is a module folder of
// the repository, with its variables and outputs. It runs the tool's own
// program, and knows nothing of any provider. It must not know of other
// drivers, of sources or of the reconciler.
//
// # A stack's folder
//
// Every stack has a folder of its own below Dir, by environment and name,
// readable by its owner alone:
//
//	stack.json   what was applied last and what came of it; no secret
//	begun.json   what is being applied, from before the tool runs until its end was taken in
//	secrets.json the values of secret variables, each sealed with Key
//	HASH.tree    modules: the one applied last, which destroying needs when Git has it no more
//	module/      the copy in which the tool runs
//	data/        TF_DATA_DIR: providers and modules that init installed
//	state/       terraform.tfstate, encrypted where the tool is OpenTofu
//	plan-*       the saved plan, encrypted as well, until it is applied or another is made
//	run/         the apply that runs: internal/detached
//
// # How it goes
//
// Plan saves a plan and reads it as JSON; Apply applies that very plan, so the
// tool itself refuses one whose state has moved. The apply is detached: it goes
// on when this process dies, and is found again by looking, in observe.go, where
// the end of every run is taken in. State says what the last look at the record
// of the stack told; only a plan looks at what really lives, which costs runs
// of the tool, so State.Version changes with the clock (Driver.Refresh).
//
// Read on in plan.go, then apply.go, collect.go and observe.go.
package tofu
