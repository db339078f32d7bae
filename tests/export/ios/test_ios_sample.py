"""The sample app's Swift: no compiler but Xcode's can check more of it than that it parses."""

import subprocess
from pathlib import Path

import pytest

from breakfix.export import mobile


@pytest.mark.slow
def test_the_sample_parses(compiler):
    files = sorted((Path(mobile.__path__[0]) / "ios" / "Sample").glob("*.swift"))
    assert len(files) > 4
    done = subprocess.run([*compiler, "-parse", *map(str, files)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
