package schema

// Action is what a change does to a resource, as a whole.
type Action string

// The actions. Deferred stands for one that cannot be known before a need is
// applied (architecture: a field that cannot hold a reference's text).
const (
	None     Action = "none"
	Create   Action = "create"
	Update   Action = "update"
	Replace  Action = "replace" // deleted and made anew
	Delete   Action = "delete"
	Adopt    Action = "adopt" // take over what lives under the address already, altering what differs
	Deferred Action = "deferred"
)

// Rune is the action's mark on screens.
func (a Action) Rune() string {
	switch a {
	case Create:
		return "+"
	case Update:
		return "~"
	case Replace:
		return "∓"
	case Delete:
		return "-"
	case Adopt:
		return "»"
	case Deferred:
		return "…"
	default:
		return " "
	}
}

// Milder says whether a does strictly less than b to the same resource: doing
// nothing is milder than anything, altering in place is milder than making
// anew and than taking over. Creating and deleting have no other milder form.
func (a Action) Milder(b Action) bool {
	switch {
	case a == b || b == Deferred || a == Deferred:
		return false
	case a == None:
		return true
	default:
		return a == Update && (b == Replace || b == Adopt)
	}
}

// Destroys says whether what lived is gone afterwards.
func (a Action) Destroys() bool { return a == Replace || a == Delete }
