"""Planning a study: how long the missing runs would take, and how much disk, before anything is trained.

Runs that cannot differ in speed are one cell (`cells`). The pace of a cell is what finished runs of it took on the same
kind of device (`known`), else what a rehearsal on this machine takes (`rehearsal`). From paces follow the cost of each
run (`pace`), from these the time of all on so many workers (`schedule`), and the disk (`plan`).
"""
