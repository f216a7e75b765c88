package strictyaml

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Unmarshaler reads a node itself and reports what is wrong with it. It is not
// called for an [Invalid] node.
type Unmarshaler interface {
	UnmarshalNode(n *Node, r *Reporter)
}

// Decode reads a node into the value that into points to, and returns all that
// does not fit. Struct fields are named by the tag `yaml:"name"`, with
// `yaml:"name,required"` for those that must be there; a field without the tag
// is left alone. It knows structs, string, bool, int64, float64, slices, maps by
// string, pointers (nil for null), any, *[Node] (kept as it is) and
// [Unmarshaler]. What had an error keeps its zero value.
func Decode(n *Node, into any) Findings {
	var r Reporter
	r.Decode(n, into)
	return r.Findings()
}

// Decode is the function [Decode] with this reporter's findings.
func (r *Reporter) Decode(n *Node, into any) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic("strictyaml: Decode needs a pointer to a value")
	}
	r.decode(n, v.Elem())
}

func (r *Reporter) decode(n *Node, v reflect.Value) {
	if n == nil || n.Kind == Invalid {
		return // it has its finding already
	}
	if v.Type() == reflect.TypeFor[*Node]() {
		v.Set(reflect.ValueOf(n))
		return
	}
	if u, ok := v.Addr().Interface().(Unmarshaler); ok {
		u.UnmarshalNode(n, r)
		return
	}
	switch v.Kind() { //nolint:exhaustive // the rest is what follows
	case reflect.Pointer:
		if n.Kind == Null {
			return
		}
		p := reflect.New(v.Type().Elem())
		r.decode(n, p.Elem())
		v.Set(p)
	case reflect.Struct:
		r.decodeStruct(n, v)
	case reflect.Map:
		r.decodeMap(n, v)
	case reflect.Slice:
		if n.Kind != List {
			r.WrongType(n, "a list")
			return
		}
		out := reflect.MakeSlice(v.Type(), len(n.children), len(n.children))
		for i, item := range n.children {
			r.decode(item, out.Index(i))
		}
		v.Set(out)
	case reflect.Interface:
		r.decodeAny(n, v)
	case reflect.String:
		if n.Kind != String {
			r.WrongType(n, "text")
			return
		}
		v.SetString(n.Text)
	case reflect.Bool:
		if n.Kind != Bool {
			r.WrongType(n, "a boolean")
			return
		}
		v.SetBool(n.Bool())
	case reflect.Int64:
		if n.Kind != Int {
			r.WrongType(n, "a number")
			return
		}
		v.SetInt(n.Int())
	case reflect.Float64:
		if n.Kind != Int && n.Kind != Float {
			r.WrongType(n, "a number")
			return
		}
		v.SetFloat(n.Float())
	default:
		panic("strictyaml: Decode does not know " + v.Type().String())
	}
}

func (r *Reporter) decodeStruct(n *Node, v reflect.Value) {
	if n.Kind != Map {
		r.WrongType(n, "a map")
		return
	}
	fields := map[string]int{}
	var names, required []string
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields[name] = i
		names = append(names, name)
		if options == "required" {
			required = append(required, name)
		}
	}
	for i, key := range n.names {
		at, known := fields[key.Text]
		if !known {
			r.UnknownField(n, key, names)
			continue
		}
		r.decode(n.children[i], v.Field(at))
	}
	for _, name := range required {
		if n.Get(name) == nil {
			r.Missing(n, name, "write "+name+": and its value")
		}
	}
}

// UnknownField reports a name that a map may not have.
func (r *Reporter) UnknownField(m, key *Node, allowed []string) {
	if likely := Suggest(key.Text, allowed); likely != "" {
		r.meant = append(r.meant, misspelt{m, likely})
	}
	f := key.finding(Error, "unknown-field", "unknown field "+clip(key.Text), DidYouMean(key.Text, allowed))
	f.Field = joinPath(m.Path(), key.Text)
	r.Add(f)
}

func (r *Reporter) decodeMap(n *Node, v reflect.Value) {
	if n.Kind != Map {
		r.WrongType(n, "a map")
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.children))
	for i, key := range n.names {
		item := reflect.New(v.Type().Elem()).Elem()
		r.decode(n.children[i], item)
		out.SetMapIndex(reflect.ValueOf(key.Text).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

// decodeAny reads a free value, and reports each ambiguous scalar inside it.
func (r *Reporter) decodeAny(n *Node, v reflect.Value) {
	r.ambiguous(n)
	value, ok := n.Value()
	if ok && value != nil {
		v.Set(reflect.ValueOf(value))
	}
}

func (r *Reporter) ambiguous(n *Node) {
	if n.Kind == Ambiguous {
		r.WrongType(n, "text or a number")
	}
	for _, c := range n.children {
		r.ambiguous(c)
	}
}

// WrongType reports that a node is not what is wanted ("text", "a number", "a
// boolean", "a list", "a map"), and what to write.
func (r *Reporter) WrongType(n *Node, want string) {
	if n.Kind == Invalid {
		return
	}
	found := n.Show()
	switch n.Kind { //nolint:exhaustive // the rest is what follows
	case Null:
		r.Error(n, "wrong-type", "is empty, "+want+" is wanted", "write a value, or leave the line out")
		return
	case Ambiguous:
		found += ", which YAML readers take differently"
	case Bool, Int, Float:
		found += ", " + n.Kind.String()
	}
	r.Error(n, "wrong-type", fmt.Sprintf("%s is wanted, found %s", want, found), n.rewrite(want))
}

// rewrite says how to write the node as what is wanted.
func (n *Node) rewrite(want string) string {
	switch {
	case n.origin != "":
		return "write the value here"
	case want == "text" && (n.Kind == Ambiguous || n.Kind == Bool || n.Kind == Int || n.Kind == Float):
		return "write quotes: " + strconv.Quote(clip(n.Text))
	case want == "text or a number":
		return "write quotes: " + strconv.Quote(clip(n.Text)) + ", or a plain decimal number"
	case want == "a boolean":
		return "write true or false"
	case want == "a number":
		return "write a plain decimal number, without quotes and leading zeros"
	case want == "a list" && n.Kind == String:
		return "write [" + n.Show() + "]"
	case want == "a list":
		return "write [..., ...]"
	case want == "a map":
		return "write names and values"
	}
	return "write one value"
}
