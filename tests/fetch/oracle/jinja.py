"""jinja.py: renders chat templates with Python's jinja2 (3.1.6), set up as transformers does.

Standard input: JSON, a list of {"template", "bos_token", "eos_token", "input"}. Standard output: a list of the
rendered texts, false where the template refused (raise_exception), null where it failed.
"""

import datetime
import json
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks what an assistant wrote; it prints its body."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    @staticmethod
    def _body(caller):
        return caller()


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def strftime_now(form):
    return datetime.datetime(2026, 1, 2, 3, 4, 5).strftime(form)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


env = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
env.filters["tojson"] = tojson
env.globals["raise_exception"] = raise_exception
env.globals["strftime_now"] = strftime_now


def render(job):
    given = dict(job["input"])
    given.update(given.pop("vars", {}))
    given.setdefault("tools", None)
    given.setdefault("documents", None)
    try:
        return env.from_string(job["template"]).render(bos_token=job["bos_token"], eos_token=job["eos_token"], **given)
    except Refused:
        return False
    except Exception:
        return None


json.dump([render(job) for job in json.load(sys.stdin)], sys.stdout)
