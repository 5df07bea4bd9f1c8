"""What the chain command does: the plan, then one step after the other, then a line for each."""

from __future__ import annotations

import shlex
from pathlib import Path

from sed_model.core import cli
from sed_model.run_folder.folder import RunFolder
from trainables.chaining.budget import Wanted
from trainables.chaining.ending import check_export, end_steps
from trainables.chaining.ledger import FIRST, KAGGLE, LABELS, Ledger
from trainables.chaining.options import ChainOptions
from trainables.chaining.search_steps import Searching, plan_of, search_steps, wanted_of
from trainables.chaining.student_steps import run_of_round, student_steps
from trainables.chaining.texts import plan_lines, span, summary_lines
from trainables.keeping.driver_lock import check_free, only_driver
from trainables.on_ray.cluster import joined_address, machine_for, ray_session
from trainables.searching.checks import check_place
from trainables.searching.run import check_cluster
from trainables.searching.setup import Prepared, prepare


def run_chain(options: ChainOptions) -> None:
    """Do the steps that are not done yet, as far as the hours reach; the Kaggle folder is always made.

    Raises:
        UserError: of the kind of the input that is wrong, or the chain was begun with other settings.
    """
    check_place(options.out, options.run.name)
    check_export()
    ledger = Ledger(options.folder, options.settings())
    if not options.plan:
        check_free(options.folder)
    prepared = None if ledger.has(LABELS) else ready_search(options, ledger)
    wanted = ledger.record.wanted if prepared is None else wanted_of(options, prepared)
    if wanted is not None:
        tell_plan(options, ledger, wanted)
    if options.plan:
        print("\nonly the plan: nothing was started; leave --plan out to begin", flush=True)
        return
    with only_driver(options.folder, "chain"), ledger.counting():
        if prepared is not None or ledger.record.kept_round is None:
            train(options, ledger, prepared, wanted)
        kept = run_of_round(options, ledger.record.kept_round or 0)
        end_steps(kept, options.folder, ledger)
    tell_summary(options, ledger, kept)


def ready_search(options: ChainOptions, ledger: Ledger) -> Prepared:
    """The search of the chain, new or gone on with, whose input is right."""
    is_begun = not ledger.is_new and RunFolder(options.run).search_file.is_file()
    machine = machine_for(options.address)
    prepared = prepare(options.search(is_begun), machine)
    if machine is not None:
        check_cluster(prepared.job, machine)
    return prepared


def train(options: ChainOptions, ledger: Ledger, prepared: Prepared | None, wanted: Wanted | None) -> None:
    """The steps that need Ray, which is started once for all of them."""
    with ray_session(joined_address(options.address)) as cluster:
        if prepared is not None and wanted is not None:
            check_cluster(prepared.job, cluster)
            search = options.search(resume=prepared.run.search_file.is_file())
            search_steps(Searching(options, search, prepared, cluster, ledger, wanted))
        student_steps(options, ledger, plan_of(ledger, options.budget_s))


def tell_plan(options: ChainOptions, ledger: Ledger, wanted: Wanted) -> None:
    is_measured = ledger.has(FIRST)
    known = "" if is_measured else "; the first trials tell how much fits, and the plan is then made again"
    spent = "" if ledger.is_new else f", of which {span(ledger.spent_s)} are spent"
    print(f"\nplan: {span(options.budget_s)}{spent}{known}", flush=True)
    plan = plan_of(ledger, options.budget_s) if is_measured else None
    print("\n".join(plan_lines(options, wanted, ledger.record, plan)), flush=True)


def tell_summary(options: ChainOptions, ledger: Ledger, kept: Path) -> None:
    print("", *summary_lines(ledger.record, options.budget_s), sep="\n", flush=True)
    folder = options.folder / KAGGLE
    print(
        f"\ndelivered       {kept}\nKaggle folder   {folder}  (its README.md tells how to attach and run it)",
        flush=True,
    )
    scapes = cli.soundscapes_to_predict(Path(RunFolder(kept).read_search()["data"]["folder"]))
    cli.print_next(
        f"python -m analysis.report --run {shlex.quote(str(kept))}",
        f"python {shlex.quote(str(folder / 'predict.py'))} --soundscapes {scapes} --out submission.csv",
    )
