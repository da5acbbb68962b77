"""Untrusted model files and shards: none runs code, reads another file or exhausts the memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from stages import evaluate, train
from stages.base.errors import InputError
from stages.base.files import AUGMENTED, FEATURES, MODEL, PREDICTIONS
from stages.data import shards, tables
from stages.learning.preprocessing import Preprocessor
from stages.networks import checkpoint
from tests.faults import trained
from tests.faults.conftest import Fault

FOLD = MODEL / "fold_00"
WEIGHTS, CLASSIFIER, PREPROCESSOR = FOLD / "model.weights.h5", FOLD / "model.skops", FOLD / "preprocessor.npz"
SHARD = FEATURES / "all.npz"
RAN = Path("ran")


class Payload:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {RAN}",)


def objects() -> np.ndarray:
    """Returns an array that cannot be stored without pickle, with a payload in it."""
    array = np.empty(1, dtype=object)
    array[0] = Payload()
    return array


def test_the_payload_would_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload()))
    assert RAN.exists()
    RAN.unlink()
    np.savez("harm.npz", mean=objects())
    np.load("harm.npz", allow_pickle=True)["mean"]
    assert RAN.exists()


@pytest.fixture(scope="module")
def of_svm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("svm", tmp_path_factory)


@pytest.fixture(scope="module")
def of_ann(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("ann", tmp_path_factory)


def make(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        trained.leave(folder, model)
    return folder


@pytest.fixture
def svm(of_svm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, the current one, with a finished run of svm in it."""
    shutil.copytree(of_svm, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ann(of_ann: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same of ann."""
    shutil.copytree(of_ann, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_rejected(fault: Fault, kind: str, reason: str, read: Callable[[], object] = evaluate.main) -> None:
    """Checks that reading is rejected in one line and that nothing ran or was written."""
    before = PREDICTIONS.read_bytes()
    with fault(f"hostile {kind}"):
        with pytest.raises(InputError, match=reason) as error:
            read()
        assert len(str(error.value).splitlines()) == 1
        assert not RAN.exists()
        assert PREDICTIONS.read_bytes() == before


def one_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload()))


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, objects(), allow_pickle=True)


def a_plain_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def objects_in_each(path: Path) -> None:
    with np.load(path) as stored:
        names = stored.files
    np.savez(path, **{name: objects() for name in names})


def another_shape(path: Path) -> None:
    """Writes headers that promise 2^50 values."""
    with np.load(path) as stored:
        names = stored.files
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            header = io.BytesIO()
            about = {"descr": "<f4", "fortran_order": False, "shape": (2**50,)}
            np.lib.format.write_array_header_1_0(header, about)
            archive.writestr(f"{name}.npy", header.getvalue())


def code_in_the_header(path: Path) -> None:
    with np.load(path) as stored:
        names = stored.files
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').system('touch {RAN}')}}"
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"{name}.npy", header)


NPZ = [one_pickle, one_array, a_plain_array, objects_in_each, another_shape, code_in_the_header]


@pytest.mark.parametrize("corrupt", NPZ)
def test_a_preprocessor_runs_no_code(svm: Path, fault: Fault, corrupt: Callable[[Path], None]) -> None:
    corrupt(PREPROCESSOR)
    trained.pass_off()
    check_rejected(fault, "npz", r"preprocessor\.npz: .*`dvc repro train`")
    check_rejected(fault, "npz", r"preprocessor\.npz: ", lambda: Preprocessor.load(PREPROCESSOR))


@pytest.mark.parametrize("corrupt", NPZ)
def test_a_shard_runs_no_code(svm: Path, fault: Fault, corrupt: Callable[[Path], None]) -> None:
    corrupt(SHARD)
    reason = r"all\.npz: damaged \(.*\)\. Delete it and run `dvc repro`"
    check_rejected(fault, "npz", reason)
    check_rejected(fault, "npz", reason, train.main)


@pytest.mark.parametrize("corrupt", NPZ)
def test_augmented_copies_run_no_code(svm: Path, fault: Fault, corrupt: Callable[[Path], None]) -> None:
    path = AUGMENTED / "copies.npz"
    path.parent.mkdir(parents=True)
    np.savez(path, samples=np.zeros(9, np.float32), n_samples=np.array([9]), clips=np.array(["a#1"]))
    corrupt(path)
    names = ["samples", "n_samples", "clips"]
    check_rejected(fault, "npz", r"copies\.npz: damaged .*Delete it", lambda: shards.read(path, names))


def test_a_checkpoint_runs_no_code(ann: Path, fault: Fault) -> None:

    path = Path("checkpoint.npz")
    for corrupt in NPZ:
        np.savez(path, progress="{}", state_0=np.zeros(3))
        corrupt(path)
        reason = r"checkpoint\.npz: .*Delete it"
        check_rejected(fault, "npz", reason, lambda: checkpoint.read_progress(path))


def as_skops(schema: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return buffer.getvalue()


def node(**values: Any) -> dict[str, Any]:
    return {"__class__": "system", "__module__": "os", "__id__": 1, "protocol": 2, **values}


def reduced() -> dict[str, Any]:
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}
    return node(__loader__="ReduceNode", __reduce__=arguments, content=None)


def deep() -> bytes:
    schema = '{"__loader__": "ListNode", "content": [' * 5000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", schema)
    return buffer.getvalue()


SKOPS: dict[str, Callable[[], bytes]] = {
    "a pickle": lambda: pickle.dumps(Payload()),
    "a function": lambda: as_skops(node(__loader__="FunctionNode", content="os.system")),
    "a method": lambda: as_skops(node(__loader__="MethodNode", content={"func": "system", "obj": {}})),
    "a type": lambda: as_skops(node(__loader__="TypeNode", content="os.system")),
    "an object": lambda: as_skops(node(__loader__="ObjectNode", content={})),
    "a partial": lambda: as_skops(node(__loader__="PartialNode", content={})),
    "what __reduce__ gives": lambda: as_skops(reduced()),
    "an unknown loader": lambda: as_skops(node(__loader__="EvalNode", content=f"touch {RAN}")),
    "no loader": lambda: as_skops(node()),
    "a loader of an old protocol": lambda: as_skops(node(__loader__="ObjectNode", protocol=-1, content={})),
    "a list": lambda: as_skops([1, 2]),  # type: ignore[arg-type]
    "no schema": lambda: zipped("other.json", b"{}"),
    "a schema nested too deeply": deep,
    "a step that runs a function": lambda: skops.io.dumps(FunctionTransformer(os.system)),
    "another classifier": lambda: skops.io.dumps(DummyClassifier().fit([[0], [1], [2]], [0, 1, 2])),
    "an unfitted one": lambda: skops.io.dumps(SVC()),
    "one of other inputs": lambda: skops.io.dumps(SVC().fit([[0], [1], [2]], [0, 1, 2])),
}


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", SKOPS)
def test_a_classifier_runs_no_code(svm: Path, fault: Fault, kind: str) -> None:
    CLASSIFIER.write_bytes(SKOPS[kind]())
    trained.pass_off()
    check_rejected(fault, "skops", r"model\.skops: (not a model|holds .* could run code)")


def test_a_classifier_of_nan_is_rejected(svm: Path, fault: Fault) -> None:
    model = skops.io.load(CLASSIFIER)
    model._intercept_ = model._intercept_ * np.nan
    skops.io.dump(model, CLASSIFIER)
    trained.pass_off()
    check_rejected(fault, "skops", r"fold_00: .* 3 finite scores.*`dvc repro train`")


def replaced(put: Callable[[h5py.Group, str, Any], None]) -> Callable[[], None]:
    """Returns a function that replaces every table of weights."""

    def corrupt() -> None:
        with h5py.File(WEIGHTS, "r+") as file:
            for name in datasets_of(file):
                values, (group, _, last) = file[name][()], name.rpartition("/")
                del file[name]
                put(file[group], last, values)

    return corrupt


def datasets_of(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def external_link(group: h5py.Group, name: str, old: Any) -> None:
    with h5py.File("secret.h5", "w") as secret:
        secret["values"] = old
    group[name] = h5py.ExternalLink("secret.h5", "values")


def external_storage(group: h5py.Group, name: str, old: Any) -> None:
    Path("secret.bin").write_bytes(bytes(old.nbytes))
    group.create_dataset(name, old.shape, old.dtype, external=[("secret.bin", 0, old.nbytes)])


def virtual(group: h5py.Group, name: str, old: Any) -> None:
    with h5py.File("secret.h5", "w") as secret:
        secret["values"] = old
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[...] = h5py.VirtualSource("secret.h5", "values", old.shape)
    group.create_virtual_dataset(name, layout)


def pickled(group: h5py.Group, name: str, old: Any) -> None:
    group[name] = np.void(pickle.dumps(Payload()))


def vast(group: h5py.Group, name: str, old: Any) -> None:
    group.create_dataset(name, (2**40,), "f4", chunks=(1024,), compression="gzip")


def cycle(group: h5py.Group, name: str, old: Any) -> None:
    group[name] = group


def words(group: h5py.Group, name: str, old: Any) -> None:
    group[name] = np.array(["a"] * 3, dtype="S1")


def nan(group: h5py.Group, name: str, old: Any) -> None:
    group[name] = old * np.float32("nan")


def short(group: h5py.Group, name: str, old: Any) -> None:
    group[name] = old[:-1]


def dangling(group: h5py.Group, name: str, old: Any) -> None:
    group[name] = h5py.SoftLink("/nowhere")


def without(n_layers: int | None) -> Callable[[], None]:
    """Returns a function that removes the first layers, or all."""

    def corrupt() -> None:
        with h5py.File(WEIGHTS, "r+") as file:
            for name in sorted(file["layers"])[:n_layers]:
                del file["layers"][name]

    return corrupt


H5: dict[str, Callable[[], object]] = {
    "a pickle": lambda: WEIGHTS.write_bytes(pickle.dumps(Payload())),
    "a keras archive": lambda: WEIGHTS.write_bytes(zipped("config.json", b'{"class_name": "Lambda"}')),
    "nothing": lambda: WEIGHTS.write_bytes(b""),
    "no layer": without(None),
    "one layer less": without(1),
    "half of it": lambda: WEIGHTS.write_bytes(WEIGHTS.read_bytes()[:3000]),
    **{
        put.__name__: replaced(put)
        for put in (
            external_link,
            external_storage,
            virtual,
            pickled,
            vast,
            cycle,
            words,
            nan,
            short,
            dangling,
        )
    },
}


@pytest.mark.parametrize("kind", H5)
def test_weights_run_no_code_and_read_no_other_file(ann: Path, fault: Fault, kind: str) -> None:
    H5[kind]()
    trained.pass_off()
    check_rejected(
        fault,
        "weights.h5",
        r"model\.weights\.h5: not weights .*`dvc repro train`"
        r"|fold_00: .* 3 finite scores",
    )


@pytest.mark.parametrize("number", range(3))
def test_weights_with_flipped_bits_are_detected_by_their_hash(ann: Path, fault: Fault, number: int) -> None:
    content = bytearray(WEIGHTS.read_bytes())
    content[(number + 1) * len(content) // 4] ^= 1
    WEIGHTS.write_bytes(content)
    check_rejected(fault, "weights.h5", r"model\.weights\.h5: missing, or changed")


def test_a_table_holds_no_pickle(svm: Path, fault: Fault) -> None:
    PREDICTIONS.write_bytes(content := pickle.dumps(Payload()))
    with fault("hostile parquet"):
        with pytest.raises(InputError, match=r"predictions\.parquet: not a readable parquet table"):
            tables.read(PREDICTIONS, tables.PREDICTIONS)
        assert not RAN.exists()
        assert PREDICTIONS.read_bytes() == content


N_UNPACKED = 200_000_000  # bytes that a small file would take


def packed_npz() -> None:
    np.savez_compressed(PREPROCESSOR, mean=np.zeros(N_UNPACKED, np.int8))


def packed_skops() -> None:
    with zipfile.ZipFile(CLASSIFIER, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * N_UNPACKED)


def packed_weights() -> None:
    replaced(
        lambda group, name, _: group.create_dataset(
            name, data=np.zeros(N_UNPACKED // 4, np.float32), compression=1
        )
    )()


def peak_bytes(field: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024


@pytest.mark.parametrize(
    ("model", "pack"), [("svm", packed_npz), ("svm", packed_skops), ("ann", packed_weights)]
)
def test_a_small_file_fills_no_memory(
    request: pytest.FixtureRequest, fault: Fault, model: str, pack: Callable[[], None]
) -> None:
    request.getfixturevalue(model)
    if model == "ann":  # one array of weights is enough
        without(1)()
    pack()
    trained.pass_off()
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, the peak (proc(5))
    before = peak_bytes("VmRSS")
    check_rejected(fault, "packed", r"`dvc repro train`")
    assert peak_bytes("VmHWM") < before + N_UNPACKED / 2


def test_a_table_too_large_for_the_memory_is_not_read(
    svm: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows = len(tables.read(PREDICTIONS, tables.PREDICTIONS))
    monkeypatch.setattr(tables, "CELL_BYTES", 10**15)
    with fault("packed"), pytest.raises(MemoryError, match=rf"predictions\.parquet has {n_rows} rows"):
        tables.read(PREDICTIONS, tables.PREDICTIONS)
