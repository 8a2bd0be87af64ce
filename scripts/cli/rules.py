"""Rule files before they go live: check them, and see what they would match.

To put a file in force on a running job: scripts/control apply FILE.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operators.compose import compose_cascade
from schemas.errors import SluiceError
from schemas.rules import KeywordRule
from schemas.settings import ROOT, load_settings, unhurried
from schemas.yaml_source import YamlSource
from scripts.cli.rules_trial import Example, RuleReport, Trial, TrialReport
from udfs.banks import hash_text
from udfs.policy import Policy
from udfs.rules import RuleSet
from udfs.rules_keywords import term_text

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

FileArgument = Annotated[Path, typer.Argument(help="A rule file (YAML), as conf/rules.yaml.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ProfileOption = Annotated[str, typer.Option(help="Profile that names policy, rules and models.")]

_BEFORE: Final = 48
"""Characters shown before the first match of a long text."""
_SHOWN: Final = 160
"""Characters of a text that are shown."""


@app.command()
def check(
    file: FileArgument, *, as_json: JsonOption = False, profile: ProfileOption = "dev"
) -> None:
    """Validate a rule file. A mistake is named with file, line and field; exit status 1."""
    settings = load_settings(profile)
    source = YamlSource.read(file)
    rules = RuleSet.load(file)
    warnings = _warnings(rules, source, Policy.load(ROOT / settings.cascade.policy))
    keywords = [rule for rule in rules.document.rules if isinstance(rule, KeywordRule)]
    summary = {
        "file": str(file),
        "version": rules.version,
        "hash": rules.hash,
        "rules": len(rules.document.rules),
        "keyword_rules": len(keywords),
        "terms": sum(len(rule.terms) for rule in keywords),
        "warnings": warnings,
    }
    if as_json:
        print(json.dumps(summary))
        return
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    patterns = len(rules.document.rules) - len(keywords)
    print(
        f"{file}: right. Version {rules.version}, hash {rules.hash}: {len(keywords)} keyword rules"
        f" with {summary['terms']} terms, {patterns} pattern rules"
    )


@app.command()
def test(
    file: FileArgument,
    *,
    against: Annotated[str, typer.Option(help="JSONL uploads, or - for standard input.")],
    in_force: Annotated[
        Path | None, typer.Option(help="Rules to compare with. [default: those of the profile]")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Examples for each rule.")] = 3,
    at: Annotated[str, typer.Option(help="Moment for dated rules, RFC 3339. [default: now]")] = "",
    as_json: JsonOption = False,
    profile: ProfileOption = "dev",
) -> None:
    """Show what a rule file would match, and what would be done otherwise than now."""
    settings = load_settings(profile)
    redis = settings.redis.model_copy(update={"enabled": False})
    candidate = RuleSet.load(file)
    cascade = compose_cascade(unhurried(settings).model_copy(update={"redis": redis})).cascade
    today = RuleSet.load(in_force) if in_force else cascade.rules
    trial = Trial(cascade, candidate, today, limit=limit, at=_moment(at))
    with _opened(against) as source:
        report = trial.run(source)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    else:
        # Without a terminal (a pipe, a log) there is no width to keep to.
        width = None if sys.stdout.isatty() else 140
        print_report(Console(highlight=False, width=width), report)


@app.command("hash-text")
def hash_text_(
    text: Annotated[
        str, typer.Argument(help="A text, or - for one text a line on standard input.")
    ],
) -> None:
    """Print the hash under which a bank knows a text: SHA-256 after normalisation."""
    texts = sys.stdin.read().splitlines() if text == "-" else [text]
    for each in texts:
        print(hash_text(each))


def print_report(console: Console, report: TrialReport) -> None:
    """Print counts by rule, then examples with the matched places highlighted."""
    console.print(
        f"{report.uploads} uploads, {report.matched} matched ({_percent(report)});"
        f" {report.changes.total()} would be treated otherwise than now"
        + (f"; {report.dead_letters} lines are no valid upload" if report.dead_letters else "")
    )
    for change, count in report.changes.most_common():
        console.print(f"  {change}: {count}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("rule", overflow="fold")
    for name in ("category", "mode", "rule is"):
        table.add_column(name, no_wrap=True)
    for name in ("matches", "share", "new", "gone", "differ"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("would be done")
    for rule in report.rules:
        table.add_row(*_row(rule))
    console.print(table)
    for rule in report.rules:
        if rule.examples:
            console.print(Text(f"\n{rule.id}", style="bold"))
        for example in rule.examples:
            console.print(_line(example), soft_wrap=True)


def highlighted(example: Example) -> Text:
    """Part of the example's text around its first match, the matches highlighted."""
    spans = example.spans
    first = max(0, (spans[0][0] if spans else 0) - _BEFORE)
    last = min(len(example.text), first + _SHOWN)
    text = Text("…" if first else "")
    offset = len(text) - first
    text.append("".join(map(_visible, example.text[first:last])))
    for start, end in spans:
        begin, stop = max(start, first), min(end, last)
        if begin < stop:
            text.stylize("bold reverse", begin + offset, stop + offset)
    if last < len(example.text):
        text.append("…")
    return text


def _visible(character: str) -> str:
    """The character itself, or a stand-in for what could steer a terminal."""
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def _row(rule: RuleReport) -> tuple[str, ...]:
    mode = "observe" if rule.mode == "observe" else "decides" if rule.definitive else "weighs"
    done = ", ".join(f"{action} {count}" for action, count in rule.actions.most_common())
    counts = (rule.matches, f"{rule.share:.2%}", rule.new, rule.gone, rule.changed)
    return (rule.id, rule.category, mode, rule.status, *map(str, counts), done)


def _line(example: Example) -> Text:
    then, now = example.action, example.action_in_force
    treated = then if then == now else f"{now} -> {then}"
    mark = "new " if example.new else ""
    return Text.assemble(
        f"  line {example.line} ", (f"{mark}{treated}", "cyan"), "  ", highlighted(example)
    )


def _percent(report: TrialReport) -> str:
    return f"{report.matched / report.uploads:.2%}" if report.uploads else "none"


def _warnings(rules: RuleSet, source: YamlSource, policy: Policy) -> list[str]:
    """What is allowed, and yet seldom meant."""
    now = dt.datetime.now(dt.UTC)
    found = []
    for index, rule in enumerate(rules.document.rules):
        said: list[tuple[str, str]] = []
        if rule.category not in policy.categories:
            said.append(
                ("category", f"the policy has no category {rule.category}: people will decide")
            )
        if rule.valid_until and rule.valid_until <= now:
            said.append(("valid_until", "is over: the rule matches nothing any more"))
        if isinstance(rule, KeywordRule):
            benign = {term_text(term) for term in rule.allow}
            never = [term for term in rule.terms if term_text(term) in benign]
            said += [("terms", f"{term!r} is in allow too: it never counts") for term in never]
        for field, what in said:
            line = source.line(("rules", index, field))
            found.append(f"{source.file}:{line}: rule {rule.id}: {field}: {what}")
    return found


def _moment(text: str) -> dt.datetime:
    if not text:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise SluiceError(f"--at {text} is no time; write 2026-05-01T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _opened(name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise SluiceError(f"{name} cannot be read: {error.strerror}") from None


def main() -> None:
    """Run the command; errors of ours are sentences, not traces."""
    try:
        app(prog_name="scripts/rules")
    except SluiceError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        sys.stderr.close()  # `| head` has had enough


if __name__ == "__main__":
    main()
