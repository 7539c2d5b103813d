"""Write the pages that are made from the code, or check that they are up to date.

Usage: python docs/build.py [--check]

Every registry key, command option, study key, stored variable and public name gets a line on a page
because the page is made from the thing itself; ``--check`` fails when a page differs from the code,
when something says nothing of itself, or when a link in a page leads nowhere. ``make docs`` then
makes the site of all pages.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

from pages import api, detection, facts, gallery, reference, results  # noqa: E402

from undertow.models.page import page as models  # noqa: E402

PAGES: dict[str, Callable[[], str]] = {
    "reference/names.md": reference.registries,
    "reference/commands.md": reference.commands,
    "reference/study.md": reference.study,
    "reference/run-directory.md": reference.schema,
    "reference/exports.md": reference.exports,
    "reference/models.md": models,
    "reference/api/index.md": api.index,
    **{f"reference/api/{room}.md": partial(api.page, room) for room in api.ROOMS},
    "concepts/measured.md": facts.page,
    "results/index.md": results.index,
    **{f"results/{name}.md": partial(results.page, name) for name in results.kept()},
    "results/detection.md": detection.page,
    "gallery/index.md": gallery.page,
}


def undocumented() -> list[str]:
    """What says nothing of itself."""
    faults = []
    for title, path in reference.REGISTRIES.items():
        for entry in reference.load(path).entries():  # type: ignore[attr-defined]
            if not reference.first_line(entry.load()) and not entry.summary:
                faults.append(f"{title}: '{entry.name}' has no description")
    for page in (reference.commands, reference.study):
        faults += [line for line in page().splitlines() if "no description" in line]
    return faults + api.undocumented()


def broken_links() -> list[str]:
    """Relative links in Markdown pages that lead nowhere."""
    faults = []
    for page in (*ROOT.glob("*.md"), *ROOT.glob(".github/**/*.md"), *DOCS.rglob("*.md")):
        if "_build" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not re.match(r"\w+:", target) and not (page.parent / target).exists():
                faults.append(f"{page.relative_to(ROOT)}: link to {target} leads nowhere")
    return faults


def main(check: bool) -> int:
    """Write or check all; the exit code."""
    faults = []
    for name, make in PAGES.items():
        text, path = make().rstrip() + "\n", DOCS / name
        if check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                faults.append(f"docs/{name} differs from the code; run `make docs`")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    faults += undocumented() + broken_links()
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
