"""Leaderboards to be read: Markdown for a repository's page, LaTeX (booktabs) for a paper."""

from collections.abc import Sequence

from evaluation.leaderboard.sheet import Cell, Sheet
from evaluation.leaderboard.text import latex, markdown

NARROW = 6  # columns that a paper's one column has room for
BY_METRIC = "Metric"  # the second heading of a table that has a row for each method and metric
BLANK = Cell("")


def markdown_document(sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
    """Sections with a pipe table each; texts from submissions are escaped."""
    parts = ["# Leaderboard", *(part for sheet in sheets for part in _markdown_parts(sheet))]
    if notes:
        parts += ["## Not in the tables", bullets(notes)]
    return "\n\n".join(parts) + "\n"


def _markdown_parts(sheet: Sheet) -> list[str]:
    parts = [f"## {markdown(sheet.title)}", markdown(sheet.origin)]
    if sheet.apart:
        parts.append(f"**Set apart:** {markdown(sheet.apart)}.")
    return [*parts, pipe_table(sheet), bullets(sheet.notes)]


def bullets(lines: Sequence[str]) -> str:
    """A list of escaped lines."""
    return "\n".join(f"- {markdown(line)}" for line in lines)


def pipe_table(sheet: Sheet) -> str:
    """A table of Markdown, its cells escaped and padded to columns."""

    def line(texts: Sequence[str]) -> str:
        padded = (f"{t:>{w}}" if r else f"{t:<{w}}" for t, w, r in zip(texts, widths, sheet.right, strict=True))
        return f"| {' | '.join(padded)} |"

    headers = [markdown(header) for header in sheet.headers]
    rows = [[_markdown_cell(cell) for cell in row] for row in sheet.rows]
    widths = [max(3, *map(len, column)) for column in zip(headers, *rows, strict=True)]
    rule = "|".join("-" * (w + 1) + ":" if r else "-" * (w + 2) for w, r in zip(widths, sheet.right, strict=True))
    return "\n".join([line(headers), f"|{rule}|", *map(line, rows)])


def _markdown_cell(cell: Cell) -> str:
    return f"**{markdown(cell.text)}**" if cell.best else markdown(cell.text)


def latex_document(sheets: Sequence[Sheet], notes: Sequence[str]) -> str:
    r"""Floats with a booktabs tabular each, to be taken in by \input; what stands in no table is a comment."""
    parts = ["% needs \\usepackage{booktabs}", *map(_latex_table, sheets)]
    return "\n\n".join([*parts, *(f"% {note}" for note in notes)]) + "\n"


def _latex_table(sheet: Sheet) -> str:
    """A float of one column, or of the page's width where there are many columns."""
    apart = f" Set apart: {sheet.apart}." if sheet.apart else ""
    kind = "table*" if len(sheet.headers) > NARROW else "table"
    return "\n".join(
        [
            rf"\begin{{{kind}}}",
            r"\centering",
            rf"\caption{{{latex(f'{sheet.title}. {sheet.origin}{apart}')}}}",
            rf"\begin{{tabular}}{{{''.join('r' if right else 'l' for right in sheet.right)}}}",
            r"\toprule",
            " & ".join(map(latex, sheet.headers)) + r" \\",
            r"\midrule",
            *_latex_rows(sheet),
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in sheet.notes),
            rf"\end{{{kind}}}",
        ]
    )


def _latex_rows(sheet: Sheet) -> list[str]:
    """The rows; where a method has one for each metric, name and source stand once, and a rule parts the methods."""
    if sheet.headers[1:2] != (BY_METRIC,) or not sheet.rows:
        return list(map(_latex_row, sheet.rows))
    first = sheet.rows[0][1].text
    lines: list[str] = []
    for row in sheet.rows:
        if row[1].text != first:
            row = (BLANK, *row[1:-1], row[-1] if sheet.right[-1] else BLANK)
        elif lines:
            lines.append(r"\midrule")
        lines.append(_latex_row(row))
    return lines


def _latex_row(row: Sequence[Cell]) -> str:
    return " & ".join(map(_latex_cell, row)) + r" \\"


def _latex_cell(cell: Cell) -> str:
    return rf"\textbf{{{latex(cell.text)}}}" if cell.best else latex(cell.text)
