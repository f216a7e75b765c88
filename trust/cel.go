package trust

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
)

const (
	// maxCondition is the longest condition in bytes. A rule that a person has
	// to review is far shorter, and the checker's work grows with it.
	maxCondition = 4 << 10
	// maxConditionDepth is the deepest syntax tree: checker and planner recurse.
	maxConditionDepth = 32
	// maxParserDepth bounds the parser's recursion before there is a tree to
	// measure; it is the library's own default.
	maxParserDepth = 250
	// maxConditionNodes bounds what macros may expand to.
	maxConditionNodes = 4096
	// maxLoopNesting bounds loops in loops: each level multiplies by the size
	// of a list that the token's holder may fill.
	maxLoopNesting = 2
	// maxPattern is the longest regular expression: RE2 does not backtrack, but
	// its program grows with the pattern (CVE-2022-41715).
	maxPattern = 256
	// maxPatternProgram bounds what a short pattern with counts may grow to.
	maxPatternProgram = 4096
	// conditionCost is the cost limit of one evaluation, and of its estimate at
	// load. 100,000 is about 10 ms; a usual condition spends less than 100.
	conditionCost = 100_000

	// The sizes that the estimate assumes. The token parser refuses larger ones.
	maxClaimBytes = 4 << 10
	maxClaimItems = 256
	// A list of 256 items lies in a token of 16 KiB, so that this is the mean.
	meanItemBytes = 64
)

// celEnv compiles conditions over the claims of one schema.
type celEnv struct {
	env     *cel.Env
	schema  *claimSchema
	open    bool                  // the claims are not known: conditions are looked at, and none is made
	implied map[string]*condition // of the platform; see imply
}

// baseEnv is what all conditions share: the variables but claims, and functions
// that compute and do nothing else. There is no clock, no I/O and no native
// type of ours (GHSA-gcjh-h69q-9w9g): only values of CEL's own types.
func baseEnv() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.OptionalTypes(),
		// From version 5 on the library counts what text costs: without it, five
		// replace() in a row turn a claim into gigabytes for a cost of five.
		ext.Strings(ext.StringsVersion(5)),
		ext.Lists(ext.ListsVersion(1)),
		ext.Sets(),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ParserRecursionLimit(maxParserDepth),
		cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(maxConditionNodes),
		cel.RegexProgramSizeLimit(maxPatternProgram),
		cel.ASTValidators(
			cel.ValidateComprehensionNestingLimit(maxLoopNesting),
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
		),
	}
	for object, fields := range conditionFields() {
		// The whole object serves has() and `in`; a field has its own type.
		opts = append(opts, cel.Variable(object, cel.MapType(cel.StringType, cel.DynType)))
		for name, typ := range fields {
			opts = append(opts, cel.Variable(object+"."+name, typ))
		}
	}
	opts = append(opts, cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)))
	return cel.NewEnv(opts...)
}

// conditionFields are the fields of the variables beside claims.
func conditionFields() map[string]map[string]*cel.Type {
	return map[string]map[string]*cel.Type{
		"identity": {
			"provider":   cel.StringType,
			"workload":   cel.StringType,
			"subject":    cel.StringType,
			"issuer":     cel.StringType,
			"audience":   cel.StringType,
			"issued_at":  cel.TimestampType,
			"expires_at": cel.TimestampType,
		},
		"request": {
			"to":       cel.StringType,
			"resource": cel.StringType,
			"scopes":   cel.ListType(cel.StringType),
			"ttl":      cel.DurationType,
			"time":     cel.TimestampType,
			"address":  cel.StringType,
		},
		"grant": {
			"to":       cel.StringType,
			"resource": cel.StringType,
			"scopes":   cel.ListType(cel.StringType),
			"ttl":      cel.DurationType,
			"claims":   cel.MapType(cel.StringType, cel.DynType),
		},
	}
}

// newCELEnv adds the schema's claims, each as a variable of its declared type.
func newCELEnv(base *cel.Env, schema *claimSchema) (*celEnv, error) {
	opts := make([]cel.EnvOption, 0, 2*len(schema.byID))
	for id, v := range schema.byID {
		opts = append(opts, cel.Variable(claimPrefix+id, celType(v.typ)),
			cel.Variable(optionalPrefix+id, cel.OptionalType(celType(v.typ))))
	}
	env, err := base.Extend(opts...)
	if err != nil {
		return nil, fmt.Errorf("declare claims: %w", err)
	}
	return &celEnv{env: env, schema: schema}, nil
}

// claimPrefix and a claim's pointer name its variable. No source text can name
// it: an identifier holds no slash.
const claimPrefix = "claims"

// optionalPrefix names the same claim as it is asked for with `.?`: it has the
// declared type too, so that claims.?x.orValue(0) != 1 does not hold for a text.
const optionalPrefix = "claims?"

func celType(t ClaimType) *cel.Type {
	switch t {
	case StringClaim:
		return cel.StringType
	case BoolClaim:
		return cel.BoolType
	case IntClaim:
		return cel.IntType
	case DoubleClaim:
		return cel.DoubleType
	case ListClaim:
		return cel.ListType(cel.StringType)
	case MapClaim:
		return cel.MapType(cel.StringType, cel.DynType)
	}
	return cel.NullType // no document can use a claim of no type
}

// condition is one compiled line of CEL. It is safe for concurrent use.
type condition struct {
	program cel.Program
	source  string
	implied string // the claim that match would name instead, for a condition of the platform; else ""
	reads
}

// celProblem is one thing wrong with a condition, at a line and a column of its
// own text, both from 1.
type celProblem struct {
	id           string
	line, column int
	message, fix string
}

// check parses one condition, puts the declared claims into it, and checks its
// types.
func (e *celEnv) check(source string) (checked *cel.Ast, looks reads, problems []celProblem) {
	if len(source) > maxCondition {
		return nil, reads{}, []celProblem{{
			id: FindingTooExpensive, line: 1, column: 1,
			message: fmt.Sprintf("the condition has %d bytes; at most %d are allowed", len(source), maxCondition),
			fix:     "split it into several conditions",
		}}
	}
	if !utf8.ValidString(source) {
		return nil, reads{}, []celProblem{{id: FindingCELSyntax, line: 1, column: 1, message: "the condition is not UTF-8", fix: "save the file as UTF-8"}}
	}
	parsed, issues := e.env.Parse(source)
	if err := issues.Err(); err != nil {
		return nil, reads{}, celIssues(source, issues)
	}
	walk := astWalk{schema: e.schema, info: parsed.NativeRep().SourceInfo(), factory: celast.NewExprFactory()}
	walk.expr(parsed.NativeRep().Expr(), 1)
	if e.open {
		walk.problems = slices.DeleteFunc(walk.problems, func(p celProblem) bool { return p.id == FindingUnknownClaim })
	}
	if len(walk.problems) > 0 {
		return nil, reads{}, walk.problems
	}
	checked, issues = e.env.Check(parsed)
	if err := issues.Err(); err != nil {
		return nil, reads{}, celIssues(source, issues)
	}
	return checked, walk.reads, nil
}

// compile checks, weighs and plans one condition. With problems there is no
// condition, nor is there one of an open environment.
func (e *celEnv) compile(source string) (*condition, []celProblem) {
	checked, looks, problems := e.check(source)
	if len(problems) > 0 || e.open {
		return nil, problems
	}
	if out := checked.OutputType(); !out.IsExactType(types.BoolType) {
		return nil, []celProblem{{
			id: FindingNotBool, line: 1, column: 1,
			message: fmt.Sprintf("the condition is of type %s, not bool", out),
			fix:     `compare it, as in: claims.x == "value"`,
		}}
	}
	estimate, err := e.env.EstimateCost(checked, sizes{})
	if err != nil {
		return nil, []celProblem{{id: FindingTooExpensive, line: 1, column: 1, message: "the condition's cost cannot be estimated", fix: "write a smaller condition"}}
	}
	if estimate.Max > conditionCost {
		return nil, []celProblem{{
			id: FindingTooExpensive, line: 1, column: 1,
			message: fmt.Sprintf("the condition may cost %d; at most %d is allowed", estimate.Max, conditionCost),
			fix:     "avoid loops in loops, and compare with literals",
		}}
	}
	program, err := e.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(conditionCost))
	if err != nil {
		return nil, []celProblem{{id: FindingCELSyntax, line: 1, column: 1, message: "the condition cannot be planned: " + err.Error(), fix: "write it another way"}}
	}
	return &condition{program: program, source: source, reads: looks}, nil
}

// eval evaluates the condition. It is true only when the value is true; else
// the reason says whether it was false, failed, or spent its budget.
func (c *condition) eval(v *variables) (bool, Reason) {
	if v.unknown != nil {
		v.unknown.hidden = false
	}
	out, _, err := c.program.Eval(v)
	if err != nil {
		var cancelled interpreter.EvalCancelledError
		if errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded {
			return false, ReasonCELBudget
		}
		return false, ReasonCELError
	}
	if v.unknown != nil && (v.unknown.hidden || isUnknown(out)) {
		return false, notRecorded
	}
	switch out {
	case types.True:
		return true, ""
	case types.False:
		return false, ReasonConditionFalse
	}
	return false, ReasonCELError
}

// celIssues turns the library's issues into problems of ours.
func celIssues(source string, issues *cel.Issues) []celProblem {
	var problems []celProblem
	for _, e := range issues.Errors() {
		if strings.HasPrefix(e.Message, "Syntax error") {
			p := celSyntax(source, e.Location.Line(), e.Location.Column())
			if len(problems) == 0 || p.fix == fixEquals {
				problems = append(problems, p) // the rest follows from the first
			}
			continue
		}
		if len(problems) > 0 && strings.Contains(e.Message, "recovery") {
			continue // the parser gave up after what was told
		}
		message := strings.TrimSuffix(strings.ReplaceAll(e.Message, " (in container '')", ""), "\n")
		p := celProblem{id: FindingCELSyntax, line: e.Location.Line(), column: e.Location.Column() + 1, message: message}
		switch {
		case strings.Contains(message, "no matching overload"), strings.Contains(message, "expected type"),
			strings.Contains(message, "does not support field selection"):
			p.id = FindingTypeMismatch
			p.fix = "compare with a value of the same type"
		case strings.Contains(message, "undeclared reference"), strings.Contains(message, "undefined field"):
			p.id = FindingUnknownName
			p.fix = "use claims, identity, request or grant, and CEL's own functions"
		case strings.Contains(message, "limit"), strings.Contains(message, "exceeds"), strings.Contains(message, "nesting"):
			p.id = FindingTooExpensive
			p.fix = "write a smaller condition, or several"
		}
		if p.fix == "" {
			p.fix = "write CEL over claims, identity, request and grant"
		}
		problems = append(problems, p)
		if len(problems) == 8 { // a broken line is one fault, not a hundred
			break
		}
	}
	return problems
}

const fixEquals = "write == to compare"

// celSyntax says where a condition, at a line from 1 and a column from 0, cannot
// be read on. The parser's own text is about its grammar, which no author knows.
func celSyntax(source string, line, column int) celProblem {
	p := celProblem{id: FindingCELSyntax, line: line, column: column + 1}
	lines := strings.Split(strings.TrimRightFunc(source, unicode.IsSpace), "\n")
	var text []rune
	if line >= 1 && line <= len(lines) {
		text = []rune(lines[line-1])
	}
	if column < 0 || column >= len(text) {
		// The last character is shown, not the empty line that a block ends with.
		p.line, p.column = len(lines), utf8.RuneCountInString(lines[len(lines)-1])
		p.message, p.fix = "does not parse: it ends too early", "close what is open, or write what is missing"
		return p
	}
	const most = 20 // characters: enough to find the place by
	near, _, _ := strings.Cut(string(text[column:min(len(text), column+most)]), " ")
	p.message, p.fix = "does not parse near `"+near+"`", "write CEL over claims, identity, request and grant"
	alone := text[column] == '=' && (column == 0 || !strings.ContainsRune("=!<>", text[column-1])) &&
		(column+1 == len(text) || text[column+1] != '=' && text[column+1] != '~')
	if alone {
		p.message, p.fix = "does not parse near `=`", fixEquals
	}
	return p
}

// sizes tells the cost estimate how large a value may be at most.
type sizes struct{}

// EstimateSize bounds a variable, or an item of one. Deeper values get no
// bound, and so no condition over them passes the estimate unless it is cheap
// for any size.
func (sizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	path := node.Path()
	kind := types.DynKind
	if t := node.Type(); t != nil {
		kind = t.Kind()
	}
	switch {
	case len(path) > 2:
		return nil
	case kind == types.ListKind || kind == types.MapKind:
		if len(path) == 0 {
			return nil
		}
		if path[0] == "request.scopes" || path[0] == "grant.scopes" {
			return &cost.SizeEstimate{Max: maxScopes}
		}
		return &cost.SizeEstimate{Max: maxClaimItems}
	case len(path) == 2:
		return &cost.SizeEstimate{Max: meanItemBytes}
	case kind == types.StringKind && len(path) == 1, kind == types.DynKind, kind == types.OpaqueKind:
		return &cost.SizeEstimate{Max: maxClaimBytes}
	}
	return nil
}

// EstimateCallCost bounds what claims.?x.orValue(y) gives: the claim, or y. The
// library has no bound for it, so that nothing could be done with the value. It
// leaves all other calls to the library.
func (s sizes) EstimateCallCost(function, _ string, target *cost.AstNode, args []cost.AstNode) *cost.CallEstimate {
	if function != "orValue" || target == nil || len(args) != 1 || args[0].Type() == nil {
		return nil
	}
	if path := (*target).Path(); len(path) != 1 || !strings.HasPrefix(path[0], optionalPrefix) {
		return nil
	}
	fallback := args[0].ComputedSize()
	if fallback == nil {
		fallback = s.EstimateSize(args[0])
	}
	if fallback == nil {
		return nil
	}
	size := &cost.SizeEstimate{Max: max(fallback.Max, maxClaimBytes)}
	if kind := args[0].Type().Kind(); kind == types.ListKind || kind == types.MapKind {
		size.Max = max(fallback.Max, maxClaimItems)
		item := cost.SizeEstimate{Max: meanItemBytes}
		if fallback.Elem != nil {
			item.Max = max(item.Max, fallback.Elem.Max)
		}
		size.Key, size.Elem = &item, &item
	}
	return cost.NewCallEstimate(cost.FixedCostEstimate(1), size)
}
