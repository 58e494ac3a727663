"""index.html: every figure and table of a run on one page, its pages, and the record of the run."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

from nbconvert.filters import markdown2html

from synthlib import runs

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }
h2 { border-bottom: 1px solid #ccc; margin-top: 2.5rem; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; display: block; max-width: 100%;
  overflow-x: auto; }
th, td { border: 1px solid #ccc; padding: .25rem .7rem; }
th { background: #f3f3f3; }
td { font-variant-numeric: tabular-nums; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 12px; }
nav a { margin-right: 1rem; }
.page { font-size: 1.2rem; border: 1px solid #ccc; border-radius: 6px; padding: .6rem 1rem; }
.small { color: #666; font-size: 13px; }
"""


def write_index(out: Path, profile: str, names: Sequence[str]) -> Path:
    """Gather figures, tables, pages, executed notebooks and records below `out`."""
    done = [name for name in names if (out / "stages" / f"{name}.json").is_file()]
    body = [
        f"<h1>synthlib: {html.escape(Path(profile).name)}</h1>",
        "<p>From magnitude images to raw data: every figure and table of this run. "
        "Each file also exists as PDF, CSV, Markdown and LaTeX beside it, and carries its record."
        "</p>",
        "<nav>" + "".join(_link(f"notebooks/{name}.html", name) for name in done) + "</nav>",
    ]
    for name in done:
        body.append(f'<h2 id="{name}">{name}</h2>')
        body += [_page(path, out) for path in _made_by(name, out / "pages")]
        body += [_figure(path, out) for path in _made_by(name, out / "figures")]
        body += [_table(path, out) for path in _made_by(name, out / "tables")]
    records = {name: runs.read_json(out / "stages" / f"{name}.json") for name in done}
    text = html.escape(json.dumps(records, indent=1, sort_keys=True))
    body.append(f"<h2>Record</h2><pre>{text}</pre>")
    document = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>synthlib: {html.escape(Path(profile).name)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )
    runs.write_text(out / "index.html", document)
    return out / "index.html"


def _made_by(notebook: str, folder: Path) -> list[Path]:
    """Records of the figures, tables or pages that a notebook left, in the order of their names."""
    files = sorted(folder.glob("*.json"))
    return [file for file in files if runs.read_json(file).get("run") == notebook]


def _page(record: Path, out: Path) -> str:
    target = record.with_suffix(".html")
    size = f"{target.stat().st_size / 1e6:.1f} MB"
    link = _link(str(target.relative_to(out)), f"Open {record.stem}")
    note = f'<span class="small">works without a kernel, {size} '
    return f'<p class="page">{link}{note}{_link(f"pages/{record.name}", "record")}</span></p>'


def _figure(record: Path, out: Path) -> str:
    image = record.with_suffix(".png").relative_to(out)
    name = record.stem
    links = _link(str(image.with_suffix(".pdf")), "PDF") + _link(f"figures/{record.name}", "record")
    return (
        f'<figure><img src="{image}" alt="{html.escape(name)}">'
        f'<figcaption class="small">{html.escape(name)} {links}</figcaption></figure>'
    )


def _table(record: Path, out: Path) -> str:
    name = record.stem
    text = record.with_suffix(".md").read_text(encoding="utf-8")
    links = "".join(_link(f"tables/{name}.{kind}", kind) for kind in ("csv", "md", "tex", "json"))
    return f'<h3>{html.escape(name)}</h3>{markdown2html(text)}<p class="small">{links}</p>'


def _link(target: str, text: str) -> str:
    return f'<a href="{html.escape(target)}">{html.escape(text)}</a> '
