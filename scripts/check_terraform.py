#!/usr/bin/env python3
"""Checks infra/ without Terraform and without its provider, which cannot be had everywhere:

- every reference (var, local, module, data, resource, each/count aside) leads to something;
- every variable and local is used, has a type and a description; every output a description;
- every module gets the inputs it needs, and none that it does not know;
- every module's output that is read exists;
- environments/*.tfvars set what has no default, and nothing that is unknown;
- no policy document allows `*` or `service:*`.

Where `terraform` and the provider are there, scripts/lint.sh runs `terraform validate` and
`terraform test` besides.
"""
import pathlib
import re
import sys

import hcl2

ROOT = pathlib.Path(__file__).resolve().parent.parent / "infra"
REFERENCE = re.compile(r"(?<![\w.\"-])(var|local|module|data)\.([a-z0-9_]+)(?:\.([a-z0-9_]+))?(?:\[[^\]]*\])?(?:\.([a-z0-9_]+))?")
RESOURCE = re.compile(r"(?<![\w./-])(aws_[a-z0-9_]+)\.([a-z0-9_]+)")
errors = []


def unquote(name):
    return name.strip('"') if isinstance(name, str) else name


def plain(node):
    """python-hcl2 keeps quotes and markers: away with them."""
    if isinstance(node, dict):
        return {unquote(k): plain(v) for k, v in node.items() if not str(k).startswith("__")}
    if isinstance(node, list):
        return [plain(v) for v in node]
    return unquote(node)


def one(value):
    """An attribute's value: checkov's parser puts each into a list."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def strip_comments(text):
    return re.sub(r"(?m)(^|\s)(#|//)[^\n]*", r"\1", text)


class Module:
    def __init__(self, folder):
        self.folder = folder
        self.text = ""
        self.variables, self.outputs, self.locals = {}, {}, {}
        self.modules, self.resources, self.data = {}, set(), set()
        for path in sorted(folder.glob("*.tf")):
            text = path.read_text()
            try:
                tree = plain(hcl2.loads(text))
            except Exception as e:  # the parser has many errors of its own
                errors.append(f"{path}: does not parse: {e}")
                continue
            self.text += strip_comments(text) + "\n"
            for block in tree.get("variable", []):
                self.variables.update(block)
            for block in tree.get("output", []):
                self.outputs.update(block)
            for block in tree.get("locals", []):
                self.locals.update(block)
            for block in tree.get("module", []):
                self.modules.update(block)
            for kind, found in (("resource", self.resources), ("data", self.data)):
                for block in tree.get(kind, []):
                    for type_, named in block.items():
                        for name in named:
                            if (type_, name) in found:
                                errors.append(f"{path}: {kind} {type_}.{name} is there twice")
                            found.add((type_, name))

    def error(self, message):
        errors.append(f"{self.folder.relative_to(ROOT.parent)}: {message}")

    def check(self, children):
        used = set()
        for kind, first, second, third in REFERENCE.findall(self.text):
            used.add((kind, first))
            if kind == "var" and first not in self.variables:
                self.error(f"var.{first} is not declared")
            if kind == "local" and first not in self.locals:
                self.error(f"local.{first} is not declared")
            if kind == "data" and (first, second) not in self.data:
                self.error(f"data.{first}.{second} is not declared")
            if kind == "module":
                if first not in self.modules:
                    self.error(f"module.{first} is not declared")
                elif (output := second or third) and output not in children[first].outputs:
                    self.error(f"module.{first} has no output {output}")
        without_data = re.sub(r"data\.aws_[a-z0-9_]+\.[a-z0-9_]+", "", self.text)
        for type_, name in RESOURCE.findall(without_data):
            if (type_, name) not in self.resources:
                self.error(f"{type_}.{name} is not declared")
        for name, variable in self.variables.items():
            if ("var", name) not in used:
                self.error(f"variable {name} is not used")
            for wanted in ("description", "type"):
                if not variable.get(wanted):
                    self.error(f"variable {name} has no {wanted}")
        for name in self.locals:
            if ("local", name) not in used:
                self.error(f"local {name} is not used")
        for name, output in self.outputs.items():
            if not output.get("description"):
                self.error(f"output {name} has no description")
        for name, call in self.modules.items():
            child = children[name]
            given = set(call) - {"source", "count", "for_each", "depends_on", "providers"}
            for extra in given - set(child.variables):
                self.error(f"module {name} knows no {extra}")
            for key, variable in child.variables.items():
                if "default" not in variable and key not in given:
                    self.error(f"module {name} is not given {key}")
            for output in child.outputs:
                if not re.search(rf"module\.{name}(\[[^\]]*\])?\.{output}\b", self.text + tests):
                    self.error(f"output {output} of module {name} is not used")


def check_policies(module):
    for body in re.findall(r"statement\s*\{(.*?)\n  \}", module.text, re.S):
        if re.search(r'effect\s*=\s*"Deny"', body):
            continue
        for action in re.findall(r"actions\s*=\s*\[(.*?)\]", body, re.S):
            for name in re.findall(r'"([^"]+)"', action):
                if name == "*" or "*" in name:
                    module.error(f"a policy allows {name}: name the actions")


# What only a test reads is used, too.
tests = "".join(path.read_text() for path in sorted((ROOT / "tests").glob("*.tftest.hcl")))
root = Module(ROOT)
children = {}
for name, call in root.modules.items():
    source = ROOT / one(call["source"])
    if not source.is_dir():
        errors.append(f"module {name}: no folder {call['source']}")
        continue
    children[name] = Module(source)
if not errors:
    root.check(children)
    for child in children.values():
        child.check({})
    for module in [root, *children.values()]:
        check_policies(module)
    called = {(ROOT / one(c["source"])).resolve() for c in root.modules.values()}
    for folder in (ROOT / "modules").iterdir():
        if folder.resolve() not in called:
            errors.append(f"{folder.name}: no module uses it")
    for path in sorted((ROOT / "environments").glob("*.tfvars")):
        values = plain(hcl2.loads(path.read_text()))
        for extra in set(values) - set(root.variables):
            errors.append(f"{path.name}: no variable {extra}")
        for name, variable in root.variables.items():
            if "default" not in variable and name not in values:
                errors.append(f"{path.name}: {name} is not set")
        expected = path.stem.split("-")[0]
        if one(values.get("environment")) != expected:
            errors.append(f"{path.name}: environment is {values.get('environment')!r}, not {expected!r}")

for error in dict.fromkeys(errors):
    print(f"check_terraform: {error}", file=sys.stderr)
if not errors:
    print(f"infra/: {len(children) + 1} modules, "
          f"{sum(len(m.resources) for m in [root, *children.values()])} resources: all references lead somewhere")
sys.exit(bool(errors))
