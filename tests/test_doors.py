"""What the program never does, read from the syntax trees: no file or message of others can run anything."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = [
    ROOT / "run_demo.py",
    *sorted((ROOT / "demo").rglob("*.py")),
    *sorted((ROOT / "streamingtalker").rglob("*.py")),
]
UNPICKLERS = {
    "streamingtalker/safe_pickle.py",
    "streamingtalker/convert/torch_file.py",
}  # the latter for an error's name
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "marshal.loads",
    "shelve.open",
}
LOADERS = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve", "yaml"}


def violations(tree: ast.AST, name: str) -> Iterator[str]:
    """What ``tree``, the source of the file ``name``, does that it must not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for module in modules:
                if module.split(".")[0] in LOADERS and name not in UNPICKLERS:
                    yield f"{name}:{node.lineno} imports {module}"
        elif isinstance(node, ast.Call):
            yield from (f"{name}:{node.lineno} {fault}" for fault in _faults(node))


def _faults(call: ast.Call) -> Iterator[str]:
    called = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if called in FORBIDDEN:
        yield f"calls {called}"
    if given.get("shell", "False") != "False":
        yield "opens a shell"
    if called == "torch.load" and given.get("weights_only") != "True":
        yield "calls torch.load for more than weights"
    if called.endswith(".load") and given.get("allow_pickle", "False") != "False":
        yield "lets numpy open pickles"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_of_others_is_run(path):
    name = path.relative_to(ROOT).as_posix()
    assert list(violations(ast.parse(path.read_text(encoding="utf-8")), name)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import safe_load",
        "eval('1')",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_what_is_forbidden_is_found(line):
    assert len(list(violations(ast.parse(line), "demo/x.py"))) == 1


def test_what_is_allowed_is_not_found():
    allowed = (
        "model.eval()\nre.compile('x')\ntorch.load(path, weights_only=True)\nsubprocess.run(['ls'])\nnp.load(path)"
    )
    assert list(violations(ast.parse(allowed), "demo/x.py")) == []
