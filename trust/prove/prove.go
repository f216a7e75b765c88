package prove

import (
	"fmt"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"

	"cambio/trust"
	"cambio/trust/logic"
)

// Prover answers questions about one policy. It keeps syntax trees and automata
// between questions, and is safe for concurrent use.
type Prover struct {
	policy     *trust.Policy
	now        time.Time
	tables     map[string]*table
	trusts     []trust.Trust
	byTarget   map[target][]int        // of trusts that have a grant there
	guardrails map[string][]trust.Rule // by identity provider
	functions  map[string]functions.FunctionOp
	cache      *logic.Cache
	trees      sync.Map // condition without its place to *treeOnce
	evaluators sync.Map // likewise to *evaluatorOnce
	takes      func(provider string, claims map[string]any, at time.Time) error
}

// Takes has the prover ask a verifier about each example that breaks an invariant:
// one that it would refuse, by rules that are not in the platform's table, breaks
// nothing. The claims are those of [Example]. It is called before any question,
// and f from several goroutines.
func (pr *Prover) Takes(f func(provider string, claims map[string]any, at time.Time) error) {
	pr.takes = f
}

type target struct{ provider, name string }

// New prepares questions about a policy from an instant on: what has expired by
// then allows nothing.
func New(p *trust.Policy, now time.Time) (*Prover, error) {
	pr := &Prover{
		policy: p, now: now, tables: map[string]*table{}, trusts: p.All(), guardrails: map[string][]trust.Rule{},
		byTarget: map[target][]int{}, functions: map[string]functions.FunctionOp{}, cache: &logic.Cache{},
	}
	for i, t := range pr.trusts {
		for _, g := range t.Grants {
			k := target{t.Provider, g.Target}
			if in := pr.byTarget[k]; len(in) == 0 || in[len(in)-1] != i {
				pr.byTarget[k] = append(in, i)
			}
		}
	}
	for name := range p.World().Providers {
		pr.tables[name] = newTable(p, name)
	}
	for _, g := range p.AllGuardrails() {
		for _, provider := range g.From {
			pr.guardrails[provider] = append(pr.guardrails[provider], g)
		}
	}
	return pr, pr.bind()
}

// bind takes CEL's functions for constants from the library, with the options
// that conditions are compiled with.
func (pr *Prover) bind() error {
	env, err := cel.NewEnv(cel.OptionalTypes(), ext.Strings(ext.StringsVersion(5)), ext.Lists(ext.ListsVersion(1)), ext.Sets(), cel.DefaultUTCTimeZone(true))
	if err != nil {
		return fmt.Errorf("build the CEL environment: %w", err)
	}
	for name, f := range env.Functions() {
		overloads, err := f.Bindings()
		if err != nil {
			return fmt.Errorf("bind %s: %w", name, err)
		}
		for _, o := range overloads {
			if o.Operator == name && !o.NonStrict {
				pr.functions[name] = dispatch(o)
			}
		}
	}
	// Comparing has no overloads of its own: it takes any two values.
	pr.functions[operators.Equals] = func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) }
	pr.functions[operators.NotEquals] = func(args ...ref.Val) ref.Val { return types.Bool(types.Equal(args[0], args[1]) != types.True) }
	return nil
}

// dispatch calls a function by the number of its arguments; nil is that it is not
// for them. The first one must be of the kind that the function is for: the
// interpreter looks too before it calls, and without it a list that is compared
// would end the process.
func dispatch(o *functions.Overload) functions.FunctionOp {
	return func(args ...ref.Val) ref.Val {
		switch {
		case o.OperandTrait != 0 && (len(args) == 0 || !args[0].Type().HasTrait(o.OperandTrait)):
			return nil
		case len(args) == 1 && o.Unary != nil:
			return o.Unary(args[0])
		case len(args) == 2 && o.Binary != nil:
			return o.Binary(args[0], args[1])
		case o.Function != nil:
			return o.Function(args...)
		}
		return nil
	}
}

// solve decides whether a formula over the variables of a state has a model.
func (s *state) solve(fs ...logic.Formula) (logic.Model, logic.Status, string) {
	f := logic.And(fs...)
	if isFalse(f) {
		return nil, logic.Unsatisfiable, ""
	}
	return logic.Solve(logic.And(f, s.where()), logic.Limits{Cache: s.pr.cache})
}

type treeOnce struct {
	once sync.Once
	tree *tree
	err  error
}

// key is a condition without its place: thousands of trusts share a few.
func key(c trust.Condition) trust.Condition {
	c.At = trust.Place{}
	return c
}

func (pr *Prover) tree(c trust.Condition) (*tree, error) {
	found, ok := pr.trees.Load(key(c))
	if !ok {
		found, _ = pr.trees.LoadOrStore(key(c), &treeOnce{})
	}
	t, _ := found.(*treeOnce)
	t.once.Do(func() { t.tree, t.err = newTree(c) })
	return t.tree, t.err
}

type evaluatorOnce struct {
	once sync.Once
	eval trust.Evaluator
	err  error
}

func (pr *Prover) evaluator(c trust.Condition) (trust.Evaluator, error) {
	found, ok := pr.evaluators.Load(key(c))
	if !ok {
		found, _ = pr.evaluators.LoadOrStore(key(c), &evaluatorOnce{})
	}
	e, _ := found.(*evaluatorOnce)
	e.once.Do(func() { e.eval, e.err = c.Evaluator() })
	return e.eval, e.err
}
