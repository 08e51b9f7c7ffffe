"""The direction of dependencies, read from the imports of every module."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WEB = {"routes", "problems", "limits", "security", "telemetry", "app"}
MODULES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")])


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


# What runs the code that it reads, and the argument that lets numpy do so.
UNPICKLING = {
    "allow_pickle", "read_pickle", "np.load", "numpy.load", "load_model", "load_weights", "load_library",
    "load_op_library", "Lambda", "eval", "exec",
}  # fmt: skip


def names(path: Path) -> set[str]:
    """The functions that a module calls, as written and by their last names, and arguments but for False."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            found |= {ast.unparse(node.func), ast.unparse(node.func).split(".")[-1]}
        elif isinstance(node, ast.keyword) and node.arg and ast.unparse(node.value) != "False":
            found.add(node.arg)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
class TestEveryModule:
    def test_fastapi_and_starlette_appear_only_in_the_web_modules(self, path: Path) -> None:
        """The use cases can be called without HTTP."""
        web = path.stem in WEB or "dialects" in path.parts

        assert web or not packages(path) & {"fastapi", "starlette", "fastapi_offline"}

    def test_tensorflow_appears_only_in_servable_and_training(self, path: Path) -> None:
        """One module of the service knows what a SavedModel is."""
        knows = path.stem == "servable" or "training" in path.parts

        assert knows or not packages(path) & {"tensorflow", "keras"}

    def test_service_never_imports_training(self, path: Path) -> None:
        """The serving image holds no training code."""
        assert "training" in path.parts or "training" not in packages(path)

    def test_nothing_unpickles(self, path: Path) -> None:
        """No pickle, joblib, h5 or dill on the way to an answer."""
        unpickling = {"pickle", "joblib", "h5py", "dill", "cloudpickle", "shelve", "marshal"}

        assert not packages(path) & unpickling
        assert not names(path) & (UNPICKLING if "service" in path.parts else {"allow_pickle"})


def test_errors_import_nothing_of_ours() -> None:
    """The domain's errors know no other module."""
    assert not packages(ROOT / "service/errors.py") & {"service", "training", "pydantic", "numpy"}


def test_the_rules_would_notice(tmp_path: Path) -> None:
    """An import inside a function counts."""
    module = tmp_path / "module.py"
    module.write_text("def late():\n    import tensorflow as tf\n    return tf\n")

    assert packages(module) == {"tensorflow"}


def test_calls_that_unpickle_would_be_noticed(tmp_path: Path) -> None:
    """By the name of the function, of its module, or of the argument."""
    module = tmp_path / "module.py"
    for call in ("np.load(path)", "read(path, allow_pickle=True)", "tf.keras.models.load_model(path)"):
        module.write_text(call)
        assert names(module) & UNPICKLING


@pytest.mark.slow
def test_the_service_runs_without_keras() -> None:
    """TensorFlow would import it by itself, and keep it."""
    code = "import sys, service.servable; print({'keras', 'tf_keras'} & sys.modules.keys())"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "set()"
