"""Words that are out, and what is said instead: checked over code, log messages, pages and tests.

The terms in use are in docs/glossary.md. A word that is renamed is added here when the last of its uses has gone.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# a regular expression, and what is said instead
OUT = {
    r"\bis there (already|twice)\b(?=`|\"|')": "`is already defined`, or `duplicate ...`",
    r"` is no (method|host|network|source|plugin|phase|target|expression|place|timeout|mode|form|redirect)\b[\"`; ]": (
        "`is not a valid ...`"
    ),
    r"\bbadly framed\b": "malformed framing",
    r"\bended before its end\b": "ended prematurely",
    r"\bnobody's business\b": "does not reveal ... to unauthorized clients",
    r"gives them less to lose": "use --user NAME to drop privileges",
    r"the loop is held by|\bholds the loop\b": "Python code is blocking the event loop",
    r"reload refused, generation": "reload failed; still serving generation N",
    r"\bThe ground of\b": "Base class for",
    r"\bAttendants?\b": "`RequestFutures`, a pool of request futures",
    r"\bDeparture\b": "`DisconnectWatcher`",
    r"\b_bury\b": "`_on_exit`",
    r"\b(OwnAnswer|OwnBody|own_answer)\b": "`LocalReply`, `local_reply`",
    r"\bIntroduction\b": "`proxy_header`, or what is told of the client",
    r"\b_hear\b": "`_on_message`",
    r"\b(say_)?goodbye\b": "`close_websockets`, a close alert, or shutting down",
    r"\bobey\b": "`handle`",
    r"\b(fixed|error|own|streamed) answers?\b": "a fixed response, an error response, a local reply",
    r"\bput(s|ting)? (it |that |all |what was prepared )?in force\b": "apply",
    r"\b(0|null) is no bound\b": "`0 means no limit`",
    r"\b(client_left|upstream_cut|file_cut|body_used_up|endless_interim|unasked_\w+|no_answer)\b": (
        "the kinds of docs/reference/failures.md"
    ),
    r"\b(HookAnswer|FileAnswer|AnswerBody|NoAnswer|BadAnswer)\b": "response, or local reply",
    r"\bbefore it answered\b|\btook too long to answer\b": "`responded`, `respond`",
    r"(?<!DNS )\b[Aa]nswer(s|ed|ing)?\b": "response, respond; reply for local ones and for commands",
    r"sent what is not understood": "invalid message from",
    r"\bhang (it|them) on\b": "register",
    r"` is (at least|at most) (?=\d|\{)": "`...` must be at least ...",
    r"\bthere is no (folder|file) `": "`...` does not exist",
    r"\b(none given|says? nothing else|who says nothing)\b": "default: ...",
    r"\bis_deaf\b": "`upload_closed`",
    r"\bbreathe\b": "`yield_gil`",
    r"\bis_leaving\b": "`is_shutting_down`",
    r"\bthe gateway goes away\b": "the gateway is shutting down",
    r"\b(OwnServer|leaves_nobody|late_client)\b": "`ReservedServer`, `is_disconnect`, `client_body_timeout`",
}

FOLDERS = ("src", "crates", "docs", "tests", "examples", "bench", "demo", "tools", "changes", "fuzz")
SUFFIXES = {".py", ".pyi", ".rs", ".md", ".toml", ".yaml", ".json", ".sh"}
NOT_OURS = (
    "fuzz/target/",
    "tests/data/",
    "bench/lab/peers/",
    "tools/check_words.py",
    "changes/failure-kinds.changed.md",
    "changes/test-response.changed.md",
    "tests/unit/test_words.py",
)


def files(root: Path) -> Iterator[Path]:
    """Every text that people read, but for what others have written and for this list."""
    yield from root.glob("*.md")
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.suffix in SUFFIXES and path.is_file() and not name.startswith(NOT_OURS):
                yield path


def faults(root: Path, out: dict[str, str]) -> Iterator[str]:
    """`file:line: word; hint: what is said instead` for each use of a word that is out."""
    words = re.compile("|".join(f"(?:{word})" for word in out))
    for path in files(root):
        text = path.read_text(encoding="utf-8")
        for found in words.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            instead = next(said for word, said in out.items() if re.compile(word).match(text, found.start()))
            yield f"{path.relative_to(root)}:{line}: `{found[0].strip()}` is out; hint: {instead}"


def main() -> int:
    """Prints the faults; the exit code says whether there are any."""
    found = list(faults(ROOT, OUT))
    print("\n".join(found) if found else "no word is out", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
