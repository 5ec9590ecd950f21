"""Eight simulated devices, strict shapes, and where the data and the vectors lie."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    # Eight devices on a busy machine with two cores may be late at a meeting.
    + " --xla_cpu_collective_call_terminate_timeout_seconds=300"
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "xla"))
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
os.environ["MPLBACKEND"] = "agg"

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook("jaxml", "beartype.beartype")

import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
# Steps of eight simulated devices in flight together can deadlock on two cores.
jax.config.update("jax_cpu_enable_async_dispatch", False)


def _folder(variable: str, what: str) -> Path:
    """The folder that `variable` names; skip without it, fail in CI."""
    path = Path(os.environ.get(variable, ""))
    if os.environ.get(variable) and path.is_dir():
        return path.resolve()
    reason = f"{what}: set {variable} to its folder"
    if os.environ.get("CI") and os.environ.get(variable):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of the datasets (docs/data.md)."""
    return _folder("JAXML_DATA", "needs the datasets")


@pytest.fixture(scope="session")
def parity_folder() -> Path:
    """The folder of the vectors made by reference implementations."""
    return _folder("JAXML_PARITY", "needs the reference vectors")


@pytest.fixture(autouse=True)
def _few_programs(request):
    """Forget compiled programs before the process runs out of memory maps.

    Each program for eight devices holds over a hundred maps; Linux allows 65,530.
    """
    yield
    maps = Path("/proc/self/maps")
    request.config.count_of_tests = getattr(request.config, "count_of_tests", 0) + 1
    if request.config.count_of_tests % 8 == 0 and maps.exists():
        if maps.read_bytes().count(b"\n") > 25_000:
            jax.clear_caches()


@pytest.fixture(autouse=True)
def _same_draws():
    """scikit-learn breaks ties by NumPy's global state where no seed is given."""
    np.random.seed(int(os.environ.get("JAXML_TEST_SEED", "0")))


@pytest.fixture
def key():
    return jax.random.key(0)
