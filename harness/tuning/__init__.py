"""Equal tuning: every method of a study gets the same number of trials on folds of the training classes.

`search` asks Optuna and tells it what the folds gave; `folds` knows which runs a trial is and what they say; `choices`
keeps what was chosen in `tuned.yaml`; `final` puts the choices into the study; `unsealing` looks at the test classes.
"""

from harness.tuning.choices import Choices, read_choices, tuned_path
from harness.tuning.final import with_choices
from harness.tuning.search import Method, Trial, search
from harness.tuning.unsealing import unseal

__all__ = ["Choices", "Method", "Trial", "read_choices", "search", "tuned_path", "unseal", "with_choices"]
