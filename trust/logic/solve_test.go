package logic_test

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"testing"
	"time"

	"cambio/trust/logic"
)

type (
	formula = logic.Formula
	model   = logic.Model
)

var (
	and, or, not = logic.And, logic.Or, logic.Not
	in           = logic.In
)

func regexpOf(t testing.TB, p string) logic.Language {
	t.Helper()
	l, err := logic.Regexp(p)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func prefixes(ps ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range ps {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// office is open from Monday to Friday, 7 to 19 o'clock in UTC.
func office(t time.Time) bool {
	return t.Weekday() != time.Saturday && t.Weekday() != time.Sunday && t.Hour() >= 7 && t.Hour() < 19
}

func officeHours(x logic.Var) formula {
	return logic.Clock(x, "office", office, logic.Step{Every: time.Minute})
}

func night(x logic.Var) formula {
	return logic.Clock(x, "night", func(t time.Time) bool { return t.Hour() < 6 }, logic.Step{Every: time.Hour})
}

// solve decides f, and makes sure that a model makes it true.
func solve(t testing.TB, f formula) (model, logic.Status) {
	t.Helper()
	m, status, why := logic.Solve(f, logic.Limits{})
	if (status == logic.Unknown) != (why != "") {
		t.Errorf("status %d with the reason %q", status, why)
	}
	if status == logic.Satisfiable && !f.Holds(m) {
		t.Errorf("the model %v does not make the formula true", m)
	}
	if status != logic.Satisfiable && m != nil {
		t.Errorf("status %d with a model", status)
	}
	return m, status
}

func TestSolve(t *testing.T) {
	const sat, unsat, unknown = logic.Satisfiable, logic.Unsatisfiable, logic.Unknown
	refs := logic.Prefix("refs/heads/")
	day := int64(24 * time.Hour)
	saturday := time.Date(2026, 6, 6, 0, 0, 0, 0, time.UTC).UnixNano()
	ten, v6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	a, b, c := logic.Bool("a"), logic.Bool("b"), logic.Bool("c")
	for name, test := range map[string]struct {
		f    formula
		want logic.Status
	}{
		"true":                   {logic.True(), sat},
		"false":                  {logic.False(), unsat},
		"the zero value":         {formula{}, unsat},
		"a boolean":              {a, sat},
		"its negation":           {not(a), sat},
		"both":                   {and(a, not(a)), unsat},
		"both, seen twice":       {and(logic.Bool("a"), not(logic.Bool("a"))), unsat},
		"all eight excluded":     {and(or(a, b), or(a, not(b)), or(not(a), c), or(not(a), not(c))), unsat},
		"seven excluded":         {and(or(a, b), or(a, not(b)), or(not(a), c)), sat},
		"each implies the other": {and(logic.Implies(a, b), logic.Implies(b, a), a, not(b)), unsat},
		"implies":                {and(logic.Implies(a, b), logic.Implies(b, c), a, not(c)), unsat},
		"if":                     {and(logic.If(c, a, b), not(a), not(b)), unsat},
		"one name of two kinds":  {and(a, logic.AtMost("a", 1)), unknown},
		"two kinds in one arm":   {or(and(a, b), logic.AtMost("a", 1)), unknown},

		"a text":                        {in("x", logic.Text("main")), sat},
		"two texts":                     {and(in("x", logic.Text("main")), in("x", logic.Text("dev"))), unsat},
		"a text and its prefix":         {and(in("x", logic.Text("refs/heads/main")), in("x", refs)), sat},
		"a text not with its prefix":    {and(in("x", logic.Text("refs/heads/main")), not(in("x", refs))), unsat},
		"a glob within a prefix":        {and(in("x", logic.Glob("refs/heads/*")), not(in("x", refs))), unsat},
		"a prefix beyond a glob":        {and(in("x", refs), not(in("x", logic.Glob("refs/heads/*")))), sat},
		"a prefix and a suffix overlap": {and(in("x", logic.Prefix("aba")), in("x", logic.Suffix("bab")), in("x", logic.Lengths(0, 4))), sat},
		"and are too long":              {and(in("x", logic.Prefix("aba")), in("x", logic.Suffix("bab")), in("x", logic.Lengths(0, 3))), unsat},
		"a part is in the whole":        {and(in("x", logic.Text("abc")), not(in("x", logic.Containing("b")))), unsat},
		"a pattern":                     {and(in("x", regexpOf(t, `v[0-9]+\.[0-9]+`)), not(in("x", logic.Prefix("v0")))), sat},
		"a pattern within another":      {and(in("x", regexpOf(t, `v[0-9]+`)), not(in("x", regexpOf(t, `v\d\d*`)))), unsat},
		"patterns that are equal":       {and(in("x", regexpOf(t, `(a|b)*abb`)), not(in("x", regexpOf(t, `[ab]*abb`)))), unsat},
		"a word boundary":               {and(in("x", regexpOf(t, `a\bb`))), unsat},
		"a line of several":             {and(in("x", regexpOf(t, `(?m)a$\s^b`)), in("x", logic.Lengths(3, 3))), sat},
		"anchors are no matter":         {and(in("x", regexpOf(t, `^a$`)), not(in("x", logic.Text("a")))), unsat},
		"any case":                      {and(in("x", regexpOf(t, `(?i)k`)), not(in("x", logic.Texts("k", "K")))), sat},
		"any case but Kelvin":           {and(in("x", regexpOf(t, `(?i)k`)), not(in("x", logic.Texts("k", "K", "\u212a")))), unsat},
		"lower case":                    {and(in("x", logic.MapASCII(logic.Text("main"), true)), not(in("x", logic.Text("main")))), sat},
		"lower case has no upper":       {in("x", logic.MapASCII(logic.Text("Main"), true)), unsat},
		"lower case of a prefix":        {and(in("x", logic.MapASCII(logic.Prefix("re"), true)), not(in("x", regexpOf(t, `(?s)[rR][eE].*`)))), unsat},
		"upper case of a set":           {and(in("x", logic.MapASCII(regexpOf(t, `[C-M]`), false)), not(in("x", regexpOf(t, `[A-Z]`)))), sat},
		"upper case of a size":          {and(in("x", logic.MapASCII(logic.Lengths(2, 2), false)), not(in("x", logic.Lengths(2, 2)))), unsat},
		"a prefix of nothing":           {not(in("x", logic.Prefix(""))), unsat},
		"a bad prefix":                  {in("x", logic.Prefix("\xff")), unsat},
		"a bad glob":                    {in("x", logic.Glob("\xff*")), unsat},
		"lengths":                       {and(in("x", logic.Lengths(3, -1)), in("x", logic.Lengths(0, 2))), unsat},
		"code points, not bytes":        {and(in("x", logic.Text("é")), not(in("x", logic.Lengths(1, 1)))), unsat},
		"everything but one":            {not(in("x", logic.Text("x"))), sat},
		"a union covers":                {and(in("x", logic.Texts("a", "b")), not(in("x", logic.Union(logic.Text("a"), logic.Prefix("b"))))), unsat},
		"an intersection of unions": {and(in("x", logic.Union(logic.Prefix("a"), logic.Prefix("b"))),
			in("x", logic.Union(logic.Prefix("b"), logic.Prefix("c"))), not(in("x", logic.Prefix("b")))), unsat},
		"no bad text":           {in("x", logic.Text("\xff")), unsat},
		"any and none":          {and(in("x", logic.Any()), not(in("x", logic.None()))), sat},
		"all characters and NL": {and(in("x", regexpOf(t, `.`)), not(in("x", regexpOf(t, `[^\n]`)))), unsat},

		"same and different texts":  {and(logic.Same("x", "y"), in("x", logic.Text("a")), in("y", logic.Text("b"))), unsat},
		"same through a third":      {and(logic.Same("x", "y"), logic.Same("z", "y"), not(logic.Same("z", "x"))), unsat},
		"same languages meet":       {and(logic.Same("x", "y"), in("x", logic.Prefix("a")), in("y", logic.Suffix("b"))), sat},
		"same languages part":       {and(logic.Same("x", "y"), in("x", logic.Prefix("a")), in("y", logic.Prefix("b"))), unsat},
		"different texts":           {and(not(logic.Same("x", "y")), in("x", logic.Text("a")), in("y", logic.Text("a"))), unsat},
		"two of two":                {and(not(logic.Same("x", "y")), in("x", logic.Texts("a", "b")), in("y", logic.Texts("a", "b"))), sat},
		"three of two":              {pigeons(logic.Texts("a", "b"), "x", "y", "z"), unsat},
		"three of two by a pattern": {pigeons(regexpOf(t, "[ab]"), "x", "y", "z"), unsat},
		"three of three":            {pigeons(regexpOf(t, "[a-c]"), "x", "y", "z"), sat},
		"three of an empty one too": {pigeons(regexpOf(t, "[ab]?"), "x", "y", "z"), sat},
		"three of all":              {pigeons(logic.Any(), "x", "y", "z"), sat},
		"three of a loop":           {pigeons(regexpOf(t, "(ab)*"), "x", "y", "z"), sat},
		"same or not": {and(or(logic.Same("x", "y"), in("x", logic.Text("a"))), in("y", logic.Text("b")),
			not(in("x", logic.Texts("a", "b")))), unsat},

		"at most and more":        {and(logic.AtMost("n", 3), not(logic.AtMost("n", 3))), unsat},
		"between":                 {and(logic.AtMost("n", 3), not(logic.AtMost("n", 2))), sat},
		"between two neighbours":  {and(logic.AtMost("n", 3), not(logic.AtMost("n", 2)), not(logic.Equals("n", 3))), unsat},
		"equal to two":            {and(logic.Equals("n", 3), logic.Equals("n", 4)), unsat},
		"unequal leaves the ends": {and(not(logic.Equals("n", 3)), logic.AtMost("n", 4), not(logic.AtMost("n", 1)), not(logic.Equals("n", 2))), sat},
		"the least integer":       {logic.Equals("n", math.MinInt64), sat},
		"less than the least":     {and(logic.Difference("n", "m", -1), logic.Equals("m", math.MinInt64)), unsat},
		"the largest integer":     {logic.Equals("n", math.MaxInt64), sat},
		"more than the largest":   {and(logic.Difference("n", "m", -1), logic.Equals("n", math.MaxInt64)), unsat},
		"nothing wraps":           {and(logic.Difference("n", "m", math.MinInt64), not(logic.AtMost("n", 0))), unsat},
		"a circle of less":        {and(logic.Difference("n", "m", -1), logic.Difference("m", "k", -1), logic.Difference("k", "n", 1)), unsat},
		"a circle of enough":      {and(logic.Difference("n", "m", -1), logic.Difference("m", "k", -1), logic.Difference("k", "n", 2)), sat},
		"a circle of the largest": {and(logic.Difference("n", "m", math.MaxInt64), logic.Difference("m", "k", math.MaxInt64), not(logic.Difference("n", "k", math.MaxInt64))), sat},
		"a difference of itself":  {logic.Difference("n", "n", -1), unsat},
		"bounds add up":           {and(logic.AtMost("m", 5), logic.Difference("n", "m", 2), not(logic.AtMost("n", 7))), unsat},

		"office at the weekend":  {and(officeHours("t"), not(logic.AtMost("t", saturday-1)), logic.AtMost("t", saturday+2*day-1)), unsat},
		"office until Monday":    {and(officeHours("t"), not(logic.AtMost("t", saturday-1)), logic.AtMost("t", saturday+2*day+day/3)), sat},
		"office at some time":    {officeHours("t"), sat},
		"no office":              {not(officeHours("t")), sat},
		"office at night":        {and(officeHours("t"), night("t")), unsat},
		"neither":                {and(not(officeHours("t")), not(night("t"))), sat},
		"office before long ago": {and(officeHours("t"), logic.AtMost("t", 0)), sat},
		"office in no year":      {and(officeHours("t"), logic.AtMost("t", math.MinInt64+day)), unknown},
		"office in the last one": {and(officeHours("t"), not(logic.AtMost("t", math.MaxInt64-10*day))), sat},
		"one after the other": {and(officeHours("t"), night("u"), logic.Difference("u", "t", int64(11*time.Hour)), not(logic.Difference("u", "t", 0)),
			not(logic.AtMost("t", saturday)), logic.AtMost("t", saturday+30*day)), sat},
		"too close": {and(officeHours("t"), night("u"), logic.Difference("u", "t", int64(4*time.Hour)), not(logic.Difference("u", "t", 0)),
			not(logic.AtMost("t", saturday)), logic.AtMost("t", saturday+30*day)), unsat},

		"below":                    {logic.Below("r", 1.5, false), sat},
		"below and above":          {and(logic.Below("r", 1.5, false), not(logic.Below("r", 1.5, false))), unsat},
		"exactly":                  {and(logic.Below("r", 1.5, true), not(logic.Below("r", 1.5, false))), sat},
		"between neighbours":       {and(logic.Below("r", math.Nextafter(1, 2), false), not(logic.Below("r", 1, true))), unsat},
		"both zeros":               {and(logic.EqualsReal("r", 0), not(logic.Below("r", math.Copysign(0, -1), true))), unsat},
		"beyond the largest":       {not(logic.Below("r", math.MaxFloat64, true)), unsat},
		"no number":                {logic.EqualsReal("r", math.NaN()), unsat},
		"below infinity":           {not(logic.Below("r", math.Inf(1), false)), unsat},
		"a small range":            {and(logic.Below("r", 0.75, true), not(logic.Below("r", 0.25, true))), sat},
		"nothing below minus much": {logic.Below("r", -math.MaxFloat64, false), unsat},

		"a network":                 {logic.InNetworks("p", prefixes("10.0.0.0/8")), sat},
		"no network":                {logic.InNetworks("p", nil), unsat},
		"a network in another":      {and(logic.InNetworks("p", prefixes("10.1.0.0/16")), not(logic.InNetworks("p", prefixes("10.0.0.0/8")))), unsat},
		"a network without another": {and(logic.InNetworks("p", prefixes("10.0.0.0/8")), not(logic.InNetworks("p", prefixes("10.0.0.0/9")))), sat},
		"halves are the whole":      {and(logic.InNetworks("p", prefixes("10.0.0.0/8")), not(logic.InNetworks("p", prefixes("10.0.0.0/9", "10.128.0.0/9")))), unsat},
		"everything is known":       {and(logic.AddressKnown("p"), not(logic.InNetworks("p", prefixes("0.0.0.0/0", "::/0")))), unsat},
		"or unknown":                {not(logic.InNetworks("p", prefixes("0.0.0.0/0", "::/0"))), sat},
		"no IPv4 in IPv6 clothes":   {logic.InNetworks("p", prefixes("::ffff:0:0/96")), unsat},
		"but right before them":     {and(logic.InNetworks("p", prefixes("::fffe:0:0/95")), not(logic.InNetworks("p", prefixes("::fffe:0:0/96")))), unsat},
		"and right after them":      {and(logic.InNetworks("p", prefixes("::/0")), not(logic.InNetworks("p", prefixes("::/80", "::1:0:0:0/80", "8000::/1", "4000::/2", "2000::/3")))), sat},
		"an address":                {and(logic.AddressIs("p", ten), logic.InNetworks("p", prefixes("10.0.0.0/8"))), sat},
		"an address elsewhere":      {and(logic.AddressIs("p", v6), logic.InNetworks("p", prefixes("10.0.0.0/8"))), unsat},
		"two addresses":             {and(logic.AddressIs("p", v6), logic.AddressIs("p", ten)), unsat},
		"an address is known":       {and(logic.AddressIs("p", v6), not(logic.AddressKnown("p"))), unsat},
		"an address in clothes":     {and(logic.AddressIs("p", netip.MustParseAddr("::ffff:10.0.0.1")), not(logic.AddressIs("p", ten))), unsat},
		"the other of two":          {and(logic.InNetworks("p", prefixes("10.0.0.0/31")), not(logic.AddressIs("p", ten))), sat},
		"a network of one":          {and(logic.InNetworks("p", prefixes("10.0.0.1/32")), not(logic.AddressIs("p", ten))), unsat},
		"an address with a zone":    {logic.AddressIs("p", netip.MustParseAddr("fe80::1%eth0")), unsat},
		"no address":                {logic.AddressIs("p", netip.Addr{}), unsat},

		"an item":                   {logic.Some("l", logic.Text("a")), sat},
		"an item of none":           {and(logic.Some("l", logic.Text("a")), logic.SizeAtMost("l", 0)), unsat},
		"two in one":                {and(logic.Some("l", logic.Text("a")), logic.Some("l", logic.Text("b")), logic.SizeAtMost("l", 1)), unsat},
		"two in two":                {and(logic.Some("l", logic.Text("a")), logic.Some("l", logic.Text("b")), logic.SizeAtMost("l", 2)), sat},
		"one serves two":            {and(logic.Some("l", logic.Prefix("a")), logic.Some("l", logic.Suffix("b")), logic.SizeAtMost("l", 1)), sat},
		"three in two, as a pair":   {and(logic.Some("l", logic.Prefix("a")), logic.Some("l", logic.Prefix("b")), logic.Some("l", logic.Suffix("c")), logic.SizeAtMost("l", 2)), sat},
		"three in two":              {and(logic.Some("l", logic.Prefix("a")), logic.Some("l", logic.Prefix("b")), logic.Some("l", logic.Prefix("c")), logic.SizeAtMost("l", 2)), unsat},
		"some is not all":           {and(logic.Some("l", logic.Prefix("a")), not(logic.Some("l", logic.Prefix("a")))), unsat},
		"all within":                {and(logic.Some("l", logic.Any()), not(logic.Some("l", logic.Complement(logic.Texts("a", "b")))), not(logic.Some("l", logic.Text("a")))), sat},
		"all of nothing":            {and(logic.Some("l", logic.Any()), not(logic.Some("l", logic.Complement(logic.Text("a")))), not(logic.Some("l", logic.Text("a")))), unsat},
		"an empty list":             {not(logic.Some("l", logic.Any())), sat},
		"no empty list":             {and(not(logic.Some("l", logic.Any())), not(logic.SizeAtMost("l", 0))), unsat},
		"more than there are words": {and(not(logic.Some("l", logic.Complement(logic.Text("a")))), not(logic.SizeAtMost("l", 3))), sat},
		"a size between":            {and(logic.SizeAtMost("l", 3), not(logic.SizeAtMost("l", 3))), unsat},
		"a size below none":         {logic.SizeAtMost("l", -1), unsat},
		"a size beyond all":         {not(logic.SizeAtMost("l", math.MaxInt64)), unsat},
		"a size beyond reason":      {not(logic.SizeAtMost("l", 1<<40)), unknown},

		"a value":                  {logic.Is("d", "a"), sat},
		"two values":               {and(logic.Is("d", "a"), logic.Is("d", "b")), unsat},
		"two types":                {and(logic.Is("d", int64(1)), logic.Is("d", 1.0)), unsat},
		"no value of these":        {and(not(logic.Is("d", "x")), not(logic.Is("d", true)), not(logic.Is("d", false))), sat},
		"a value and not":          {and(logic.Is("d", true), not(logic.Is("d", true))), unsat},
		"a value of no JSON":       {logic.Is("d", []string{"a"}), unsat},
		"no number among values":   {logic.Is("d", math.NaN()), unsat},
		"a value that is excluded": {and(or(logic.Is("d", "a"), logic.Is("d", "b")), not(logic.Is("d", "a")), not(logic.Is("d", "b"))), unsat},
	} {
		t.Run(name, func(t *testing.T) {
			if m, got := solve(t, test.f); got != test.want {
				t.Errorf("status %d with %v, want %d", got, m, test.want)
			}
		})
	}
}

// pigeons are different words of one language.
func pigeons(l logic.Language, xs ...logic.Var) formula {
	var all []formula
	for i, x := range xs {
		all = append(all, in(x, l))
		for _, y := range xs[:i] {
			all = append(all, not(logic.Same(x, y)))
		}
	}
	return and(all...)
}

func TestLimits(t *testing.T) {
	var rows []formula
	for _, x := range []logic.Var{"a", "b", "c", "d", "e", "f", "g"} {
		for _, y := range []logic.Var{"h", "i", "j"} {
			rows = append(rows, or(logic.Difference(x, y, -1), logic.Difference(y, x, -1)))
		}
	}
	long := in("x", regexpOf(t, `(?s).*a.{9}`))
	for name, test := range map[string]struct {
		f      formula
		limits logic.Limits
	}{
		"rounds":       {and(append(rows, logic.Difference("a", "h", 0), logic.Difference("h", "a", 0))...), logic.Limits{Rounds: 1}},
		"states":       {and(long, not(in("x", regexpOf(t, `(?s).*a.{9}|b`)))), logic.Limits{States: 100}},
		"items":        {and(logic.Some("l", regexpOf(t, `(?s).*a.{9}`)), not(logic.Some("l", regexpOf(t, `(?s).*a.{9}|b`)))), logic.Limits{States: 100}},
		"instants":     {logic.Clock("t", "never", func(time.Time) bool { return false }, logic.Step{Every: time.Second}), logic.Limits{}},
		"several days": {and(officeHours("u"), night("t"), logic.Difference("t", "u", 0), logic.Difference("u", "t", 0)), logic.Limits{}},
	} {
		t.Run(name, func(t *testing.T) {
			if m, status, why := logic.Solve(test.f, test.limits); status != logic.Unknown || why == "" || m != nil {
				t.Errorf("status %d %q with %v", status, why, m)
			}
		})
	}
	if _, status, why := logic.Solve(rows[0], logic.Limits{Rounds: 1, States: 1}); status != logic.Satisfiable {
		t.Errorf("status %d: %s", status, why)
	}
	// What is not decided in one case may still hold in another.
	if _, status, _ := logic.Solve(and(or(long, logic.Bool("a")), or(not(in("x", regexpOf(t, `(?s).*a.{9}|b`))), logic.Bool("b"))), logic.Limits{States: 100}); status != logic.Satisfiable {
		t.Errorf("status %d", status)
	}
}

func TestCacheIsShared(t *testing.T) {
	cache := new(logic.Cache)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, f := range []formula{officeHours("t"), and(officeHours("t"), night("t")), not(night("t"))} {
				_, got, _ := logic.Solve(f, logic.Limits{Cache: cache})
				if _, want, _ := logic.Solve(f, logic.Limits{}); got != want {
					t.Errorf("status %d, without a cache %d", got, want)
				}
			}
		})
	}
	group.Wait()
}

func TestConst(t *testing.T) {
	a, b := logic.Bool("a"), logic.Bool("b")
	for name, test := range map[string]struct {
		f         formula
		value, ok bool
	}{
		"true":          {logic.True(), true, true},
		"false":         {logic.False(), false, true},
		"not false":     {not(logic.False()), true, true},
		"nothing":       {and(), true, true},
		"none":          {or(), false, true},
		"one of a lie":  {and(a, logic.False()), false, true},
		"or the truth":  {or(a, logic.True()), true, true},
		"excluded":      {and(a, b, not(a)), false, true},
		"either":        {or(a, b, not(a)), true, true},
		"inner":         {and(and(a, b), not(a)), false, true},
		"itself":        {logic.Implies(a, a), true, true},
		"an atom":       {and(a, a, logic.True()), false, false},
		"if true":       {logic.If(logic.True(), logic.True(), a), true, true},
		"from nothing":  {logic.Implies(logic.False(), a), true, true},
		"many excluded": {and(or(many()...), and(many()...), not(and(many()...))), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if value, ok := test.f.Const(); value != test.value || ok != test.ok {
				t.Errorf("%v, %v, want %v, %v", value, ok, test.value, test.ok)
			}
		})
	}
	all := many()
	if value, ok := and(append(all, not(all[7]))...).Const(); value || !ok {
		t.Error("a long conjunction with a contradiction is not false")
	}
}

// many are more than what is compared pair by pair.
func many() []formula {
	out := make([]formula, 20)
	for i := range out {
		out[i] = logic.Bool(logic.Var(fmt.Sprint("m", i)))
	}
	return out
}
