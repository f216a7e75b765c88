package oidc_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cambio/providers/oidc"
)

func TestParseObject(t *testing.T) {
	got, err := oidc.ParseObject([]byte(` {"a":[1,-0,2.5,1e2,9223372036854775808,true,false,null,"x\u00e9\ud83d\ude00\n",{}],"b":{"a":[]},"":1} `))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": []any{int64(1), int64(0), 2.5, 100.0, 9223372036854775808.0, true, false, nil, "xé😀\n", map[string]any{}},
		"b": map[string]any{"a": []any{}},
		"":  int64(1),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseObjectKeepsCase(t *testing.T) {
	got, err := oidc.ParseObject([]byte(`{"sub":"good","SUB":"evil"}`))
	if err != nil || got["sub"] != "good" || got["SUB"] != "evil" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestParseObjectRefuses(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }
	members := func(n int) string {
		var b strings.Builder
		b.WriteString(`{"m":0`)
		for i := 1; i < n; i++ {
			b.WriteString(`,"m` + strings.Repeat("x", i) + `":0`)
		}
		return b.String() + "}"
	}
	for _, good := range []string{deep(16), members(80), `{"s":"` + strings.Repeat("a", 4096) + `"}`} {
		if _, err := oidc.ParseObject([]byte(good)); err != nil {
			t.Errorf("at the limit: %v", err)
		}
	}
	for name, text := range map[string]string{
		"empty":               ``,
		"array":               `[]`,
		"text":                `"a"`,
		"null":                `null`,
		"open":                `{`,
		"open member":         `{"a"`,
		"no value":            `{"a":}`,
		"no colon":            `{"a" 1}`,
		"trailing comma":      `{"a":1,}`,
		"leading comma":       `{,"a":1}`,
		"two commas":          `{"a":1,,"b":2}`,
		"array comma":         `{"a":[1,]}`,
		"open array":          `{"a":[1`,
		"trailing data":       `{"a":1}x`,
		"second object":       `{"a":1}{"a":2}`,
		"trailing NUL":        "{}\x00",
		"BOM":                 "\xef\xbb\xbf{}",
		"comment":             `{"a":1/**/}`,
		"single quotes":       `{'a':1}`,
		"bare name":           `{a:1}`,
		"word":                `{"a":True}`,
		"short word":          `{"a":tru}`,
		"NaN":                 `{"a":NaN}`,
		"infinity":            `{"a":1e999}`,
		"leading zero":        `{"a":01}`,
		"plus":                `{"a":+1}`,
		"minus":               `{"a":-}`,
		"dot":                 `{"a":1.}`,
		"leading dot":         `{"a":.5}`,
		"exponent":            `{"a":1e}`,
		"hex":                 `{"a":0x1}`,
		"bad UTF-8":           "{\"a\":\"\xff\"}",
		"overlong UTF-8":      "{\"a\":\"\xc0\x80\"}",
		"surrogate bytes":     "{\"a\":\"\xed\xa0\x80\"}",
		"lone surrogate":      `{"a":"\ud800"}`,
		"lone low surrogate":  `{"a":"\udc00"}`,
		"two high surrogates": `{"a":"\ud800\ud800"}`,
		"unknown escape":      `{"a":"\x41"}`,
		"short escape":        `{"a":"\u00"}`,
		"raw newline":         "{\"a\":\"\n\"}",
		"raw after escape":    "{\"a\":\"\\n\n\"}",
		"open string":         `{"a":"b`,
		"open escape":         `{"a":"b\`,
		"deep":                deep(17),
		"very deep":           deep(5000),
		"many members":        `{"a":[` + strings.Repeat(`{"b":1},`, 256) + `0]}`,
		"many elements":       `{"a":[` + strings.Repeat(`0,`, 1024) + `0]}`,
		"long string":         `{"s":"` + strings.Repeat("a", 4097) + `"}`,
		"long escaped string": `{"s":"` + strings.Repeat(`\n`, 4097) + `"}`,
		"long name":           `{"` + strings.Repeat("a", 4097) + `":1}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := oidc.ParseObject([]byte(text))
			if err == nil || errors.Is(err, oidc.ErrDuplicate) || got != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for name, text := range map[string]string{
		"top":     `{"a":1,"a":1}`,
		"nested":  `{"x":[{"a":1,"b":2,"a":3}]}`,
		"escaped": `{"a":1,"\u0061":2}`,
	} {
		t.Run("duplicate "+name, func(t *testing.T) {
			if _, err := oidc.ParseObject([]byte(text)); !errors.Is(err, oidc.ErrDuplicate) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzJSON: what we accept, encoding/json accepts with the same meaning, and
// writing it and reading it again changes nothing. An error means no value.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":[1,2.5,-0,1e3,"x\ud83d\ude00",{"b":null}],"c":true}`, `{"a":1,"a":2}`, `{"a":9223372036854775808}`,
		`{"a":"\u0000"}`, `{"a":1e999}`, `[1]`, `{"a":01}`, "{\"a\":\"\xff\"}", `{"sub":"a","SUB":"b"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := oidc.ParseObject(b)
		if err != nil {
			if got != nil {
				t.Fatal("an error and a value")
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		var std map[string]any
		if err := d.Decode(&std); err != nil {
			t.Fatalf("encoding/json refuses it: %v", err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			t.Fatal("encoding/json sees more")
		}
		if diff := cmp.Diff(plain(std), got); diff != "" {
			t.Fatalf("encoding/json reads it differently: %s", diff)
		}
		out, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := oidc.ParseObject(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		// A float that is written without a fraction comes back as an integer.
		if diff := cmp.Diff(floats(got), floats(again)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// plain turns json.Number into our numbers.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil && !strings.ContainsAny(v.String(), ".eE") {
			return n
		}
		f, err := v.Float64()
		if err != nil {
			return err
		}
		return f
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = plain(v[k])
		}
		return out
	}
	return v
}

func floats(v any) any {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = floats(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			out[k] = floats(v[k])
		}
		return out
	}
	return v
}
