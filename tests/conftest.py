"""What several test files need, and nothing else."""

import os
import subprocess
import sys

import pytest
from hypothesis import settings

# A busy machine is no failure.
settings.register_profile("breakfix", deadline=None)
settings.register_profile("hostile", deadline=None, max_examples=34_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "breakfix"))


@pytest.fixture
def python(tmp_path):
    """A function that runs this interpreter in an empty folder; keywords go into its environment."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        env = {**os.environ, **environment}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run
