package drivers

// Checker is a Driver that can say of a declaration alone what is wrong with
// it, before anything is looked at: what its engine would refuse, and what
// could never be applied. Check is pure, without I/O, and quick: it is asked
// of every declaration of a tree. Desired.Unknown names every field that holds
// a reference; Secrets is empty. What Check refuses Plan or Apply would too.
type Checker interface {
	Check(kind, name string, d Desired) error
}

// Claimer is a Driver whose resources have more to themselves than their
// address. Claims is pure and without I/O, and is asked with what Checker is
// asked with; what cannot be known yet is left out.
type Claimer interface {
	Claims(kind, name string, d Desired) []Claim
}

// Claim is a thing that a resource wants: no other of the target may claim the
// same, unless both share it.
type Claim struct {
	Thing  string // for people, and compared: "port 127.0.0.1:8080"
	Shared bool   // it has it together with others who say so too, such as a folder
}

// Needer is a Driver whose engine knows an order: a role wants its mount, a job
// its namespace. Needs are the handles of its own target that must be there
// before, and go after; those that are not declared are no needs. It is pure and
// without I/O, and is asked with what Checker is asked with. A need that the
// declaration names itself, by metadata.needs or a reference, need not be in it.
type Needer interface {
	Needs(kind, name string, d Desired) []string
}

var (
	_ Checker = Mux(nil)
	_ Claimer = Mux(nil)
	_ Needer  = Mux(nil)
)

// Check implements Checker, for the kinds whose driver does.
func (m Mux) Check(kind, name string, d Desired) error {
	if c, ok := As[Checker](m[kind]); ok {
		return c.Check(kind, name, d)
	}
	return nil
}

// Claims implements Claimer, for the kinds whose driver does.
func (m Mux) Claims(kind, name string, d Desired) []Claim {
	if c, ok := As[Claimer](m[kind]); ok {
		return c.Claims(kind, name, d)
	}
	return nil
}

// Needs implements Needer, for the kinds whose driver does.
func (m Mux) Needs(kind, name string, d Desired) []string {
	if n, ok := As[Needer](m[kind]); ok {
		return n.Needs(kind, name, d)
	}
	return nil
}
