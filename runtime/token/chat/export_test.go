package chat

// CompileListed compiles a template as if it were on the built-in list.
func CompileListed(text string, o Options) (*Template, error) {
	return compile("listed", text, o, true)
}

// ListedNames maps the hashes of the built-in list to names.
func ListedNames() map[string]string { return known }
