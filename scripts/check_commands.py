#!/usr/bin/env python3
"""Checks the AWS commands of the runbooks, of the pages on deployment and of the scripts against
AWS's own models of its services: service, operation and options exist, none that is required is
missing, choices are among the allowed ones, and what `--query` asks for is in the answer. Run it
with a Python that has botocore (.tools/lint)."""
import pathlib
import re
import sys

import botocore.session
import jmespath
from botocore import xform_name

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "ops/runbooks").glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
SCRIPTS = sorted((ROOT / "scripts").glob("*.sh"))
# Options of the command line itself.
GLOBAL = {"query", "output", "region", "profile", "no-cli-pager", "no-paginate", "max-items", "cli-input-json",
          "cli-binary-format"}
# Services that the command line calls otherwise than the models do.
RENAMED = {"deploy": "codedeploy"}
# Commands that are the command line's own: (positional words, options), and flags among these.
CUSTOM = {
    ("logs", "tail"): (1, {"since", "follow", "format", "filter-pattern", "log-stream-names"}),
    ("s3", "presign"): (1, {"expires-in"}),
    ("s3", "rm"): (1, {"recursive", "quiet", "only-show-errors"}),
    ("s3", "ls"): (1, {"recursive", "human-readable", "summarize"}),
    ("s3", "cp"): (2, {"recursive", "sse", "quiet", "expected-size", "only-show-errors"}),
}
FLAGS = {"only-show-errors", "recursive", "human-readable", "summarize", "quiet", "follow"}
# Operations whose answer goes to a file named last.
OUTFILE = {("lambda", "invoke"), ("s3api", "get-object")}
errors = []
session = botocore.session.get_session()
services = set(session.get_available_services())


def words(text, at):
    """The words of the command that starts at `at`, as a shell takes them; up to its end."""
    found, word, quote, depth, started = [], "", None, 0, False
    while at < len(text):
        c = text[at]
        if quote:
            if c == quote:
                quote = None
            elif c == "\\" and quote == '"' and text[at + 1] in '"$\\`':
                at += 1
                word += text[at]
            else:
                if quote == '"' and text.startswith("$(", at):
                    # What another command says: any word.
                    end, level = at + 2, 1
                    while level:
                        level += {"(": 1, ")": -1}.get(text[end], 0)
                        end += 1
                    word += "$X"
                    at = end
                    continue
                word += c
        elif c == "\\" and text[at + 1] == "\n":
            at += 1
        elif c in "'\"":
            quote, started = c, True
        elif c in " \t\n" and depth == 0:
            if word or started:
                found.append(word)
            word, started = "", False
            if c == "\n":
                break
        elif text.startswith("$(", at):
            depth += 1
            word += c
        elif c == ")" and depth:
            depth -= 1
            word += c
        elif depth == 0 and (c in ")|;`" or text.startswith("&&", at) or c == ">" or (c == "#" and not word)):
            break
        else:
            word += c
        at += 1
    else:
        return found + [word] if word or started else found
    return found + [word] if (word or started) and text[at] != "\n" else found


def commands(path):
    """(line, words) of each `aws` command in the page's examples and inline code, or in the script."""
    text = path.read_text()
    if path.suffix == ".md":
        # Prose between the examples is not read, and keeps its line breaks for the line numbers.
        kept, inside = [], False
        for line in text.split("\n"):
            if line.startswith("```"):
                inside = not inside
                kept.append("")
            elif inside:
                kept.append(line)
            else:
                kept.append(line if "`" in line or line.startswith("   ") else "")
        text = "\n".join(kept)
        # Inline code may be broken over lines.
        text = re.sub(r"`(aws [^`]*)`", lambda m: "`" + m[1].replace("\n", " ") + "`" + "\n" * m[1].count("\n"), text)
    for match in re.finditer(r"(?<![\w/.-])aws (?=[a-z0-9-]+ [a-z])", text):
        if re.match(r"`aws [\w-]+ [\w-]+`", text[max(match.start() - 1, 0) :]):
            # Prose that names an operation.
            continue
        yield text.count("\n", 0, match.start()) + 1, words(text, match.start())[1:]


def known(shape, name):
    """The member of an operation's input that an option sets."""
    for member in shape.members if shape else []:
        option = xform_name(member, "-")
        if name in (option, f"no-{option}"):
            return member
    return None


def check(where, parts):
    service, operation, rest = parts[0], parts[1], parts[2:]
    say = lambda what: errors.append(f"{where}: aws {service} {operation}: {what}")
    positional, options, at = [], {}, 0
    while at < len(rest):
        word = rest[at]
        if word.startswith("--"):
            values = []
            flag = (service, operation) in CUSTOM and word[2:] in FLAGS
            while not flag and at + 1 < len(rest) and not rest[at + 1].startswith("--"):
                at += 1
                values.append(rest[at])
            options[word[2:]] = values
        else:
            positional.append(word)
        at += 1
    if (service, operation) in CUSTOM:
        expected, allowed = CUSTOM[service, operation]
        for name in set(options) - allowed - GLOBAL:
            say(f"has no option --{name}")
        if len(positional) != expected:
            say(f"takes {expected} words, not {positional}")
        return
    model_name = RENAMED.get(service, service)
    if service == "s3api":
        model_name = "s3"
    if model_name not in services:
        say("there is no such service")
        return
    model = session.get_service_model(model_name)
    if operation == "wait":
        waiters = session.get_waiter_model(model_name)
        names = {xform_name(name, "-"): name for name in waiters.waiter_names}
        if not positional or positional[0] not in names:
            say(f"there is nothing to wait for that is called {positional}")
            return
        operation_name = waiters.get_waiter(names[positional.pop(0)]).operation
    else:
        names = {xform_name(name, "-"): name for name in model.operation_names}
        if operation not in names:
            say("there is no such operation")
            return
        operation_name = names[operation]
    shape = model.operation_model(operation_name).input_shape
    given = set()
    for name, values in options.items():
        if name in GLOBAL:
            continue
        member = known(shape, name)
        if member is None:
            say(f"has no option --{name}")
            continue
        given.add(member)
        of = shape.members[member]
        choices = getattr(of, "enum", []) or (of.type_name == "list" and getattr(of.member, "enum", []))
        for value in values:
            if choices and not re.search(r"[$<…]", value) and value not in choices:
                say(f"--{name} {value} is none of {', '.join(choices)}")
        if of.type_name != "boolean" and not values and "…" not in rest:
            say(f"--{name} has no value")
    for member in shape.required_members if shape else []:
        # A value is given after the option of a list of flags, too; "…" stands for what is left out.
        if member not in given and "…" not in rest:
            say(f"--{xform_name(member, '-')} is missing")
    if (service, operation) in OUTFILE:
        positional = positional[1:] if positional else positional
        if not positional and not any(v for v in options.values() if len(v) > 1) and not rest[-1].startswith("/"):
            say("needs a file for the answer")
    elif [word for word in positional if word != "…"]:
        say(f"takes no word {positional[0]}")
    if "query" in options and options["query"]:
        ask(say, model.operation_model(operation_name).output_shape, " ".join(options["query"]))


def ask(say, shape, query):
    """Is what is asked for in the answer? Its first name, and the names of one list's items."""
    try:
        jmespath.compile(query)
    except jmespath.exceptions.JMESPathError as e:
        say(f"--query {query}: {e}")
        return
    first = re.match(r"\[?([A-Za-z]\w*)", query)
    if first and first[1] not in (shape.members if shape else {}):
        say(f"--query {query}: the answer has no {first[1]}")
        return
    items = re.match(r"([A-Z]\w*)\[[^\]]*\]\.\[([\w,. ]+)\]$", query)
    if items and shape.members[items[1]].type_name == "list":
        members = shape.members[items[1]].member.members
        for name in items[2].split(","):
            if name.strip().split(".")[0] not in members:
                say(f"--query {query}: {items[1]} have no {name.strip()}")


count = 0
for path in [*PAGES, *SCRIPTS]:
    for line, parts in commands(path):
        if len(parts) > 1:
            count += 1
            check(f"{path.relative_to(ROOT)}:{line}", parts)
for error in dict.fromkeys(errors):
    print(f"check_commands: {error}", file=sys.stderr)
if not errors:
    print(f"{count} commands of the AWS CLI: as its services take them")
sys.exit(bool(errors))
