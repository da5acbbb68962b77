"""The contract of every file in a registry folder. A new file is tested automatically."""

from __future__ import annotations

import dataclasses
import importlib
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from stages.base import registry
from stages.base.errors import InputError
from stages.base.params import Block, Params
from stages.data.vocabulary import CHANNELS, EMOTIONS, INTENSITIES, LABEL, SEXES, Corpus, Download, ParsedName
from tests.support import shipped

ROOT = Path(__file__).resolve().parents[2]
ENTRIES = [(kind, name) for kind in registry.CONTRACTS for name in registry.names(kind)]
CORPORA = registry.names("corpora")
DOWNLOADED = [name for name in CORPORA if hasattr(registry.load("corpora", name, "test"), "downloads")]
CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}|lfs:https://\S+")


@pytest.fixture(scope="module")
def params() -> Params:
    return shipped.read()


def example(name: str) -> PurePosixPath:
    """Returns the example in the corpus's description of its file names."""
    shown = re.search(r"as in (.+?\.wav)", registry.load("corpora", name, "test").ABOUT.name_pattern)
    assert shown, f"stages/corpora/{name}.py: ABOUT.name_pattern shows no name as in <name>.wav"
    return PurePosixPath(shown[1])


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_an_entry_meets_its_contract(kind: str, name: str, params: Params) -> None:
    module = registry.load(kind, name, f"params.{kind}")
    assert module.__doc__, f"stages/{kind}/{name}.py: has no docstring"
    config = getattr(module, "Config", Block)
    assert issubclass(config, Block)
    assert isinstance(params.config(kind, name, f"params.{kind}"), config)


@pytest.mark.parametrize("kind", registry.CONTRACTS)
def test_params_has_a_block_for_every_entry(kind: str, params: Params) -> None:
    entries = [name for name in getattr(params, kind) if params.file(kind, name) == name]
    assert sorted(entries) == registry.names(kind)  # the others are corpora described by a table


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_describes_itself(name: str) -> None:
    about = registry.load("corpora", name, "test").ABOUT
    assert isinstance(about, Corpus)
    described = dataclasses.asdict(about) | {"language": "of each recording"}
    empty = [key for key, value in described.items() if value in ("", ())]
    assert not empty, f"stages/corpora/{name}.py: ABOUT is empty in {empty}"
    assert about.n_clips >= about.n_speakers >= 1
    assert all(re.match(LABEL, emotion) for emotion in about.emotions)
    assert not [name for name in about.emotions if name.lower() in EMOTIONS and name not in EMOTIONS]
    assert re.fullmatch(r"[a-z]{2}|", about.language)
    assert about.url.startswith("http")
    assert about.access.endswith(".")


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_parses_its_example_name(name: str) -> None:
    corpus = registry.load("corpora", name, "test")
    parsed = corpus.parse(example(name))
    assert isinstance(parsed, ParsedName)
    if not hasattr(corpus, "annotate"):  # from other files
        assert parsed.emotion and parsed.speaker
    assert parsed.emotion in {*corpus.ABOUT.emotions, None}
    assert parsed.sex in {*SEXES, None}
    assert parsed.language or corpus.ABOUT.language
    assert parsed.intensity in INTENSITIES
    assert parsed.channel in CHANNELS
    assert parsed.preferred
    assert parsed.clip and parsed.repetition >= 1
    assert "" not in (parsed.speaker, parsed.sentence, parsed.session, parsed.partition)
    assert corpus.parse("deep/er" / example(name)) == parsed


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_parses_no_name_of_another(name: str) -> None:
    corpus = registry.load("corpora", name, "test")
    foreign = [example(other) for other in CORPORA if other != name]
    assert [corpus.parse(path) for path in foreign] == [None] * len(foreign)


@pytest.mark.parametrize("name", CORPORA)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40))
def test_a_corpus_handles_any_name(name: str, text: str) -> None:
    parse = registry.load("corpora", name, "test").parse
    assert isinstance(parse(PurePosixPath(text)), ParsedName | None)
    assert isinstance(parse(PurePosixPath(f"{text}.wav")), ParsedName | None)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_corpus_lists_its_downloads(name: str, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "get", unreachable)
    corpus = registry.load("corpora", name, "test")
    try:
        found = corpus.downloads(params.config("corpora", name, "test"))
    except InputError:  # the publisher's server has the list
        return
    assert len({item.filename for item in found}) == len(found)
    for item in found:
        assert isinstance(item, Download)
        assert CHECKSUM.fullmatch(item.checksum)
        assert item.url.startswith("https://")
        assert (
            not PurePosixPath(item.filename).is_absolute() and ".." not in PurePosixPath(item.filename).parts
        )
        assert item.n_bytes >= 0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty corpora folder that the registry reads instead of the real one."""
    (tmp_path / "corpora").mkdir()
    monkeypatch.setattr(registry, "STAGES", tmp_path)
    monkeypatch.setattr(importlib.import_module("stages.corpora"), "__path__", [str(tmp_path / "corpora")])
    for name in [*sys.modules]:
        if name.startswith("stages.corpora."):
            monkeypatch.delitem(sys.modules, name)
    return tmp_path / "corpora"


@pytest.mark.parametrize("missing", registry.CONTRACTS["corpora"])
def test_a_file_that_breaks_the_contract_is_an_error(folder: Path, missing: str) -> None:
    defined = [name for name in registry.CONTRACTS["corpora"] if name != missing]
    (folder / "incomplete.py").write_text("".join(f"{name} = None\n" for name in defined))
    with pytest.raises(InputError, match=rf"stages/corpora/incomplete\.py.*`{missing}`"):
        registry.load("corpora", "incomplete", "params.corpus")


def test_a_new_file_is_an_entry(folder: Path) -> None:
    (folder / "fresh.py").write_text("".join(f"{name} = 1\n" for name in registry.CONTRACTS["corpora"]))
    (folder / "_shared.py").write_text("")
    assert registry.names("corpora") == ["fresh"]
    assert registry.load("corpora", "fresh", "params.corpus").parse == 1


def test_a_network_without_tensorflow_says_what_to_install() -> None:
    code = "import sys; sys.modules['tensorflow'] = None; from stages.base import registry; "
    code += "registry.load('models', 'svm', 'params.model'); registry.load('models', 'gru', 'params.model')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert re.search(r"InputError: params\.model 'gru': .*\[cpu\]", done.stderr)


def test_a_name_without_a_file_is_an_error_that_suggests_the_closest() -> None:
    with pytest.raises(InputError, match=r"params\.corpus.*'ravdes'.*'ravdess'.*crema_d"):
        registry.load("corpora", "ravdes", "params.corpus")
