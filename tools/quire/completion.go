package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return "Examples:\n\n    source <(quire completion bash)\n    quire completion zsh > ~/.zfunc/_quire\n    quire completion fish > ~/.config/fish/completions/quire.fish"
}

// offered is a command with its flags, as completion knows them.
type offered struct {
	name, help string
	flags      []*kong.Flag
}

// Run prints the script.
func (c *completionCmd) Run(e *environment) error {
	global, cmds := offers(e.parser.Model)
	return e.printf("%s", map[string]func([]*kong.Flag, []offered) string{"bash": bash, "zsh": zsh, "fish": fish}[c.Shell](global, cmds))
}

// offers lists what the parser knows, but for hidden things.
func offers(app *kong.Application) (global []*kong.Flag, cmds []offered) {
	visible := func(flags []*kong.Flag) []*kong.Flag {
		var out []*kong.Flag
		for _, f := range flags {
			if !f.Hidden {
				out = append(out, f)
			}
		}
		return out
	}
	for _, n := range app.Children {
		if !n.Hidden {
			cmds = append(cmds, offered{n.Name, n.Help, visible(n.Flags)})
		}
	}
	sort.Slice(cmds, func(i, j int) bool { return cmds[i].name < cmds[j].name })
	return visible(app.Flags), cmds
}

func names(flags []*kong.Flag) string {
	var out []string
	for _, f := range flags {
		out = append(out, "--"+f.Name)
		if f.Short != 0 {
			out = append(out, "-"+string(f.Short))
		}
	}
	return strings.Join(out, " ")
}

func bash(global []*kong.Flag, cmds []offered) string {
	var b strings.Builder
	var list []string
	b.WriteString("# bash completion of quire\n_quire() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} cmd=${COMP_WORDS[1]} words=\n\tcase $cmd in\n")
	for _, c := range cmds {
		list = append(list, c.name)
		fmt.Fprintf(&b, "\t%s) words='%s' ;;\n", c.name, names(c.flags))
	}
	fmt.Fprintf(&b, "\tesac\n\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\tCOMPREPLY=($(compgen -W '%s' -- \"$cur\"))\n", strings.Join(list, " "))
	fmt.Fprintf(&b, "\telif [[ $cur == -* ]]; then\n\t\tCOMPREPLY=($(compgen -W \"$words %s\" -- \"$cur\"))\n", names(global))
	b.WriteString("\telse\n\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n\tfi\n}\ncomplete -o filenames -F _quire quire\n")
	return b.String()
}

// quoted is a text inside single quotes of a shell.
func quoted(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

func zsh(global []*kong.Flag, cmds []offered) string {
	var b strings.Builder
	b.WriteString("#compdef quire\n_quire() {\n\tlocal -a cmds\n\tcmds=(\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, "\t\t'%s:%s'\n", c.name, quoted(c.help))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command cmds\n\t\treturn\n\tfi\n\tcase $words[2] in\n")
	for _, c := range cmds {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments \\\n", c.name)
		for _, f := range append(append([]*kong.Flag{}, c.flags...), global...) {
			text := strings.NewReplacer("[", "(", "]", ")", ":", " ").Replace(f.Help)
			value := ":value:_files"
			if f.IsBool() {
				value = ""
			}
			fmt.Fprintf(&b, "\t\t\t'--%s[%s]%s' \\\n", f.Name, quoted(text), value)
		}
		b.WriteString("\t\t\t'*:file:_files' ;;\n")
	}
	b.WriteString("\tesac\n}\n_quire \"$@\"\n")
	return b.String()
}

func fish(global []*kong.Flag, cmds []offered) string {
	var b strings.Builder
	b.WriteString("# fish completion of quire\n")
	line := func(when string, f *kong.Flag) {
		fmt.Fprintf(&b, "complete -c quire%s -l %s -d '%s'", when, f.Name, quoted(f.Help))
		if f.Short != 0 {
			fmt.Fprintf(&b, " -s %c", f.Short)
		}
		if !f.IsBool() {
			b.WriteString(" -r")
		}
		b.WriteString("\n")
	}
	for _, c := range cmds {
		fmt.Fprintf(&b, "complete -c quire -n __fish_use_subcommand -f -a %s -d '%s'\n", c.name, quoted(c.help))
		for _, f := range c.flags {
			line(" -n '__fish_seen_subcommand_from "+c.name+"'", f)
		}
	}
	for _, f := range global {
		line("", f)
	}
	return b.String()
}
