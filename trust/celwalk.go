package trust

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"

	"cambio/trust/strictyaml"
)

// astWalk goes once over a parsed condition. It finds claims and fields that do
// not exist, gives each known claim its declared type by putting the claim's
// variable in place of the access, and makes each pattern match whole strings.
type astWalk struct {
	schema   *claimSchema
	info     *celast.SourceInfo
	factory  celast.ExprFactory
	problems []celProblem
	reads    reads
	added    int64
}

func (w *astWalk) report(e celast.Expr, id, fix, format string, args ...any) {
	at := w.info.GetStartLocation(e.ID())
	w.problems = append(w.problems, celProblem{
		id: id, line: max(at.Line(), 1), column: max(at.Column(), 0) + 1,
		message: fmt.Sprintf(format, args...), fix: fix,
	})
}

func (w *astWalk) expr(e celast.Expr, depth int) {
	if depth > maxConditionDepth {
		if len(w.problems) == 0 || w.problems[len(w.problems)-1].id != FindingTooExpensive {
			w.report(e, FindingTooExpensive, "write several conditions", "the condition is nested deeper than %d", maxConditionDepth)
		}
		return
	}
	if w.access(e) {
		return
	}
	switch e.Kind() {
	case celast.IdentKind:
		w.ident(e)
	case celast.SelectKind:
		w.expr(e.AsSelect().Operand(), depth+1)
	case celast.CallKind:
		w.call(e, depth)
	case celast.ListKind:
		for _, item := range e.AsList().Elements() {
			w.expr(item, depth+1)
		}
	case celast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			w.expr(entry.AsMapEntry().Key(), depth+1)
			w.expr(entry.AsMapEntry().Value(), depth+1)
		}
	case celast.StructKind:
		w.report(e, FindingCELSyntax, "compare single values", "messages cannot be built in a condition")
	case celast.ComprehensionKind:
		w.loop(e.AsComprehension(), depth)
	case celast.LiteralKind, celast.UnspecifiedExprKind:
	}
}

func (w *astWalk) ident(e celast.Expr) {
	switch e.AsIdent() {
	case "identity", "request", "grant":
		w.reads.field(e.AsIdent(), "")
	case "claims":
		// Kept in a list, or indexed by a computed name, claims would hide from
		// this walk a name that no token has, and its type from the checker.
		w.report(e, FindingUnknownClaim, "name the claim, such as claims.sub", "claims stands for all claims only in a loop over them, in size(), and to the right of in")
	}
}

// whole reports whether e is the variable that holds all claims.
func whole(e celast.Expr) bool {
	return e.Kind() == celast.IdentKind && e.AsIdent() == "claims"
}

func (w *astWalk) loop(c celast.ComprehensionExpr, depth int) {
	for _, name := range []string{c.IterVar(), c.IterVar2(), c.AccuVar()} {
		if slices.Contains(conditionVariables(), name) {
			// A loop over claims named claims would be read past by a reviewer.
			w.report(c.IterRange(), FindingCELSyntax, "use another name", "a loop variable must not be named %s", name)
			return
		}
	}
	parts := []celast.Expr{c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()}
	if whole(c.IterRange()) {
		w.reads.claim(nil)
	} else {
		parts = append(parts, c.IterRange())
	}
	for _, part := range parts {
		w.expr(part, depth+1)
	}
}

func conditionVariables() []string { return []string{"claims", "identity", "request", "grant"} }

func (w *astWalk) call(e celast.Expr, depth int) {
	call := e.AsCall()
	switch call.FunctionName() {
	case overloads.Matches:
		w.pattern(e)
	case "format", "quote":
		// The library counts no cost for these two, and a chain of them doubles
		// its text at each link.
		w.report(e, FindingTooExpensive, "compare the parts by themselves", "%s() makes text of unknown length", call.FunctionName())
	case operators.In:
		// `"a.b" in claims` tests presence, so the name must be known too.
		if len(call.Args()) == 2 {
			// In a list or map claim `in` is about its items, as usual.
			if path, ok := w.path(call.Args()[1]); ok && !w.declared(path) {
				if name, isText := literalText(call.Args()[0]); isText {
					w.present(e, append(path, name))
					return
				}
			}
		}
	}
	if call.IsMemberFunction() {
		w.expr(call.Target(), depth+1)
	}
	for i, arg := range call.Args() {
		if whole(arg) && inPlace(call, i) {
			w.reads.claim(nil)
			continue
		}
		w.expr(arg, depth+1)
	}
}

// inPlace reports whether all claims may stand as this argument: to the right of
// in, counted, or indexed by a loop variable.
func inPlace(call celast.CallExpr, i int) bool {
	switch call.FunctionName() {
	case operators.In:
		return i == 1
	case overloads.Size:
		return true
	case operators.Index, operators.OptIndex:
		return i == 0 && call.Args()[1].Kind() == celast.IdentKind
	}
	return false
}

// pattern wraps a pattern as ^(?:p)$, so that matches() is whole-string. Plain
// ^ and $ around p would leave a|b half open (CVE-2026-22772). The pattern must
// compile on its own too, or `a)|(?:b` would break out of the group. It must be
// a literal: a claim is no pattern.
func (w *astWalk) pattern(e celast.Expr) {
	args := e.AsCall().Args()
	if len(args) == 0 {
		return // the checker says what is wrong
	}
	arg := args[len(args)-1]
	p, ok := literalText(arg)
	if !ok {
		w.report(arg, FindingPattern, "write the pattern as a string", "matches() needs a literal pattern")
		return
	}
	if utf8.RuneCountInString(p) > maxPattern {
		w.report(arg, FindingTooExpensive, "write a shorter pattern", "the pattern is longer than %d characters", maxPattern)
		return
	}
	whole := "^(?:" + p + ")$"
	for _, try := range []string{p, whole} {
		if _, err := regexp.Compile(try); err != nil {
			w.report(arg, FindingPattern, "write an RE2 pattern", "the pattern is not valid: %v", err)
			return
		}
	}
	arg.SetKindCase(w.factory.NewLiteral(arg.ID(), types.String(whole)))
}

// access handles an access to a claim, or to a field of another variable. It
// reports whether there is nothing left to walk.
func (w *astWalk) access(e celast.Expr) bool {
	if e.Kind() == celast.SelectKind {
		s := e.AsSelect()
		if s.Operand().Kind() == celast.IdentKind {
			object := s.Operand().AsIdent()
			if fields, ok := conditionFields()[object]; ok {
				w.reads.field(object, s.FieldName())
				if _, known := fields[s.FieldName()]; !known {
					names := make([]string, 0, len(fields))
					for name := range fields {
						names = append(names, name)
					}
					sort.Strings(names)
					w.report(e, FindingUnknownName, didYouMean(strictyaml.Suggest(s.FieldName(), names), object+".", "write one of "+strings.Join(names, ", ")), "%s has no field %s", object, s.FieldName())
				}
				return true
			}
		}
	}
	if object, field, ok := indexed(e); ok {
		// request["to"] is request.to: read as a member of a map it would have no
		// type, and a name that does not exist no finding.
		plain := w.factory.NewSelect(e.ID(), w.factory.NewIdent(w.id(), object), field)
		problems := len(w.problems)
		w.access(plain)
		if len(w.problems) == problems && e.AsCall().FunctionName() == operators.Index {
			e.SetKindCase(plain)
		}
		return true
	}
	path, ok := w.path(e)
	if !ok || len(path) == 0 {
		return false
	}
	if !w.known(e, path) {
		return true
	}
	v, _ := w.schema.lookupPath(path)
	w.reads.claim(w.holder(path))
	if v == nil {
		// A member of a map claim: the map itself has a type. Above one, as in
		// claims["kubernetes.io"], plain CEL over the map does.
		return !w.belowDeclared(path)
	}
	switch {
	case e.Kind() == celast.SelectKind && e.AsSelect().IsTestOnly():
		// has() asks for presence: it needs the map, not the value. An alias is
		// not in the map of the token, so the path is what counts.
		if pointerOf(path) != v.id {
			e.SetKindCase(w.hasValue(v))
		}
		return true
	case w.optional(e):
		e.SetKindCase(w.factory.NewIdent(e.ID(), optionalPrefix+v.id))
		return true
	}
	e.SetKindCase(w.factory.NewIdent(e.ID(), claimPrefix+v.id))
	return true
}

// present handles `"name" in claims`.
func (w *astWalk) present(e celast.Expr, path []string) {
	if !w.known(e, path) {
		return
	}
	w.reads.claim(w.holder(path))
	if v, _ := w.schema.lookupPath(path); v != nil && v.id != pointerOf(path) {
		e.SetKindCase(w.hasValue(v))
	}
}

// hasValue tests presence through optionals, so that a missing parent is an
// absence and no error.
func (w *astWalk) hasValue(v *claimVar) celast.Expr {
	return w.factory.NewMemberCall(w.id(), "hasValue", w.optionalChain(v.path))
}

func (w *astWalk) optionalChain(path []string) celast.Expr {
	object := w.factory.NewIdent(w.id(), "claims")
	for _, member := range path {
		object = w.factory.NewCall(w.id(), operators.OptIndex, object, w.factory.NewLiteral(w.id(), types.String(member)))
	}
	return object
}

// id returns a fresh id for a node that is put in; the parser's own ids are far
// below, for the number of nodes is bounded.
func (w *astWalk) id() int64 {
	w.added++
	return 1<<20 + w.added
}

// optional reports an access with .? or [?] anywhere in its chain.
func (w *astWalk) optional(e celast.Expr) bool {
	for {
		if e.Kind() == celast.SelectKind {
			e = e.AsSelect().Operand()
			continue
		}
		if e.Kind() != celast.CallKind {
			return false
		}
		switch e.AsCall().FunctionName() {
		case operators.OptSelect, operators.OptIndex:
			return true
		case operators.Index:
			e = e.AsCall().Args()[0]
		default:
			return false
		}
	}
}

// indexed takes apart an access by a literal name to identity, request or grant.
func indexed(e celast.Expr) (object, field string, ok bool) {
	if e.Kind() != celast.CallKind {
		return "", "", false
	}
	switch e.AsCall().FunctionName() {
	case operators.Index, operators.OptIndex, operators.OptSelect:
		operand := e.AsCall().Args()[0]
		if field, ok = literalText(e.AsCall().Args()[1]); !ok || operand.Kind() != celast.IdentKind {
			return "", "", false
		}
		_, ok = conditionFields()[operand.AsIdent()]
		return operand.AsIdent(), field, ok
	}
	return "", "", false
}

// declared reports that the path is that of a claim.
func (w *astWalk) declared(path []string) bool {
	if len(path) == 0 {
		return false
	}
	v, _ := w.schema.lookupPath(path)
	return v != nil || w.belowDeclared(path)
}

// belowDeclared reports that a proper prefix of the path is a declared claim.
func (w *astWalk) belowDeclared(path []string) bool {
	for i := 1; i < len(path); i++ {
		if v, _ := w.schema.lookupPath(path[:i]); v != nil {
			return true
		}
	}
	return false
}

// known reports whether the table has the claim, or what holds it.
func (w *astWalk) known(e celast.Expr, path []string) bool {
	v, open := w.schema.lookupPath(path)
	if v != nil || open || w.belowDeclared(path) {
		return true
	}
	fix := didYouMean(strictyaml.Suggest(path[0], w.schema.names), "claims.", "use a claim of the platform, or declare it under claims: of the identity provider")
	if len(path) > 1 {
		ids := make([]string, 0, len(w.schema.byID))
		for id := range w.schema.byID {
			ids = append(ids, id)
		}
		sort.Strings(ids)
		if near := strictyaml.Suggest(pointerOf(path), ids); near != "" {
			fix = "did you mean " + showPath(w.schema.byID[near].path) + "?"
		}
	}
	w.report(e, FindingUnknownClaim, fix, "the identity provider's tokens have no claim %s", showPath(path))
	return false
}

// path returns the static path of an access that is rooted at claims; empty
// for claims itself.
func (w *astWalk) path(e celast.Expr) ([]string, bool) {
	if e.Kind() == celast.IdentKind {
		return nil, e.AsIdent() == "claims"
	}
	if e.Kind() == celast.SelectKind {
		path, ok := w.path(e.AsSelect().Operand())
		return append(path, e.AsSelect().FieldName()), ok
	}
	if e.Kind() != celast.CallKind {
		return nil, false
	}
	call := e.AsCall()
	switch call.FunctionName() {
	case operators.Index, operators.OptIndex, operators.OptSelect:
		name, isText := literalText(call.Args()[1])
		if !isText {
			return nil, false
		}
		path, ok := w.path(call.Args()[0])
		return append(path, name), ok
	}
	return nil, false
}

func literalText(e celast.Expr) (string, bool) {
	if e.Kind() != celast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func didYouMean(name, prefix, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return "did you mean " + prefix + name + "?"
}
