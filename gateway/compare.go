package gateway

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"cambio/trust/diff"
)

// Settings are the settings of identity providers and targets that differ between
// two configurations and that no trust document shows: who signs, with which keys,
// and where a credential works.
func Settings(before, after Config) []diff.Setting {
	var out []diff.Setting
	for _, name := range slices.Sorted(maps.Keys(before.IdentityProviders)) {
		old := before.IdentityProviders[name]
		now, ok := after.IdentityProviders[name]
		if !ok {
			continue
		}
		// A file is what it holds: two configurations lie in two folders.
		if bytes.Equal(old.jwks, now.jwks) {
			old.JWKSFile = now.JWKSFile
		}
		if bytes.Equal(old.ca, now.ca) {
			old.CAFile = now.CAFile
		}
		if bytes.Equal(old.bundle, now.bundle) {
			old.BundleFile = now.BundleFile
		}
		if bytes.Equal(old.clientCA, now.clientCA) {
			old.ClientCAFile = now.ClientCAFile
		}
		old.TokenUse = now.TokenUse // said for each trust
		out = append(out, differing(diff.KindProvider, name, old, now)...)
	}
	for _, name := range slices.Sorted(maps.Keys(before.Targets)) {
		old := before.Targets[name]
		now, ok := after.Targets[name]
		if !ok {
			continue
		}
		old.MaxTTL = now.MaxTTL // said for each trust
		out = append(out, differing(diff.KindTarget, name, old, now)...)
	}
	return out
}

// differing compares the documented fields of two values of one type.
func differing(kind diff.Kind, name string, before, after any) []diff.Setting {
	var out []diff.Setting
	old, now := reflect.ValueOf(before), reflect.ValueOf(after)
	for i := range old.NumField() {
		field, _, _ := strings.Cut(old.Type().Field(i).Tag.Get("yaml"), ",")
		if field == "" {
			continue
		}
		a, b := old.Field(i).Interface(), now.Field(i).Interface()
		if reflect.DeepEqual(a, b) {
			continue
		}
		out = append(out, diff.Setting{Kind: kind, Name: name, Field: field, Before: settingText(old.Field(i)), After: settingText(now.Field(i))})
	}
	return out
}

func settingText(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return fmt.Sprint(v.Interface())
}
