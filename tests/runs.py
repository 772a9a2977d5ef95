"""Runs of the tests' own paper, from plan to record."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench import engine, evaluate, plan, resume
from bench.evaluate import Job
from bench.plan import Planned, Selection

RESULTS = Path("results")  # every test runs in a folder of its own


def planned(chosen, settings, checkpoint="good", dataset="sample", degradation="bi", **more):
    """The planned run of one checkpoint on one data set."""
    wanted = Selection([checkpoint], [dataset], [degradation], **more)
    return plan.plan(chosen, wanted, settings)[0]


def job(chosen, settings, clips=(), item: Planned | None = None, **wanted) -> Job:
    """The job of that run."""
    item = item or planned(chosen, settings, **wanted)
    return evaluate.job(item, chosen, clips, settings, RESULTS)


def measure(chosen, settings, clips=(), overwrite="only-missing", how=engine.in_process, **wanted):
    """What became of that run."""
    one = job(chosen, settings, clips, **wanted)
    todo = [(one, resume.missing(one, clips, overwrite))]
    return engine.execute(todo, how)[0]


def bare(whole):
    """The record without its provenance."""
    data = msgspec.to_builtins(whole)
    del data["provenance"]
    for clip in data["clips"]:
        del clip["provenance"]
    return data
