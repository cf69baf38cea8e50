"""What the other processes of tests do; imports little, since each of them pays for it."""

import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from sqlalchemy import text

from harness.store import database, migrations
from harness.store import merge as merging
from harness.store.database import collect
from harness.store.engine import open_engine
from harness.store.frames import Database
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


def collect_at_once(url, results, threads, go, told):
    """Collects in so many threads until the folder `results/enough` is there; tells the count or the error of each."""
    go.wait()
    with ThreadPoolExecutor(threads) as pool:
        for found in [pool.submit(_collect_until_enough, url, results) for _ in range(threads)]:
            error = found.exception()
            told.put(found.result() if error is None else repr(error))


def _collect_until_enough(url, results):
    count = 0
    while not (results / "enough").exists():
        count += collect(url, results)
    return count


def collect_in_small_batches(url, results):
    """A collect of many transactions, so that a kill falls between them or into one."""
    database.BATCH = 3
    collect(url, results)


def upgrade(url):
    Database(url)


def upgrade_slowly(url, inside):
    """Brings a database up to date, and stays in the middle of the last step."""

    def slowly(connection):
        step(connection)
        inside.set()
        time.sleep(60)

    last = max(migrations.MIGRATIONS)
    step = migrations.MIGRATIONS[last]
    migrations.MIGRATIONS[last] = slowly
    Database(url)


def copy_slowly(url, inside):
    """The same, in the middle of copying the database before."""

    class Slow(sqlite3.Connection):
        def backup(self, target, **options):
            target.execute("create table half (a)")
            target.commit()
            inside.set()
            time.sleep(60)

    connect = sqlite3.connect
    migrations.sqlite3 = SimpleNamespace(connect=lambda file: connect(file, factory=Slow))
    Database(url)


def merge_in_small_batches(url, other):
    merging.BATCH = 3
    merging.merge(url, [other])
