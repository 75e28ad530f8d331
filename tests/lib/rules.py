"""The rules of the repository that no compiler checks, as tests.

    python3 tests/lib/rules.py

Relies on cargo alone, so it works in a copy without git. Each rule is a function that
yields what is wrong; the last line has the form of cargo's own summaries, so that tests/run adds it up.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Who may depend on whom. Development and build dependencies count too.
GRAPH = {
    "waxseal-keys": set(),
    "waxseal-envelope": {"waxseal-keys"},
    "waxseal-jwks": {"waxseal-keys"},
    "waxseal-receiver": {"waxseal-envelope", "waxseal-jwks", "waxseal-keys"},
    "waxseal-sender": {"waxseal-envelope", "waxseal-jwks", "waxseal-keys"},
}
# May depend on every one of them; nothing may depend on it.
TESTS = "waxseal-tests"

MAX_LINES = 600
SOURCES = {".rs", ".py", ".mjs", ".sh", ".sql"}
NOT_OURS = {".git", ".cache", "target", "node_modules"}


def crates_depend_only_on_what_the_graph_allows():
    for package in metadata()["packages"]:
        name = package["name"]
        if name == TESTS:
            continue
        if name not in GRAPH:
            yield f"{name} is not in the crate graph of tests/lib/rules.py"
            continue
        ours = {d["name"] for d in package["dependencies"] if d.get("path")}
        for other in sorted(ours - GRAPH[name]):
            yield f"{name} depends on {other}"


def every_crate_takes_the_workspace_lints():
    for package in metadata()["packages"]:
        manifest = Path(package["manifest_path"]).read_text(encoding="utf-8")
        if package["name"] != TESTS and not re.search(r"^\[lints\]\s+workspace = true", manifest, re.M):
            yield f"{package['name']} has no `[lints] workspace = true`"


def the_receiver_needs_neither_josekit_nor_openssl():
    for features in ([], ["--no-default-features"], ["--all-features"]):
        command = ["cargo", "tree", "--locked", "-p", "waxseal-receiver", "-e", "normal,build", "--prefix", "none", *features]
        names = {line.split()[0] for line in output(command).splitlines() if line.strip()}
        if "waxseal-envelope" not in names:
            yield f"cargo tree {' '.join(features)} does not list the receiver's dependencies"
        for name in sorted(names & {"josekit", "openssl", "openssl-sys", "openssl-src"}):
            yield f"waxseal-receiver {' '.join(features)} depends on {name}"


def no_file_is_longer_than_the_limit():
    for path in sources():
        with path.open("rb") as file:
            lines = sum(1 for _ in file)
        if lines > MAX_LINES:
            yield f"{path.relative_to(ROOT)} has {lines} lines, {MAX_LINES} are allowed"


def every_rust_file_says_what_it_is_for():
    for path in sources():
        if path.suffix != ".rs" or path.name == "tests.rs":
            continue  # a module of tests belongs to the file that it tests
        if not path.read_text(encoding="utf-8").startswith(("//", "#![doc")):
            yield f"{path.relative_to(ROOT)} does not begin by saying what it is for"


def lock_files_name_no_registry_but_crates_io():
    for name in ("Cargo.lock", "fuzz/Cargo.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for source in sorted(set(re.findall(r'^source = "(.*)"$', text, re.M))):
            if source != "registry+https://github.com/rust-lang/crates.io-index":
                yield f"{name} takes something from {source}"
    lock = ROOT / "tests/interop/node/package-lock.json"
    for name, package in json.loads(lock.read_text(encoding="utf-8"))["packages"].items():
        if "resolved" in package:
            yield f"{lock.name}: {name} records where it was downloaded"
        if name and "integrity" not in package:
            yield f"{lock.name}: {name} has no digest"
    for lock in sorted((ROOT / "tests/interop").glob("*/requirements.txt")):
        text = lock.read_text(encoding="utf-8")
        if re.search(r"^--?\w*(index|find|host)|https?://", text, re.M):
            yield f"{lock.relative_to(ROOT)} names a package index"
        for requirement in re.findall(r"^\w[\w.-]*==.*$", text, re.M):
            if not requirement.endswith("\\"):
                yield f"{lock.relative_to(ROOT)}: {requirement} has no digest"


def every_licence_is_in_deny_toml():
    allowed = set(re.findall(r'"([^"]+)"', section(ROOT / "deny.toml", "licenses", "allow")))
    host = re.search(r"^host: (.*)$", output(["rustc", "-vV"]), re.M)[1]
    everything = metadata("--all-features", "--filter-platform", host)
    used = {node["id"] for node in everything["resolve"]["nodes"]}
    needed = set()
    for package in everything["packages"]:
        if package["id"] not in used:
            continue
        licence = package["license"] or ""
        if not permits(licence, allowed):
            yield f"{package['name']} is under `{licence}`, which deny.toml does not allow"
        needed |= {name for name in allowed if not permits(licence, allowed - {name})}
    for name in sorted(allowed - needed):
        yield f"deny.toml allows {name}, which nothing needs"


def documents_name_files_that_exist():
    for document in [ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = document.read_text(encoding="utf-8")
        for name in sorted(set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:rs|md|py|toml|json|sql))`", text))):
            if not (ROOT / name).exists() and not (document.parent / name).exists():
                yield f"{document.relative_to(ROOT)} names {name}, which does not exist"


def every_attack_on_a_token_has_a_test_named_after_it():
    model = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    table = re.search(r"^## The token$(.*?)^## ", model, re.M | re.S)[1]
    rows = [int(number) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for number in row.split(",")]
    if len(rows) < 30:
        yield "docs/threat-model.md lists no attacks on the token where this rule looks for them"
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "tests/tests").rglob("*.rs")))
    names = re.findall(r"^ *#\[(?:tokio::)?test[^\]]*\]\n(?: *#\[.*\]\n)* *(?:async )?fn (\w+)", tests, re.M)
    tested = {int(number) for name in names for number in re.findall(r"row_(\d+)", name)}
    for row in sorted(set(rows) - tested):
        yield f"row {row} of docs/threat-model.md has no test `row_{row:02}_...`"


def every_error_of_the_api_and_every_metric_is_on_a_page():
    sources = {
        path: path.read_text(encoding="utf-8")
        for crate in ("sender", "receiver")
        for path in sorted((ROOT / crate / "src").rglob("*.rs"))
    }
    pages = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]
    named = set(re.findall(r"`(\w[\w.]*)", "".join(page.read_text(encoding="utf-8") for page in pages)))
    # What is the program's own fault is told apart in the log alone.
    api = "".join(text for path, text in sources.items() if path.is_relative_to(ROOT / "sender/src/api"))
    codes = set(re.findall(r'(?<!Problem::internal\()"(api\.[a-z_]+)"', api))
    metrics = set(re.findall(r'(?:counter|gauge|histogram)!\(\s*"(\w+)"', "".join(sources.values())))
    if len(codes) < 30 or len(metrics) < 20:
        yield "there are hardly any errors or metrics where this rule looks for them"
    for name in sorted((codes | metrics) - named):
        yield f"no page says what {name} is"


def shell_scripts_parse():
    for script in ("tests/run", ".ci/run", "tests/lib/setup.sh"):
        checked = subprocess.run(["bash", "-n", ROOT / script], capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            yield f"{script}: {checked.stderr.strip()}"
    for script in ("tests/run", ".ci/run"):
        if not (ROOT / script).stat().st_mode & 0o100:
            yield f"{script} is not executable"


def permits(expression, allowed):
    """Whether an SPDX expression (or the older `A/B`) can be met with the allowed licences."""
    tokens = re.findall(r"[()]|[\w.+-]+", expression.replace("/", " OR "))

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        if not tokens:
            return False
        token = tokens.pop(0)
        if token == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            del tokens[:2]
            return False  # an exception is a licence of its own: not on our list
        return token in allowed

    return either() and not tokens


def section(path, table, key):
    """The text of one array in one table of a TOML file (tomllib is newer than our oldest Python)."""
    body = re.search(rf"^\[{table}\]$(.*?)(?=^\[|\Z)", path.read_text(encoding="utf-8"), re.M | re.S)[1]
    array = re.search(rf"^{key} = \[(.*?)^\]", body, re.M | re.S)[1]
    return re.sub(r"#.*", "", array)


def metadata(*arguments):
    options = list(arguments) or ["--no-deps"]
    return json.loads(output(["cargo", "metadata", "--locked", "--format-version", "1", *options]))


def output(command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def sources():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - NOT_OURS)
        for name in sorted(files):
            if Path(name).suffix in SOURCES:
                yield Path(folder, name)


def main():
    rules = [
        crates_depend_only_on_what_the_graph_allows,
        every_crate_takes_the_workspace_lints,
        the_receiver_needs_neither_josekit_nor_openssl,
        no_file_is_longer_than_the_limit,
        every_rust_file_says_what_it_is_for,
        lock_files_name_no_registry_but_crates_io,
        every_licence_is_in_deny_toml,
        documents_name_files_that_exist,
        every_attack_on_a_token_has_a_test_named_after_it,
        every_error_of_the_api_and_every_metric_is_on_a_page,
        shell_scripts_parse,
    ]
    failed = 0
    for rule in rules:
        try:
            wrong = list(rule())
        except (OSError, subprocess.CalledProcessError) as error:
            wrong = [str(error)]
        failed += bool(wrong)
        print(f"rule {rule.__name__} ... {'FAILED' if wrong else 'ok'}")
        for line in wrong:
            print(f"    {line}")
    verdict = "FAILED" if failed else "ok"
    print(f"test result: {verdict}. {len(rules) - failed} passed; {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
