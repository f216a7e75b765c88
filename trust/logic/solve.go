package logic

// Model gives values to the variables that a formula's truth hangs on; every
// other variable may have any value. By sort: bool, string, int64 (instants in
// nanoseconds since 1970 too), float64, netip.Addr (the zero one is an unknown
// address), []string, and for single values string, int64, bool or float64.
type Model map[Var]any

// Status is the answer to a question.
type Status int

// The answers. The zero value claims nothing.
const (
	Unknown       Status = iota // not decided, for the reason given
	Unsatisfiable               // no values make the formula true
	Satisfiable                 // the model makes it true
)

// Limits bound the work of one question; past them the answer is Unknown. A
// zero limit is its default.
type Limits struct {
	Rounds int    // assignments of the atoms that are looked at; default 10,000
	States int    // states of one product of automata; default 100,000
	Cache  *Cache // what several questions share; nil shares nothing
}

// Solve decides f. The text says why the status is Unknown.
func Solve(f Formula, limits Limits) (Model, Status, string) {
	if value, ok := f.Const(); ok {
		if value {
			return Model{}, Satisfiable, ""
		}
		return nil, Unsatisfiable, ""
	}
	return nil, Unknown, "the solver is not written yet"
}
