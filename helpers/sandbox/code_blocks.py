"""Find the code in a model's Markdown answer."""

import ast
from contextlib import suppress
from dataclasses import dataclass

from markdown_it import MarkdownIt

# Without HTML and indented code, fences inside <details> and behind deep indents are found as well.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).disable("code")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced code block: language ("" if none), text, and whether the closing fence was there."""

    language: str
    code: str
    complete: bool


def code_blocks(markdown: str) -> list[CodeBlock]:
    """Return the fenced code blocks of a Markdown text in order, by CommonMark's rules for fences."""
    blocks = []
    for token in _MARKDOWN.parse(markdown.rstrip("\r\n") + "\n"):
        if token.type == "fence" and token.map:
            first_word = token.info.strip().strip("{}").lstrip(".").partition(" ")[0].partition("{")[0]
            lines_inside = token.map[1] - token.map[0] - 2  # all lines without the two fences
            complete = token.content.count("\n") == lines_inside
            blocks.append(CodeBlock(first_word.lower(), token.content, complete))
    return blocks


def python_blocks(markdown: str) -> list[CodeBlock]:
    """Return the blocks marked as Python; if none is, those without a language that are valid Python."""
    blocks = code_blocks(markdown)
    marked = [block for block in blocks if block.language in ("python", "python3", "py")]
    return marked or [block for block in blocks if block.language == "" and _is_python(block.code)]


def _is_python(code: str) -> bool:
    with suppress(SyntaxError, ValueError):
        return bool(ast.parse(code).body)
    return False
