"""All tools as one command: `ser predict clip.wav` is `python -m stages.tools.predict clip.wav`.

`ser` lists the tools, `ser predict --help` explains one.
"""

from __future__ import annotations

import ast
import importlib
import sys
from importlib.metadata import version
from pathlib import Path

from stages.base.errors import InputError, run, unknown

HELP = ("-h", "--help")
VERSION = "--version"


def tools() -> dict[str, Path]:
    """Returns the files of the tools by name, sorted; a tool is a file of this folder with a `main`.

    >>> "predict" in tools(), "ser" in tools()
    (True, False)
    """
    paths = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    return {path.stem: path for path in paths if path.stem != Path(__file__).stem}


def summary(path: Path) -> str:
    """Returns the first sentence of a file's docstring, without importing the file."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first, _, _ = " ".join(text.partition("\n\n")[0].split()).partition(": `")
    return first.rstrip(".")


def overview() -> str:
    """Returns the list of tools that `ser` prints."""
    width = max(map(len, tools()))
    lines = [f"  {name:{width}}  {summary(path)}" for name, path in tools().items()]
    return "\n".join(["usage: ser TOOL ...", "", *lines, "", "`ser TOOL --help` explains a tool."])


def main() -> None:
    name, *arguments = sys.argv[1:] or HELP[:1]
    if name in HELP:
        print(overview())
        return
    if name == VERSION:
        print(f"ser {version('speech-emotion-pipeline')}")
        return
    if name not in tools():
        raise unknown("ser", name, tools())
    check_same_code()
    sys.argv = [f"ser {name}", *arguments]  # where argparse takes the name in its messages from
    try:
        module = importlib.import_module(f"stages.tools.{name}")
    except ModuleNotFoundError as error:
        raise InputError(f"ser {name}: needs the library '{error.name}'. Install it with pip.") from error
    module.main()


def check_same_code() -> None:
    """Checks that the code of this process is that of the stages that DVC runs in this folder.

    Raises:
        InputError: another copy of the project is installed, as in a second clone with one environment.
    """
    here, own = Path("stages"), Path(__file__).resolve().parents[1]
    if (here / "train.py").is_file() and not here.samefile(own):
        raise InputError(
            f"ser: is installed from {own.parent}, but this folder has code of its own. Run `pip install "
            "-e .` here, or `python -m stages.tools.ser`."
        )


def command() -> None:
    """The console script."""
    run(main)


if __name__ == "__main__":
    command()
