"""Code blocks in Markdown answers."""

import pytest

from helpers.sandbox.code_blocks import CodeBlock, code_blocks, python_blocks

ONE = CodeBlock("python", "x = 1\n", True)


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        pytest.param("No code, only `x = 1`.", [], id="none"),
        pytest.param("Text\n```python\nx = 1\n```\nmore", [ONE], id="backticks"),
        pytest.param("~~~python\nx = 1\n~~~\n", [ONE], id="tildes"),
        pytest.param("`````python\nx = 1\n`````", [ONE], id="longer fence"),
        pytest.param("```python\nx = 1\n`````\n", [ONE], id="longer closing fence"),
        pytest.param('```Python title="cnn.py" {1-3}\nx = 1\n```', [ONE], id="info string"),
        pytest.param("```{.python .numberLines}\nx = 1\n```", [ONE], id="attributes"),
        pytest.param("```python{1}\nx = 1\n```", [ONE], id="attributes without a space"),
        pytest.param("```\nx = 1\n```", [CodeBlock("", "x = 1\n", True)], id="no language"),
        pytest.param("```python\r\nx = 1\r\n```\r\n", [ONE], id="carriage returns"),
        pytest.param("1. Step\n\n   ```python\n   x = 1\n   ```\n2. Next", [ONE], id="in a list"),
        pytest.param("Step:\n\n      ```python\n      x = 1\n      ```\n", [ONE], id="indented by six"),
        pytest.param("> ```python\n> x = 1\n> ```", [ONE], id="in a quotation"),
        pytest.param("<details>\n```python\nx = 1\n```\n</details>", [ONE], id="in HTML"),
        pytest.param(
            "```python\nif x:\n    y\n\n    z\n```",
            [CodeBlock("python", "if x:\n    y\n\n    z\n", True)],
            id="indents",
        ),
        pytest.param(
            "```python\nx = 1\n```\nand\n```sh\nls\n```", [ONE, CodeBlock("sh", "ls\n", True)], id="two"
        ),
        pytest.param(
            "````md\n```python\nx = 1\n```\n````",
            [CodeBlock("md", "```python\nx = 1\n```\n", True)],
            id="nested",
        ),
        pytest.param("```python\nx = 1\n", [CodeBlock("python", "x = 1\n", False)], id="cut after a line"),
        pytest.param("```python\nx = (1", [CodeBlock("python", "x = (1\n", False)], id="cut in a line"),
        pytest.param(
            "```python\nx = 1\n``", [CodeBlock("python", "x = 1\n``\n", False)], id="cut in the closing fence"
        ),
        pytest.param("```python", [CodeBlock("python", "", False)], id="cut after the opening fence"),
        pytest.param(
            "- a\n  ```python\n  x = 1\n  y = ",
            [CodeBlock("python", "x = 1\ny = \n", False)],
            id="cut in a list",
        ),
        pytest.param("```python\n```", [CodeBlock("python", "", True)], id="empty"),
    ],
)
def test_code_blocks(markdown: str, expected: list[CodeBlock]) -> None:
    assert code_blocks(markdown) == expected


def test_every_beginning_of_an_answer_is_incomplete_inside_its_block() -> None:
    answer = "Here:\n\n```python\ndef f():\n\n    return '~~~'\n```\n\nDone."
    inside = range(answer.index("```") + 3, answer.index("\n```\n") + 4)
    for end in range(len(answer) + 1):
        blocks = code_blocks(answer[:end])
        assert [block.complete for block in blocks] == (
            [False] if end in inside else [True] * (end >= inside.stop)
        ), end


def test_python_blocks_prefers_the_marked_ones() -> None:
    picture = "```\ninput -> conv -> output\n```\n"
    assert python_blocks(picture + "```python\nx = 1\n```\n```bash\nls\n```") == [ONE]
    assert python_blocks(picture + "```\nx = 1\n```") == [CodeBlock("", "x = 1\n", True)]
    assert python_blocks(picture) == []
