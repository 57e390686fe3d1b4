package forgetest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// JSON is an object of an API.
type JSON = map[string]any

// Stamp is a time as APIs write it; null for the zero time.
func Stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// Reply answers with JSON and an ETag, or that nothing changed.
func Reply(w http.ResponseWriter, r *http.Request, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.Method == http.MethodGet && code == http.StatusOK {
		sum := sha256.Sum256(b)
		tag := `W/"` + hex.EncodeToString(sum[:16]) + `"`
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.WriteHeader(code)
	_, _ = w.Write(b)
}

// Deny answers with an error.
func Deny(w http.ResponseWriter, r *http.Request, code int, message string) {
	Reply(w, r, code, JSON{"message": message})
}

// Page is the page of a list that a request asks for, of 30 and at most 100
// items unless it asks otherwise; links to the others stand in Link, and as
// GitLab's headers.
func Page[T any](w http.ResponseWriter, r *http.Request, all []T) []T {
	q := r.URL.Query()
	size, page := number(q, "per_page", 30), number(q, "page", 1)
	size = min(size, 100)
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	w.Header().Set("X-Page", strconv.Itoa(page))
	w.Header().Set("X-Per-Page", strconv.Itoa(size))
	w.Header().Set("X-Total", strconv.Itoa(len(all)))
	w.Header().Set("X-Next-Page", "")
	if to < len(all) {
		w.Header().Set("X-Next-Page", strconv.Itoa(page+1))
		q.Set("page", strconv.Itoa(page+1))
		at := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}
		w.Header().Set("Link", fmt.Sprintf("<%s>; rel=%q", at.String(), "next"))
	}
	return append([]T{}, all[from:to]...) // never null
}

func number(q url.Values, name string, otherwise int) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < 1 {
		return otherwise
	}
	return n
}

// Bearer is the token of a request.
func Bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

// Read decodes what a request holds.
func Read(r *http.Request) (JSON, error) {
	var v JSON
	err := json.NewDecoder(r.Body).Decode(&v)
	return v, err
}

// Text is a text field of an object, or empty.
func Text(v JSON, field string) string {
	s, _ := v[field].(string)
	return s
}
