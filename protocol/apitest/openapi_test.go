package apitest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

const metaSchema = "testdata/openapi-3.1.schema.json"

// readJSON reads a file as the library wants it.
func readJSON(t *testing.T, path string) any {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return doc
}

// judge returns a validator of OpenAPI documents.
func judge(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", readJSON(t, metaSchema)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestOpenAPIFilesAreOpenAPI: by the OpenAPI Initiative's own schema; and each schema in them is one of JSON Schema, whose references lead
// somewhere.
func TestOpenAPIFilesAreOpenAPI(t *testing.T) {
	schema := judge(t)
	files, err := filepath.Glob("../../docs/openapi/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q %v", files, err)
	}
	for _, path := range files {
		doc := readJSON(t, path)
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource("doc.json", doc); err != nil {
			t.Fatal(err)
		}
		components, _ := doc.(map[string]any)["components"].(map[string]any)
		schemas, _ := components["schemas"].(map[string]any)
		if len(schemas) == 0 {
			t.Errorf("%s has no schemas", path)
		}
		for _, name := range slices.Sorted(maps.Keys(schemas)) {
			if _, err := c.Compile("doc.json#/components/schemas/" + name); err != nil {
				t.Errorf("%s: %s: %v", path, name, err)
			}
		}
		if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), `"operationId"`) < 10 {
			t.Errorf("%s has hardly an operation: %v", path, err)
		}
	}
}

// TestFaultsAreSeen: the schema refuses what is wrong, so that the test above says something.
func TestFaultsAreSeen(t *testing.T) {
	schema := judge(t)
	for name, spoil := range map[string]func(map[string]any){
		"no title":               func(d map[string]any) { delete(d["info"].(map[string]any), "title") },
		"a version that is none": func(d map[string]any) { d["openapi"] = "3" },
		"a path without a slash": func(d map[string]any) { d["paths"].(map[string]any)["x"] = map[string]any{} },
		"a parameter from nowhere": func(d map[string]any) {
			d["paths"].(map[string]any)["/ping"].(map[string]any)["get"].(map[string]any)["parameters"] = []any{map[string]any{"name": "x", "in": "nowhere"}}
		},
		"answers by words": func(d map[string]any) {
			d["paths"].(map[string]any)["/ping"].(map[string]any)["get"].(map[string]any)["responses"] = map[string]any{"fine": map[string]any{}}
		},
	} {
		doc := readJSON(t, "../../docs/openapi/brokerd.json").(map[string]any)
		spoil(doc)
		if schema.Validate(doc) == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
