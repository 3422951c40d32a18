package apitest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"encoding/json"
)

// shapes are the schemas of the types that answers are made of.
type shapes struct {
	t     *testing.T
	all   object
	order []reflect.Type
	texts map[string]map[string]string // comments of fields by type, of packages that were read
	read  map[string]bool
}

func newShapes(t *testing.T) *shapes {
	return &shapes{t: t, all: object{}, texts: map[string]map[string]string{}, read: map[string]bool{}}
}

var marshaler = reflect.TypeFor[json.Marshaler]()

// of returns the schema of a type; structs go into all, and are referred to.
func (s *shapes) of(typ reflect.Type) object {
	switch typ.Kind() {
	case reflect.Pointer:
		return s.of(typ.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Slice, reflect.Array:
		if typ.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string"}
		}
		return object{"type": []string{"array", "null"}, "items": s.of(typ.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(typ.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		return s.ofStruct(typ)
	}
	return object{"type": number(typ.Kind())}
}

func (s *shapes) ofStruct(typ reflect.Type) object {
	if typ.Implements(marshaler) {
		return object{}
	}
	ref := object{"$ref": "#/components/schemas/" + typ.Name()}
	if _, known := s.all[typ.Name()]; known {
		return ref
	}
	properties, required := object{}, []string{}
	s.all[typ.Name()] = object{} // known from now on, so that a type may hold itself
	s.order = append(s.order, typ)
	s.fields(typ, func(name, does string, optional bool, of reflect.Type) {
		if _, hidden := properties[name]; hidden {
			return // as JSON has it: the field of a struct hides that of one embedded below it
		}
		schema := s.of(of)
		if does != "" {
			schema["description"] = does
		}
		properties[name] = schema
		if !optional {
			required = append(required, name)
		}
	})
	s.all[typ.Name()] = object{"type": "object", "properties": properties, "required": required}
	return ref
}

// fields calls f with each field as JSON has it, those of embedded structs among them.
func (s *shapes) fields(typ reflect.Type, f func(name, does string, optional bool, of reflect.Type)) {
	texts := s.comments(typ)
	for i := range typ.NumField() {
		field := typ.Field(i)
		tag, tagged := field.Tag.Lookup("json")
		name, optional := quoted(tag)
		switch {
		case field.Anonymous && !tagged:
			embedded := field.Type
			if embedded.Kind() == reflect.Pointer {
				embedded = embedded.Elem()
			}
			s.fields(embedded, f)
		case name == "-" || !field.IsExported():
		default:
			if name == "" {
				name = field.Name
			}
			f(name, texts[field.Name], optional, field.Type)
		}
	}
}

// comments returns what stands beside a type's fields in the code.
func (s *shapes) comments(typ reflect.Type) map[string]string {
	key := typ.PkgPath() + "." + typ.Name()
	if !s.read[typ.PkgPath()] {
		s.read[typ.PkgPath()] = true
		folder := filepath.Join(projectRoot(s.t), filepath.FromSlash(strings.TrimPrefix(typ.PkgPath(), "brokerd/")))
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			s.t.Fatal(err)
		}
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
			if err != nil {
				s.t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				structure, ok := spec.Type.(*ast.StructType)
				if !ok {
					return true
				}
				texts := map[string]string{}
				for _, field := range structure.Fields.List {
					for _, name := range field.Names {
						texts[name.Name] = strings.Join(strings.Fields(field.Comment.Text()), " ")
					}
				}
				s.texts[typ.PkgPath()+"."+spec.Name.Name] = texts
				return true
			})
		}
	}
	return s.texts[key]
}

// projectRoot returns the folder that the module is in, from a package's folder somewhere below it.
func projectRoot(t *testing.T) string {
	t.Helper()
	for dir := "."; len(dir) < 60; dir = filepath.Join("..", dir) {
		if found, err := filepath.Glob(filepath.Join(dir, "go.mod")); err == nil && len(found) == 1 {
			return dir
		}
	}
	t.Fatal("there is no go.mod above the test")
	return ""
}

// linked names a type for the page.
func (s *shapes) linked(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.Pointer:
		return s.linked(typ.Elem())
	case reflect.Slice:
		if typ.Elem().Kind() != reflect.Uint8 {
			return "a list of " + s.linked(typ.Elem())
		}
	case reflect.Map:
		return "an object of " + s.linked(typ.Elem())
	case reflect.Struct:
		if !typ.Implements(marshaler) {
			s.of(typ)
			return fmt.Sprintf("[%s](#shape-%s)", typ.Name(), strings.ToLower(typ.Name()))
		}
		return "a value"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Interface:
		return "any value"
	}
	return "a number"
}

// page lists the shapes.
func (s *shapes) page() string {
	var b strings.Builder
	for i := 0; i < len(s.order); i++ {
		typ := s.order[i]
		fmt.Fprintf(&b, "\n## Shape %s\n\n| field | is | |\n|---|---|---|\n", typ.Name())
		s.fields(typ, func(name, does string, optional bool, of reflect.Type) {
			is := s.linked(of)
			if optional {
				is += ", or absent"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, is, strings.NewReplacer("|", `\|`, "<", `\<`).Replace(does))
		})
	}
	return b.String()
}
