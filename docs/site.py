"""What mkdocs.yml needs to show the repository's pages as they are on GitHub: `mkdocs build` imports it."""

from __future__ import annotations

import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

logging.getLogger("mkdocs.plugins.api-autonav").setLevel(logging.WARNING)  # a line per module otherwise

SHOWN = (
    "*.md",
    "docs/*.ipynb",
    "docs/*.png",
    "benchmark/**/*.csv",
    "benchmark/**/*.json",
    "benchmark/**/*.png",
    "benchmark/**/*.yaml",
    "stages/*.py",
    "params.yaml",
    "CITATION.cff",
    "LICENSE",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Puts the files that pages are or link to under their paths in the repository.

    MkDocs itself would only see docs/, and links from there to README.md or params.yaml would be broken.
    """
    root = Path(config.config_file_path).parent
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *SHOWN]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    for path in listed.stdout.splitlines():
        files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lets tables and graphs in collapsed sections be Markdown, as they are on GitHub."""
    return markdown.replace("<details>", '<details markdown="1">')


class Doctests(griffe.Extension):
    """Fences the examples of docstrings, which Markdown would take for quotes."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^>>> .*(?:\n.+)*", r"```pycon\n\g<0>\n```", obj.docstring.value, flags=re.MULTILINE
            )
