"""What the other processes of tests do; imports little, since each of them pays for it."""

import os

from sqlalchemy import text

from harness.store.engine import open_engine
from harness.store.lease import Lease


def count_up(url, times):
    engine = open_engine(url, write=True)
    for _ in range(times):
        with engine.begin() as connection:
            row = connection.execute(text("select pid from attempts")).scalar_one()
            connection.execute(text("update attempts set pid = :pid"), {"pid": row + 1})


def create(url, go):
    go.wait()
    open_engine(url, write=True)


def die_holding(path):
    assert Lease.take(path)
    os._exit(9)
