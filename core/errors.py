"""The errors a user can meet.

    BreakfixError             something to tell the user in one sentence; exit code 1
    ├── UsageError            the command line asks for what does not exist; exit code 2
    ├── RecipeError           a recipe or policy file is wrong; lists every problem at once
    ├── SourceError           a model or data source cannot be had, or is not what it should be
    ├── ArtifactError         a folder is no artifact, was changed, or holds another order
    ├── MissingExtra          an optional part of Breakfix is not installed
    ├── DataError             a data file cannot be read as what it should be
    ├── ExportError           a checkpoint cannot be exported safely
    ├── EngineError           a model cannot be loaded or asked
    └── GuardError            the guard could not judge: whoever catches it refuses
        └── UnreadableText    the text is in a script that the guard's tokenizer has no words for

A message says what is wrong, where, and the remedy, and never quotes what a user typed into a chat.
"""

import errno

EXTRAS = {
    "train": ("torch", "transformers", "trl", "peft", "datasets", "accelerate"),
    "export": ("torch", "transformers", "onnx", "onnxscript", "cryptography"),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "report": ("matplotlib",),
    "bench": ("llama_cpp", "playwright"),
}
"""What each optional extra brings; `train` brings `export` too."""


class BreakfixError(Exception):
    """An expected failure: its text is the one sentence the user reads."""

    exit_code = 1


class UsageError(BreakfixError):
    """The caller asked for something that does not exist."""

    exit_code = 2


class RecipeError(BreakfixError):
    """A settings file has problems; all of them are in the message."""

    def __init__(self, where: str, problems: list[str]) -> None:
        """Take the file, or what else was read, and everything that is wrong with it."""
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{where}: {count}: " + "; ".join(problems))


class SourceError(BreakfixError):
    """A source cannot be fetched or is not what its hash says."""


class ArtifactError(BreakfixError):
    """A folder is not the artifact it should be."""


class MissingExtra(BreakfixError):
    """A package of an optional extra is not installed."""

    def __init__(self, module: str, extra: str) -> None:
        """Take what is missing and the extra that brings it."""
        super().__init__(
            f"this command needs {module}, which is not installed; install it with: pip install 'breakfix[{extra}]'"
        )


class DataError(BreakfixError):
    """A data file cannot be read."""


class ExportError(BreakfixError):
    """A checkpoint cannot be exported, or the export is not the same model."""


class EngineError(BreakfixError):
    """A model cannot be loaded or asked."""


class GuardError(BreakfixError):
    """The guard could not judge a text; the caller must refuse."""


class UnreadableText(GuardError):
    """A text is in a script that the guard cannot read; the caller must refuse."""


def os_sentence(error: OSError) -> str:
    """Return what a failed file operation means to a user, and the remedy."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full{where}; free some space and run the same command again, it goes on from there"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"not allowed to write or read{where}; check the permissions or choose another folder"
    return f"{error.strerror or type(error).__name__}{where}; check the path and run the command again"
