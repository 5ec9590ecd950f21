"""The architecture, written once and held: which part may import which."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jaxml"

MAY_IMPORT = {  # from the ground up
    "ops": "",
    "losses": "",
    "metrics": "ops",
    "spelling": "",
    "config": "spelling",
    "sharding": "",
    "signature": "",
    "optim": "ops",
    "data": "ops",
    "nn": "ops",
    "models/classical": "ops losses optim",
    "models/mlp": "ops nn losses",
    "models/wide_deep": "ops nn losses",
    "models/vision": "ops nn losses",
    "models/sequence": "ops nn losses",
    "models/language": "ops nn losses",
    "models/generative": "ops nn losses",
    "models/multimodal": "ops nn models/vision models/language",
    "models/rl": "ops losses models/mlp",
    "train": "metrics sharding",
    "select": "metrics sharding",
    "zoo": "models/mlp models/vision models/sequence models/language "
    "models/generative models/multimodal nn data sharding",
    "sklearn": "models/classical data metrics select",
    "export": "sharding signature",
    "plan": "sharding",
    "cli": "config data metrics select sharding train zoo export plan signature",
}


def part_of(path) -> str:
    """The row of the table that a module belongs to."""
    wing = "/".join(path[:2])
    return wing if wing in MAY_IMPORT else path[0]


def imports(file: Path):
    """What `file` takes from jaxml (ruff TID252 forbids relative imports)."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1:] for name in names if name.startswith("jaxml."))


def files():
    """Every module but the root `__init__`, which imports nothing."""
    return sorted(f for f in ROOT.rglob("*.py") if f != ROOT / "__init__.py")


@pytest.mark.parametrize("file", files(), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_only_what_it_may(file):
    home = part_of(file.relative_to(ROOT).with_suffix("").parts)
    allowed = {home, *MAY_IMPORT.get(home, "").split()}
    for module in imports(file):
        if module[0] == "__version__":
            continue
        assert part_of(module) in allowed, f"{home} may import only {sorted(allowed)}"


def test_root_imports_nothing():
    assert not list(imports(ROOT / "__init__.py"))
