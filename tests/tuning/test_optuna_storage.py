"""The Optuna storage that lies beside the choices: Optuna reads it, and optuna-dashboard serves it."""

import io
import json

import optuna
import pytest

from harness.tuning.keeping import keep, storage_path
from harness.tuning.search import search


@pytest.fixture
def kept(load, formula, tmp_path):
    study = load(("folds: 3", "folds: 3\n  pruner: median"), ("trials: 6", "trials: 12"))
    train = formula(tmp_path, fails=lambda spec: spec.optimizer.lr == 1e-3)
    methods = search(study, tmp_path, train, lambda found: keep(study, found, tmp_path, f"sqlite:///{tmp_path}/h.db"))
    return methods, f"sqlite:///{storage_path(tmp_path, 'mini', None)}"


def test_optuna_loads_every_method_with_all_of_its_trials(kept):
    methods, url = kept
    assert set(optuna.get_all_study_names(url)) == {"proxy_nca", "triplet + semihard", "triplet + random"}
    for method in methods:
        found = optuna.load_study(study_name=method.label, storage=url)
        assert found.direction.name == "MAXIMIZE"
        assert [trial.state.name for trial in found.trials] == [
            {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}[trial.state] for trial in method.trials
        ]
        assert found.best_value == method.best.score
        assert found.trials[0].state.name == "FAIL"


def test_nothing_half_written_is_left_in_the_folder(kept, tmp_path):
    assert {entry.name for entry in (tmp_path / "mini").iterdir()} == {"optuna.db", "study.json"}


@pytest.mark.filterwarnings("ignore::Warning:optuna_dashboard", "ignore::DeprecationWarning")
def test_optuna_dashboard_serves_it(kept):
    from optuna_dashboard import wsgi

    app = wsgi(kept[1])
    told = {}

    def start(status, headers, error=None):
        told["status"] = status

    request = {"REQUEST_METHOD": "GET", "PATH_INFO": "/api/studies", "QUERY_STRING": "", "wsgi.url_scheme": "http"}
    request |= {"wsgi.errors": io.StringIO(), "wsgi.input": io.BytesIO()}
    request |= {"SERVER_NAME": "localhost", "SERVER_PORT": "8080", "HTTP_HOST": "localhost:8080"}
    body = json.loads(b"".join(app(request, start)))
    assert told["status"] == "200 OK"
    assert len(body["study_summaries"]) == 3
