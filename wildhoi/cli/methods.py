"""`wildhoi methods`: which methods are installed, and what one of them can be told."""

from typing import Annotated, Any

import typer

from wildhoi.cli.shared import Json, say, show, show_json
from wildhoi.errors import printable

app = typer.Typer(help="List the installed methods, and say what one can be told.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """List the installed methods, and say what one can be told."""


@app.command("list")
def list_methods(as_json: Json = False) -> None:
    """List the installed methods; one that cannot be loaded is shown with the reason."""
    from wildhoi.method import method_names

    found = {name: _summary(name) for name in method_names()}
    if as_json:
        rows = [{"name": name, "summary": text, "problem": problem} for name, (text, problem) in found.items()]
        return show_json(rows)
    from rich.markup import escape
    from rich.table import Table

    table = Table("method", "what", box=None, pad_edge=False)
    for name, (text, problem) in found.items():
        table.add_row(escape(name), f"[red]broken[/] {escape(problem)}" if problem else escape(text))
    show(table)
    say("`wildhoi methods info METHOD` says what one reads and can be told; docs/methods.md how to write one.")


def _summary(name: str) -> tuple[str, str]:
    """What a method says of itself, or why it cannot."""
    from wildhoi.errors import WildhoiError
    from wildhoi.method import load_method

    try:
        return printable(load_method(name).info.summary), ""
    except WildhoiError as error:
        return "", printable(error)
    except Exception as error:  # noqa: BLE001 - a foreign module may fail in any way
        return "", printable(f"{type(error).__name__}: {error}")


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(metavar="METHOD", help="As methods list has it.")],
    as_json: Json = False,
) -> None:
    """Say what a method is, what it reads, and its settings with their defaults."""
    from wildhoi.method import load_method

    found = load_method(name).info
    facts: dict[str, Any] = {
        "name": found.name,
        "summary": found.summary,
        "inputs": list(found.inputs),
        "supervision": found.supervision,
        "authors": found.authors,
        "paper": found.paper,
        "code": found.code,
    }
    options = {key: {"default": option.default, "meaning": option.meaning} for key, option in found.options.items()}
    if as_json:
        from wildhoi.running.record import plain

        return show_json(plain({**facts, "options": options}, name))
    _show_facts(facts, options)


def _show_facts(facts: dict[str, Any], options: dict[str, dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for key, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        if text:
            table.add_row(key, escape(printable(text)))
    show(table)
    if not options:
        return show("\nIt has no settings.")
    settings = Table("setting (--set NAME=VALUE)", "default", "meaning", box=None, pad_edge=False)
    for key, option in options.items():
        settings.add_row(
            escape(key), escape(printable(_as_typed(option["default"]))), escape(printable(option["meaning"]))
        )
    show("")
    show(settings)


def _as_typed(value: Any) -> str:
    """A value in the words of `--set`."""
    if isinstance(value, list | tuple):
        return ",".join(map(_as_typed, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
