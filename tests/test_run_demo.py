"""The first thing anyone runs, on a Python that lacks something."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def run(code: str) -> subprocess.CompletedProcess:
    """Run ``code``, which may put things in the way, and then run_demo.py."""
    code += "\nimport runpy\nrunpy.run_path('run_demo.py', run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("package", ["numpy", "msgpack", "PIL"])
def test_without_its_requirements_it_says_how_to_install_them(package):
    done = run(f"import sys; sys.argv = ['run_demo.py', '--help']; sys.modules[{package!r}] = None")
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == f"The package {package!r} is not installed; run 'pip install -r requirements.txt'.\n"


def test_without_any_package_at_all():
    """As after a bare clone: -I -S leaves only what comes with Python."""
    code = "import sys, runpy; sys.path.insert(0, '.'); runpy.run_path('run_demo.py', run_name='__main__')"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install -r requirements.txt" in done.stderr


def test_a_module_of_ours_that_is_not_there_is_no_matter_of_installing():
    done = run("import sys; sys.modules['demo.stage'] = None")
    assert done.returncode == 1 and "Traceback" in done.stderr and "pip" not in done.stderr


def test_an_old_python_is_told_apart():
    done = run("import sys; sys.version_info = (3, 9); sys.version = '3.9.2 (default)'")
    assert done.returncode == 2 and "Python 3.11 or newer is needed, this is 3.9.2;" in done.stderr


def test_the_command_line_explains_itself():
    done = run("import sys; sys.argv = ['run_demo.py', '--help']")
    assert done.returncode == 0 and "Esc (quit)" in done.stdout
