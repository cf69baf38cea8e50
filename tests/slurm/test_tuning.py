"""Tuning on a cluster: the launching process proposes, jobs train, and the choices are those of any other machine."""

from dataclasses import replace

import pytest

from harness.store.spool import run_folders

TUNE = """\
tune:
  trials: 3
  folds: 2
  batch: 2
  space: {optimizer: {lr: {log: [1e-4, 1e-2]}}}
"""


@pytest.mark.slow
def test_a_study_is_tuned_on_the_cluster_to_the_same_choices_and_its_test_is_looked_at_there(study):
    study.prepare(seeds=1)
    study.path.write_text(study.path.read_text().replace("batch_size: 16", "batch_size: 8") + TUNE)
    on_cluster = ("--backend", "slurm", "--site", study.site)
    tuned = study.harness("tune", study.path, *on_cluster)
    assert tuned.returncode == 0, tuned.stderr
    assert study.submitted() >= 2, "each batch had workers of its own"
    causes = [attempt.cause for folder in run_folders(study.results) for attempt in folder.attempts()]
    assert causes == ["done"] * 3 * 2

    here = replace(study, folder=study.folder / "here")
    here.folder.mkdir()
    here.prepare()
    here.path.write_text(study.path.read_text())
    assert here.harness("tune", study.path).returncode == 0
    assert (study.results / "mini" / "tuned.yaml").read_text() == (here.results / "mini" / "tuned.yaml").read_text()

    assert "1 of 1 runs done" in study.run()
    looked = study.harness("unseal", study.path, *on_cluster)
    assert looked.returncode == 0, looked.stderr
    assert "look 1 at the test classes" in looked.stderr
