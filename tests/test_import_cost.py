"""What starts at once must import nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = {"jax", "flax", "optax", "orbax", "numpy", "rich", "matplotlib", "grain", "PIL"}


def imported(code):
    """The top-level modules that a fresh process has after `code`."""
    code += "\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in result.stderr.split()}


@pytest.mark.parametrize(
    "code",
    [
        "import jaxml",
        "import jaxml.config",
        "from jaxml.cli import main; main.main(['--help'])",
        "from jaxml.cli import main; main.main(['--version'])",
        "from jaxml.cli import main; main.main(['trian'])",
        "from jaxml.cli import main; main.main(['run', '--help'])",
        "from jaxml.cli import main; main.main(['run', 'absent.py'])",
    ],
)
def test_imports_nothing_heavy(code):
    code = f"import io, sys; err = sys.stderr; sys.stderr = io.StringIO()\n{code}"
    found = imported(f"{code}\nsys.stderr = err")
    assert "jaxml" in found
    assert not found & HEAVY


def test_export_and_data_come_without_flax():
    found = imported("from jaxml import export; from jaxml.data import datasets")
    assert "numpy" in found
    assert not found & {"flax", "optax", "orbax", "matplotlib", "PIL"}
