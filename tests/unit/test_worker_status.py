"""What a worker may say of itself."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alexandria.domain.errors import DomainError
from alexandria.domain.worker_status import MAX_MESSAGE_LENGTH, WorkerStatus

FORMS = re.compile(r"Idle|Offline|Training Graph on .+|Error: .+")
ANY_TEXT = st.text(st.characters(codec=None, categories=None) | st.sampled_from("\n\r\x00\x85\u2028 \udcff"))


def test_statuses_have_their_fixed_words() -> None:
    url = "https://github.com/pallets/flask"
    assert str(WorkerStatus.idle()) == "Idle"
    assert str(WorkerStatus.offline()) == "Offline"
    assert str(WorkerStatus.training(url)) == "Training Graph on https://github.com/pallets/flask"
    assert str(WorkerStatus.error("the clone failed")) == "Error: the clone failed"


@settings(max_examples=300)
@given(text=ANY_TEXT, make=st.sampled_from([WorkerStatus.training, WorkerStatus.error]))
@example("\n" * 2000 + "late", WorkerStatus.error)
def test_property_11_status_has_one_of_the_forms(text: str, make: object) -> None:
    status = make(text)  # type: ignore[operator]  # one of two class methods
    assert FORMS.fullmatch(status.text)
    assert len(status.text.splitlines()) == 1
    assert status.text == status.text.strip()
    assert WorkerStatus(status.text.encode().decode()) == status


@settings(max_examples=300)
@given(
    text=ANY_TEXT | st.sampled_from(["", "Idle ", "idle", "Error:", "Error: ", "Training Graph on  ", "Error: a\nb"])
)
def test_property_11_text_of_no_form_makes_no_status(text: str) -> None:
    try:
        status = WorkerStatus(text)
    except DomainError:
        return
    assert FORMS.fullmatch(status.text)


@pytest.mark.parametrize(
    "text",
    ["", "Idle ", "idle", "Error:", "Error: ", "Error:  ", "Training Graph on", "Error: a\nb", "Error: \udcff", "Busy"],
)
def test_text_of_no_form_is_refused(text: str) -> None:
    with pytest.raises(DomainError):
        WorkerStatus(text)


@given(message=st.text(min_size=MAX_MESSAGE_LENGTH, max_size=3 * MAX_MESSAGE_LENGTH))
def test_error_is_cut(message: str) -> None:
    assert len(WorkerStatus.error(message).text) <= len("Error: ") + MAX_MESSAGE_LENGTH


def test_address_is_never_cut() -> None:
    url = "https://gitlab.com/" + "/".join(["group" * 40] * 10)
    assert WorkerStatus.training(url).text == f"Training Graph on {url}"


@pytest.mark.parametrize("message", ["", " ", "\n\t\x00"])
def test_error_without_a_message_says_so(message: str) -> None:
    assert WorkerStatus.error(message).text == "Error: unknown"


def test_lines_are_joined_and_undecodable_bytes_replaced() -> None:
    assert WorkerStatus.error("no such file:\n  a\udcff.py").text == "Error: no such file:   a\ufffd.py"
