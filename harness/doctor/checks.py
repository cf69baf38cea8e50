"""The table of all checks. A new one is a function and a line here; README, help and `--json` follow."""

from __future__ import annotations

from harness.doctor import machine, slurm, software, storage
from harness.doctor.examine import Check
from harness.doctor.probe import LIMIT_S
from harness.doctor.software import TOGETHER

IMPORTS_S = LIMIT_S + 20
FILES_S = 30.0
HANGS = "look whether the file system answers (`ls` in the folder); a server that is gone makes everything on it hang"
SLURM = "look whether `sinfo` answers; ask whoever runs the cluster if it does not"

CHECKS = (
    Check("python", software.python, TOGETHER),
    Check("packages", software.packages, TOGETHER),
    Check("constraints", software.constraints, TOGETHER),
    Check("code", software.code, "look whether git answers in the folder of the harness", FILES_S),
    Check("torch", software.torch, TOGETHER, IMPORTS_S),
    Check("torchvision", software.torchvision, TOGETHER, IMPORTS_S),
    Check("faiss", software.faiss, f"set HARNESS_FAISS=cpu, or install another build of faiss; {TOGETHER}", IMPORTS_S),
    Check("gpus", machine.gpus, "see the line `torch`, and look whether nvidia-smi answers", IMPORTS_S),
    Check("cores", machine.cores, "give the number of workers by --workers"),
    Check("threads", machine.threads, "unset OMP_NUM_THREADS"),
    Check("memory", machine.memory, "give the number of workers by --workers"),
    Check("open_files", machine.open_files, "ulimit -n 4096"),
    Check("home", machine.home, "export HOME as a folder that you may write to", FILES_S),
    Check("weights", machine.weights, "export TORCH_HOME as a folder that you may write to", IMPORTS_S),
    Check("results", storage.results, HANGS, FILES_S),
    Check("file_system", storage.file_system, HANGS, FILES_S),
    Check("clock", storage.clock, HANGS, FILES_S),
    Check("disk", storage.disk, HANGS, FILES_S),
    Check("database", storage.database, "choose another database by --db, or look who holds its lock", FILES_S),
    Check("data", storage.data, "name a folder that you may read by --data or HARNESS_DATA", 120.0),
    Check("slurm", slurm.reachable, SLURM),
    Check("slurm_limits", slurm.limits, SLURM),
    Check("slurm_times", slurm.times, SLURM),
    Check("slurm_accounting", slurm.accounting, SLURM),
)
