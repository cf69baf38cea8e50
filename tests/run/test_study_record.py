"""What a launch keeps of its study beside the report, so that a lost database can be made again."""

import pytest

from harness import launch as launching
from harness.launch import Machine, launch
from harness.store.frames import Database
from harness.store.rebuild import rebuild
from harness.store.spool import RunFolder
from harness.store.study_records import read_record, record_path
from harness.study import Study

STUDY = """\
schema: 1
name: mini
question: Does everything hold together?
run:
  dataset: {name: glyphs, instances: 6, classes: 8}
  backbone: {name: convnet, embedding_dim: 8}
  sampler: class_balanced
  training: {epochs: 1, batch_size: 16, augmentation: none}
seeds: 2
grid:
  - {question: Which miner?, objective: triplet, miner: [random, semihard]}
profiles:
  more: {seeds: 3}
"""


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """Launches the study without training anything; gives the study and the database."""
    (tmp_path / "mini.yaml").write_text(STUDY)
    monkeypatch.setattr(launching, "complete", lambda *arguments, **places: None)
    url = f"sqlite:///{tmp_path}/harness.db"

    def run(**options):
        study = Study.load(tmp_path / "mini.yaml", **options)
        launch(study, results=tmp_path, db=url, data=tmp_path / "data", machine=Machine(slots=1))
        return study

    return run, url


def test_a_launch_keeps_its_study_and_a_partial_one_leaves_the_rest_in_it(launched, tmp_path):
    run, url = launched
    study = run()
    run(only={"miner": "random"})
    more = run(profile="more")
    record = read_record(record_path(tmp_path, "mini", None))
    assert record["file"] == STUDY
    assert record["runs"] == [spec.run_id for spec in study.runs()]
    assert len(read_record(record_path(tmp_path, "mini", "more"))["runs"]) == len(more.runs()) == 6
    for spec in study.runs():
        RunFolder(tmp_path, spec.run_id).write_spec(spec)
    again = f"sqlite:///{tmp_path}/again.db"
    rebuild(again, tmp_path)
    for profile in (None, "more"):
        assert Database(again).runs("mini", profile=profile).equals(Database(url).runs("mini", profile=profile))
    columns = ["study", "profile", "question", "recorded", "about"]
    assert Database(again).studies()[columns].equals(Database(url).studies()[columns])
