"""The examples in docs/market.md do what they say."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "market.md"


def test_examples():
    # The page breaks a long message with a backslash; code fences are not part of the output.
    text = PAGE.read_text().replace("\\\n", "").replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(test.examples) > 10
    assert doctest.DocTestRunner().run(test).failed == 0
