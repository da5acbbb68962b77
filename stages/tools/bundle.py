"""Write the trained model as a bundle: `ser bundle [OUT]`.

A bundle is a folder with all that is needed to use the model, without DVC, params.yaml or TensorFlow. See its
CARD.md and docs/use_the_model.md.
"""

from __future__ import annotations

from pathlib import Path

from stages.base.errors import extra, parser_of, run
from stages.base.params import read
from stages.compute import hardware


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=Path("bundle"), help="default: %(default)s")
    out = parser.parse_args().out
    params = read()
    hardware.limit(params.train.threads)
    with extra("cpu", "ser bundle", "tensorflow"), hardware.quiet():
        from stages.export import folder

    facts = folder.write(params, out)
    n_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"bundle: {out}, {n_bytes / 1e6:.1f} MB: {facts.notice()}")


if __name__ == "__main__":
    run(main)
