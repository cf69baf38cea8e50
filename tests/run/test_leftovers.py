"""What submissions to a cluster leave behind goes when it is old and nobody needs it."""

import os
import time

import pytest

from harness.dispatch.leftovers import remove_old_submissions

DAY = 24 * 3600


@pytest.fixture
def submission(tmp_path):
    """Makes the folder of a submission in which nothing was written for so long."""

    def make(job, age_s):
        folder = tmp_path / f"harness-mini-{job}"
        folder.mkdir()
        for name in (f"{job}_submission.sh", f"{job}_0_0_log.out", f"{job}_0_result.pkl.save_tmp"):
            (folder / name).write_text("")
        (folder / ".submission_file_1.sh").symlink_to(folder / f"{job}_submission.sh")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - age_s,) * 2, follow_symlinks=False)
        return folder

    return make


def test_only_old_submissions_without_living_jobs_are_removed(submission):
    old, living, single = (submission(job, 2 * DAY) for job in (1, 2, 3))
    young = submission(4, DAY / 2)
    remove_old_submissions([old, living, single, young], ["2_7", "3"])
    assert [folder.exists() for folder in (old, living, single, young)] == [False, True, True, True]


def test_one_file_that_was_written_lately_keeps_a_submission(submission):
    folder = submission(1, 2 * DAY)
    os.utime(folder / "1_0_0_log.out")
    remove_old_submissions([folder], [])
    assert folder.exists()
