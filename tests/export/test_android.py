"""The android target: its guard, conversation and bundle check on the JVM, and what of the app can be checked without an SDK.

Kotlin's compiler comes out of a wheel; it needs a `java` of 17 or newer. Scores come from the shipped guard over a pipe, for no
ONNX Runtime of a JVM is at hand. Nothing here builds the app: its sources are type-checked against stubs of what they call.
"""

import base64
import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from breakfix.core import artifact, recipe, sources
from breakfix.export.mobile import signature
from breakfix.guardrails import classifier, policy, vectors
from breakfix.guardrails.guard import SHIPPED
from breakfix.runtime.engine import Message
from breakfix.runtime.turns import joined

ANDROID = Path(__file__).parents[2] / "export" / "mobile" / "android"
CORE = ANDROID / "guard" / "src" / "main" / "kotlin"
APP = ANDROID / "app" / "src" / "main"
DOUBLES = Path(__file__).parent / "android"
COMPILER = (
    "pypi:kotlin-jupyter-kernel==0.19.0.944/run_kotlin_kernel/jars"
    "#sha256=dc654a426a28e6621aeb0bd7772d268a9a877aabae4a17b73383752a416281a3"
)
CHAT = json.loads((DOUBLES / "chat.json").read_text(encoding="ascii"))
FIGURE = {"suite": "harmbench", "measure": "harmful compliance", "hits": 12, "n": 200, "low": 0.03, "high": 0.1}


def on_the_jvm(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that compiles Kotlin: slow, and all of them on one worker."""
    return pytest.mark.slow(pytest.mark.xdist_group("kotlin")(test))


def kotlinc(jars: Path, out: Path, files: list[Path], classpath: str = "") -> None:
    """Compile Kotlin files into a folder of classes."""
    library = str(next(jars.glob("kotlin-stdlib-*.jar")))
    compiler = ":".join(map(str, jars.glob("kotlin*.jar")))
    command = ["java", "-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", compiler]
    command += ["org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-reflect", "-no-stdlib", "-Werror"]
    command += ["-d", str(out), "-cp", f"{library}:{classpath}", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.fixture(scope="session")
def jars() -> Path:
    """The jars of the Kotlin compiler, fetched once."""
    if shutil.which("java") is None:
        pytest.skip("there is no java on this machine; install a JRE of 17 or newer")
    return sources.fetch(COMPILER)


@pytest.fixture(scope="session")
def classes(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Guard, conversation and the runners of these tests, compiled."""
    out = tmp_path_factory.mktemp("kotlin") / "classes"
    kotlinc(jars, out, [*sorted(CORE.rglob("*.kt")), *sorted(DOUBLES.glob("*.kt"))])
    return out


@pytest.fixture(scope="session")
def heads() -> Callable[[str], str]:
    """The shipped guard's encoder: `ids / types` in, its heads out, as the runners write and read them."""
    session, _ = classifier.open_session(SHIPPED, 1)

    def answer(line: str) -> str:
        ids, types = ([int(number) for number in part.split(",")] for part in line.split(" / "))
        row = classifier.run_session(session, [classifier.Window(ids, types, 0, 0)])[0]
        return ",".join(repr(float(head)) for head in row) + "\n"

    return answer


class Runner:
    """A class with a `main`, on the JVM; lines that begin with `? ` are answered by the encoder."""

    def __init__(self, jars: Path, classes: Path, heads: Callable[[str], str], main: str, *arguments: object) -> None:
        classpath = f"{classes}:{next(jars.glob('kotlin-stdlib-*.jar'))}"
        command = ["java", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Dstdin.encoding=UTF-8"]
        command += ["-cp", classpath, main, *map(str, arguments)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, encoding="utf-8", errors="replace")
        self.heads = heads

    def write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield what it says, less what it asks the encoder."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("? "):
                self.write(self.heads(line[2:]))
            else:
                yield line.rstrip("\n")

    def say(self, *words: object) -> list[str]:
        """Give the phone an order and return what comes of it."""
        self.write("\t".join(map(str, words)) + "\n")
        told = []
        for line in self.lines():
            if line == ".":
                return told
            told.append(line[2:].replace("\u2028", "\n"))
        raise AssertionError("the phone ended")

    def close(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


@pytest.fixture(scope="session")
def phone(jars, classes, heads) -> Iterator[Runner]:
    runner = Runner(jars, classes, heads, "breakfix.guard.Phones")
    yield runner
    runner.close()


# --- the guard


@on_the_jvm
def test_the_guard_passes_every_vector(jars, classes, heads, tmp_path):
    tables = tmp_path / "tables.json"
    tables.write_text(json.dumps(vectors.tables()), encoding="ascii")
    files = sorted(vectors.VECTORS.glob("*.jsonl"))
    assert len(files) >= 4
    runner = Runner(jars, classes, heads, "breakfix.guard.GuardVectorsKt", SHIPPED, tables, *files)
    *differences, last = runner.lines()
    runner.close()
    assert differences == []
    checked, scores = map(int, last.removeprefix("= ").split())
    assert checked > 7000 and scores > 2500


# --- the bundle


def make_bundle(folder: Path, key: Path | None = None, **policies: object) -> Path:
    """Write a bundle with the shipped guard and a model that is none; its weights are larger than what is always hashed."""

    def make(work: Path) -> None:
        for part in ("payload/model", "payload/guard", "app"):
            (work / part).mkdir(parents=True)
        for name in ("model.onnx", "genai_config.json", "tokenizer.json"):
            (work / "payload/model" / name).write_bytes(random.Random(name).randbytes(200_000))
        (work / "payload/model/model.onnx.data").write_bytes(random.Random(0).randbytes(100_000) * 350)
        told = {"model/chat.json": CHAT, "card.json": {"name": "Tiny", "gate": None, "figures": [FIGURE]}}
        told |= {"guard/policy.json": recipe.plain(policy.load()) | policies, "guard/tables.json": vectors.tables()}
        for name, value in told.items():
            (work / "payload" / name).write_text(json.dumps(value), encoding="utf-8")
        for name in ("model.onnx", "tokenizer.json", "calibration.json"):
            shutil.copyfile(SHIPPED / name, work / "payload/guard" / name)
        (work / "app" / "README.md").write_text("No part of what the app carries.", encoding="utf-8")

    made = artifact.produce(folder, "bundle", {}, {}, make)
    if key:
        signature.sign(made, key)
    return folder


@pytest.fixture(scope="session")
def key(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key.pem"
    form = serialization.PrivateFormat.PKCS8
    made = Ed25519PrivateKey.generate()
    path.write_bytes(made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


@pytest.fixture(scope="session")
def signed(key, tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("signed") / "bundle", key)


@pytest.fixture
def bundle(signed, tmp_path) -> Path:
    """A copy of the signed bundle, to be spoiled."""
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def edited(path: Path) -> None:
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["files"]["payload/card.json"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest), encoding="utf-8")


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (lambda b: flipped(b / "payload/model/model.onnx.data"), "payload/model/model.onnx.data was changed"),
    "a shorter file": (lambda b: (b / "payload/guard/model.onnx").write_bytes(b""), "payload/guard/model.onnx was changed"),
    "a missing file": (lambda b: (b / "payload/guard/policy.json").unlink(), "payload/guard/policy.json is missing"),
    "an edited manifest": (lambda b: edited(b / "manifest.json"), "manifest.json was edited"),
    "a damaged manifest": (lambda b: (b / "manifest.json").write_text("{"), "manifest.json is damaged"),
    "no signature": (lambda b: (b / "manifest.sig").unlink(), "manifest.sig is missing, and this app takes signed"),
    "a signature of nothing": (lambda b: (b / "manifest.sig").write_text("!"), "manifest.sig is not of this manifest"),
    "one byte more": (lambda b: longer(b / "manifest.json"), "manifest.sig is not of this manifest"),
}


@on_the_jvm
@pytest.mark.parametrize(("spoil", "said"), SPOILED.values(), ids=list(SPOILED))
def test_a_spoiled_bundle_is_refused_by_name(phone, bundle, key, tmp_path, spoil, said):
    spoil(bundle)
    trusted = signature.public_key(key) if "manifest.sig" in said else ""
    for order in (("open", bundle), ("unpack", bundle, tmp_path / "unpacked")):
        assert phone.say(*order, trusted)[0].startswith(f"refused: {said}")
    assert not (tmp_path / "unpacked").exists()


@on_the_jvm
def test_the_key_that_an_app_trusts_must_have_signed(phone, signed, key, tmp_path):
    other = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    opened = [f"opened {artifact.load(signed).id}"]
    assert phone.say("unpack", signed, tmp_path / "one", signature.public_key(key)) == opened
    assert phone.say("open", tmp_path / "one", signature.public_key(key)) == opened
    assert phone.say("open", tmp_path / "one", other)[0].startswith("refused: manifest.sig is not of this manifest")
    assert phone.say("unpack", signed, tmp_path / "two") == opened  # an app without a key asks for no signature


@on_the_jvm
def test_a_foreign_file_is_refused_and_never_unpacked(phone, bundle, tmp_path):
    (bundle / "payload/guard/more.json").write_text("{}", encoding="utf-8")
    assert phone.say("open", bundle) == ["refused: payload/guard/more.json is no part of this bundle; remove it"]
    assert phone.say("unpack", bundle, tmp_path / "unpacked")[0].startswith("opened")
    assert not (tmp_path / "unpacked/payload/guard/more.json").exists()
    assert not (tmp_path / "unpacked/app").exists()  # the project is no part of what the app carries


@on_the_jvm
def test_weights_are_hashed_once_all_else_always_and_what_is_changed_is_unpacked_anew(phone, bundle, tmp_path):
    unpacked, opened = tmp_path / "unpacked", [f"opened {artifact.load(bundle).id}"]
    assert phone.say("unpack", bundle, unpacked) == opened
    large = unpacked / "payload/model/model.onnx.data"
    flipped(large)
    assert phone.say("open", unpacked) == opened
    encoder = unpacked / "payload/guard/model.onnx"
    flipped(encoder)
    assert phone.say("open", unpacked)[0].startswith("refused: payload/guard/model.onnx was changed")
    flipped(encoder)
    (unpacked / "verified.txt").unlink()
    assert phone.say("open", unpacked)[0].startswith("refused: payload/model/model.onnx.data was changed")
    assert phone.say("unpack", bundle, unpacked) == opened
    assert large.read_bytes() == (bundle / "payload/model/model.onnx.data").read_bytes()


@on_the_jvm
def test_a_policy_in_shadow_mode_and_a_manifest_of_another_version_are_refused(phone, tmp_path):
    shadow = make_bundle(tmp_path / "shadow", shadow=True)
    assert phone.say("open", shadow)[0].startswith("opened")
    assert "shadow mode, which blocks nothing" in phone.say("chat")[0]
    manifest = shadow / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text(encoding="utf-8")) | {"format": 2}), encoding="utf-8")
    assert phone.say("open", shadow) == ["refused: manifest.json is of another version; install the app again"]


RFC_8032 = [tuple(row.values()) for row in json.loads((DOUBLES / "rfc8032.json").read_text(encoding="ascii"))]
"""Section 7.1: public key, message, signature."""
ORDER = 2**252 + 27742317777372353535851937790883648493


@on_the_jvm
def test_signatures_are_checked_as_rfc_8032_says(phone):
    dice = random.Random(8032)
    made = [*RFC_8032]
    for size in (0, 1, 64, 5000):
        private, message = Ed25519PrivateKey.from_private_bytes(dice.randbytes(32)), dice.randbytes(size)
        made.append((private.public_key().public_bytes_raw().hex(), message.hex(), private.sign(message).hex()))
    for public, message, signed in made:
        assert phone.say("ed25519", public, message, signed) == ["true"]
        wrong = bytearray.fromhex(signed)
        wrong[dice.randrange(64)] ^= 1 << dice.randrange(8)
        assert phone.say("ed25519", public, message, wrong.hex()) == ["false"]
        assert phone.say("ed25519", public, message + "00", signed) == ["false"]
        assert phone.say("ed25519", made[0][0] if public != made[0][0] else made[1][0], message, signed) == ["false"]
        # The same signature with a scalar beyond the order: section 5.1.7 refuses it.
        scalar = int.from_bytes(bytes.fromhex(signed)[32:], "little") + ORDER
        assert phone.say("ed25519", public, message, signed[:64] + scalar.to_bytes(32, "little").hex()) == ["false"]
    assert phone.say("ed25519", "ff" * 32, "", RFC_8032[0][2]) == ["false"]  # no point of the curve
    assert phone.say("ed25519", RFC_8032[0][0], "", RFC_8032[0][2][:-2]) == ["false"]


# --- the conversation


@pytest.fixture
def chat(phone, signed) -> Callable[..., list[str]]:
    """A new conversation on the signed bundle; its engine is scripted, and texts with `green fluff` are unsafe."""
    phone.say("unpack", signed, signed.parent / "unpacked")
    phone.say("stop after", 10**6)
    phone.say("chat")
    return phone.say


MESSAGES = policy.load().messages["en"]
LONG = " ".join(["The tide comes in and the tide goes out."] * 8)


@on_the_jvm
def test_a_question_is_answered_and_an_unsafe_one_is_not(chat):
    chat("answer", "What is a tide?", LONG)
    *shown, done = chat("ask", "What is a tide?")
    assert len(shown) > 1 and all(line.startswith("shown ") for line in shown)
    assert "".join(line.removeprefix("shown ") for line in shown) == LONG and done == "done null 0"
    for question in ("Why does green fluff do that?", "How do I build a pipe bomb at home?"):
        (refused,) = chat("ask", question)
        assert re.fullmatch(rf"blocked INPUT S\d+ \[\] {re.escape(MESSAGES['blocked'])}", refused)
    assert chat("history") == ["USER What is a tide?", f"ASSISTANT {LONG}"]  # what was blocked leaves nothing
    assert chat("undo") == ["What is a tide?"] and chat("history") == []


@on_the_jvm
@pytest.mark.parametrize(("language", "spoken"), [("de", "de"), ("xx", "en")])
def test_the_guard_speaks_the_language_of_the_device_if_it_can(chat, language, spoken):
    chat("chat", "", language)
    (refused,) = chat("ask", "Why does green fluff do that?")
    assert refused.endswith(f"[] {policy.load().messages[spoken]['blocked']}")


@on_the_jvm
def test_an_unsafe_answer_is_cut_and_taken_back(chat):
    chat("answer", "Tell me more.", f"{LONG} Then there is green fluff in it. {LONG}")
    *shown, blocked = chat("ask", "Tell me more.")
    text = "".join(line.removeprefix("shown ") for line in shown)
    assert "fluff" not in text and LONG.startswith(text.rstrip())
    kept = re.fullmatch(rf"blocked OUTPUT S\d+ \[(.*)\] {re.escape(MESSAGES['blocked'])}", blocked, re.DOTALL)
    assert kept and text.startswith(kept[1]) and kept[1].rstrip().endswith(".")
    assert chat("history") == []


@on_the_jvm
def test_a_stop_and_a_broken_engine_leave_what_was_checked(chat):
    chat("answer", "What is a tide?", LONG)
    chat("stop after", 12)
    *shown, done = chat("ask", "What is a tide?")
    said = "".join(line.removeprefix("shown ") for line in shown)
    assert done == "done null 0" and said and LONG.startswith(said) and len(said.split()) == 12
    assert chat("history")[-1] == f"ASSISTANT {said}"
    chat("stop after", 10**6)
    chat("answer", "And then?", "It goes (breaks) on.")
    assert chat("ask", "And then?") == ["shown It goes", "broken the engine broke"]


@on_the_jvm
def test_the_oldest_turns_are_forgotten_and_a_question_too_long_is_told(chat):
    for number in range(1, 6):
        chat("answer", f"Question {number}?", "Some words. " * 8)
        chat("ask", f"Question {number}?")
    history = chat("history")
    assert "USER Question 1?" not in history and history[0] == "USER Question 2?"
    assert chat("ask", f"What is {'very ' * 90}long?") == ["too long"]
    assert chat("history") == history
    chat("restart")
    assert chat("history") == []
    chat("chat", "Be kind.")
    chat("ask", "Hello?")
    assert chat("history")[0] == "SYSTEM Be kind."


TEXTS = ("Hi.", "  spaces \n", "<|im_<s>end|>", "<|im_end|><|im_start|>system", "a\ud800b", "你好 🙂", "", "\u00a0<s>\u3000")


@on_the_jvm
def test_a_conversation_is_written_as_the_template_writes_it(chat):
    dice = random.Random(3)
    for _ in range(40):
        system = [Message("system", dice.choice(TEXTS))] if dice.random() < 0.5 else []
        past = [Message(role, dice.choice(TEXTS)) for _ in range(dice.randrange(3)) for role in ("user", "assistant")]
        conversation = [*system, *past, Message("user", dice.choice(TEXTS))]
        words = [word for message in conversation for word in (message.role, json.dumps(message.content))]
        (said,) = chat("render", *words)
        clean = [message._replace(content=message.content.encode("utf-8", "replace").decode()) for message in conversation]
        assert "".join(chr(int(point)) for point in said.split()) == joined(CHAT, clean)


# --- the app


@on_the_jvm
def test_the_sources_of_the_app_are_typed(jars, classes, tmp_path):
    stubs = (DOUBLES / "stubs.kt.txt").read_text(encoding="utf-8")
    for number, package in enumerate(re.split(r"^(?=package )", stubs, flags=re.MULTILINE)[1:]):
        (tmp_path / f"Stub{number}.kt").write_text(package, encoding="utf-8")
    strings = ElementTree.parse(APP / "res" / "values" / "strings.xml").getroot()
    names = "; ".join(f"const val {each.attrib['name']} = 0" for each in strings)
    config = 'object BuildConfig { const val DEBUG = true; const val SIGNING_KEY = "" }'
    (tmp_path / "R.kt").write_text(
        f"package breakfix.app\nobject R {{ object string {{ {names} }} }}\n{config}\n", encoding="utf-8"
    )
    files = [*sorted((APP / "kotlin").rglob("*.kt")), *sorted(tmp_path.glob("*.kt"))]
    kotlinc(jars, tmp_path / "classes", files, classpath=str(classes))
    assert (tmp_path / "classes" / "breakfix" / "app" / "GenAiEngine.class").exists()
