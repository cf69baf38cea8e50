"""A database that does not exist yet is made by whoever comes first, however many come at once."""

import threading

from harness.store.database import record_study
from harness.store.frames import Database


def test_many_launches_may_make_the_same_new_database(tmp_path):
    """Changing the journal to WAL does not wait for its turn by itself; one in 240 launches failed by that."""
    errors = []

    def launch(url, name, together):
        together.wait()
        try:
            record_study(url, name, None, [])
        except Exception as error:
            errors.append(error)

    for attempt in range(25):
        url, together = f"sqlite:///{tmp_path}/{attempt}.db", threading.Barrier(8)
        threads = [threading.Thread(target=launch, args=(url, f"study_{i}", together)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(Database(url).studies()["study"]) == [f"study_{i}" for i in range(8)]
    assert errors == []
