"""What a person sees of a text that comes from outside."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.domain.visible import page, visible


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        ("Zażółć gęślą, 東京", "Zażółć gęślą, 東京"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\nb\rc\td\x00\x7f", r"a\nb\rc\td\x00\x7f"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("\u2028\u2029\x0b\x0c", r"\u2028\u2029\x0b\x0c"),
        ("invoice\u202egnp.exe", r"invoice\u202egnp.exe"),
        ("\u061c\u200e\u200f\u2066\u2069", r"\u061c\u200e\u200f\u2066\u2069"),
        ("acc\u200b_1\ufeff\xad", r"acc\u200b_1\ufeff\xad"),
        ("acc\u200d_1", r"acc\u200d_1"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\ud83d", r"\ud83d"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_moves_a_cursor_turns_or_hides_text_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_nothing_is_left_that_controls_a_terminal(text: str) -> None:
    shown = visible(text)
    assert len(shown.splitlines()) <= 1
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}]
    assert not [c for c in shown if unicodedata.bidirectional(c) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI"}]
    assert visible(shown) == shown


def test_of_a_text_of_several_lines_the_breaks_may_stay() -> None:
    assert visible("a\nb\x1b", keep="\n") == "a\nb\\x1b"


def test_a_value_with_a_line_break_passes_for_no_line_of_ours() -> None:
    assert page(["one", "two\nrun 1: completed"]) == "one\ntwo\\nrun 1: completed"
