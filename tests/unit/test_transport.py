from __future__ import annotations

import pytest

from alexandria.domain.transport import is_private_dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@db.example/x?sslmode=require",
        "postgresql://u:p@db.example/x?sslmode=verify-full&channel_binding=require",
        "postgresql://u:p@localhost:5432/x",
        "postgresql://u:p@127.0.0.9/x",
        "postgresql://u:p@[::1]:5432/x",
        "postgresql://u:p@localhost:1,127.0.0.1:2/x",
        "postgresql://u@/x?host=/run/postgresql",
        "postgresql://u@%2Frun%2Fpostgresql/x",
    ],
)
def test_a_database_that_nobody_on_the_way_can_read_along_is_private(dsn: str) -> None:
    assert is_private_dsn(dsn)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@db.example/x",
        "postgresql://u:p@db.example/x?sslmode=prefer",
        "postgresql://u:p@db.example/x?sslmode=require&sslmode=disable",
        "postgresql://u:p@db.example/x?host=localhost",
        "postgresql://u:p@localhost/x?host=db.example",
        "postgresql://u:p@localhost:1,db.example:2/x",
        "postgresql://u@/x?host=/tmp,db.example",
        "postgresql://u:p@10.0.0.1/x",
        "postgresql:///x",
    ],
)
def test_a_database_that_may_be_spoken_to_in_the_clear_is_not(dsn: str) -> None:
    assert not is_private_dsn(dsn)
