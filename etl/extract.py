"""Fetch bars from a source into data/raw_data.parquet, as received.

Loads nothing but settings; asks the source for each symbol; saves what came as text with its
provenance. It renames columns and never validates a value.
"""

if not __package__:
    import sys
    from pathlib import Path

    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse
import logging
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from etl.base import command, run_records, stage_files
from etl.base.clock import Clock
from etl.base.errors import EtlError, NotAsked, SourceError, UnknownSymbol
from etl.calls.forecast import describe_minutes, describe_plan, tell
from etl.calls.ledger import open_ledger
from etl.calls.minute_plan import keep_for_days, keep_for_minutes, make_minute_plan
from etl.calls.plan import make_plan
from etl.contracts.deliveries import Delivery
from etl.contracts.raw_files import OpenFiles, open_raw_files
from etl.credentials.redaction import strike
from etl.reporting.textfile import write_textfile
from etl.settings import SOURCES, Settings, to_symbols
from etl.sources import Order, Source
from etl.sources.paid import find_pending, open_archive
from etl.sources.registry import choose_archives, find_vendors, get_source
from etl.sources.several import VendorBooks, leave_out_actions

log = logging.getLogger("etl")


def main(argv: list[str] | None = None) -> int:
    parser = command.build_parser("etl.extract", __doc__)
    add_options(parser)
    parser.add_argument("--plan", action="store_true", help="show what the next run asks, and why")
    return command.main(
        parser,
        "extract",
        work,
        argv,
        is_reading=lambda args: args.plan,
        tell_end=write_textfile,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", dest="SOURCE", help=f"one of {', '.join(SOURCES)}")
    parser.add_argument(
        "--symbols",
        dest="SYMBOLS",
        type=command.symbols_from_here,
        help="symbols parted by commas, or @file (one a line)",
    )
    parser.add_argument(
        "--path", dest="SOURCE_PATH", type=command.from_here, help="file, folder or glob to read"
    )
    parser.add_argument("--symbol", help="whose bars the files hold, where they do not say it")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if any symbol failed")
    parser.add_argument(
        "--retry", action="store_true", help="ask again what the vendor refused or did not have"
    )
    parser.add_argument(
        "--replay", action="store_true", help="rebuild raw data out of data/archive, without a call"
    )


def work(settings: Settings, args: argparse.Namespace) -> None:
    if args.plan:
        show_plan(settings, args)
    else:
        extract(settings, args)


def show_plan(settings: Settings, args: argparse.Namespace) -> None:
    """Print the plan of the next run; nothing is asked and nothing is written."""
    vendors = find_vendors(settings)
    if not vendors:
        print(f"source {settings.source}: nothing to plan, every run reads all of it")
    earlier: list[VendorBooks] = []
    coming: set[str] = set()
    for vendor in vendors:
        if len(vendors) > 1:
            print(f"{vendor.name}:")
        ledger = open_ledger(settings.data_dir, vendor, args.retry)
        books = VendorBooks(vendor, open_archive(settings, vendor), ledger)
        for line in plan_vendor(settings, books, earlier, coming, args.retry):
            print(strike(line))
        earlier.append(books)


def plan_vendor(
    settings: Settings,
    books: VendorBooks,
    earlier: list[VendorBooks],
    coming: set[str],
    is_retry: bool,
) -> Iterator[str]:
    """What the next run asks one vendor, in lines; adds to `coming` the symbols of its bars."""
    now, vendor, archive, ledger = datetime.now(UTC), *books
    if pending := find_pending(settings, vendor, archive):
        count = tell(len(pending), "answer")
        yield f"the store has not taken {count} of the archive: they come first, without a call"
    kept = keep_for_minutes(settings, vendor, archive, ledger, now)
    plan = make_plan(settings, vendor, archive, ledger, now, is_retry, kept)
    leave_out_actions(plan, earlier, coming)
    coming.update(call.symbol for call, _ in plan.calls)
    yield from describe_plan(settings, plan, ledger, now)
    if not earlier:  # minutes come of the first vendor alone
        minutes = make_minute_plan(settings, vendor, archive, ledger, now, is_retry)
        kept = keep_for_days(len(plan.order), ledger, now)
        yield from describe_minutes(minutes, kept, ledger, now)


def open_order(args: argparse.Namespace, clock: Clock | None = None) -> Order:
    symbols = getattr(args, "SYMBOLS", None)
    return Order(
        is_retry=getattr(args, "retry", False),
        is_replay=getattr(args, "replay", False),
        symbols=to_symbols(symbols) if symbols else None,
        symbol=(getattr(args, "symbol", None) or "").strip().upper() or None,
        clock=clock or Clock(),
    )


def extract(
    settings: Settings,
    args: argparse.Namespace,
    run: run_records.Run | None = None,
    clock: Clock | None = None,
) -> Source:
    """Act 1: open the source. Act 2: fetch each symbol. Act 3: publish what came.

    Returns the source, which knows more of what it read than the record keeps.
    """
    run = run or run_records.open_run(settings)
    order = open_order(args, clock)
    if order.is_replay:
        settings = replace(settings, chosen_sources=choose_archives(settings))
    with run.record_stage("extract") as record:
        source = get_source(settings, order)
        log.info("extract: %s", describe_source(settings, order))
        has_written = fetch_all(settings, source, run, record)
        if has_written:  # else those of an earlier run stay
            stage_files.record_files(record, settings.raw_path, settings.raw_actions_path)
        report(settings, record)
        if args.strict and (record["failures"] or record["not_asked"]):
            raise EtlError("extract: --strict was given and not everything came")
    return source


def describe_source(settings: Settings, order: Order) -> str:
    """The source in use, and how to change it."""
    if order.is_replay:
        folders = ", ".join(str(settings.archive_dir / name) for name in settings.sources)
        return f"replay of {folders}: no call is made"
    if len(settings.sources) > 1:
        first, *rest = settings.sources
        return f"source {first}, and {', '.join(rest)} for what it does not have (as SOURCE says)"
    if settings.chosen_sources:
        return f"source {settings.source} (as SOURCE says)"
    if settings.source == "sample":
        return "source sample (no AV_API_KEY is set: put one in .env to fetch today's bars)"
    return "source alpha_vantage (AV_API_KEY is set: SOURCE=sample or files changes it)"


def fetch_all(
    settings: Settings,
    source: Source,
    run: run_records.Run,
    record: dict[str, Any],
    open_files: OpenFiles = open_raw_files,
) -> bool:
    """Write every delivery; publish both raw files if anything came, and return whether it did."""
    record.update(source=settings.source, symbols=0, rows=0, actions=0, failures={}, not_asked=[])
    seen: set[str] = set()
    is_fatal, actions = False, 0
    with open_files(settings, run.run_id) as files, follow(source, record) as deliveries:
        for delivery in deliveries:
            if delivery.error:
                note_failure(record, delivery.label, delivery.error)
                is_fatal = is_fatal or is_needed(delivery)
                continue
            files.write(delivery)
            seen.update(count_symbols(delivery))
            actions += count_actions(delivery)
        rows = files.bars.rows
        record.update(source.notes, symbols=len(seen), rows=rows, actions=actions)
        has_answers = source.notes.get("answers") and not (
            is_fatal and not files.bars.path.exists()
        )
        if not (rows or actions or has_answers):
            check_emptiness(record, is_fatal)
        return files.bars.writer is not None


@contextmanager
def follow(source: Source, record: dict[str, Any]) -> Iterator[Iterator[Delivery]]:
    """What the source delivers, beside a progress bar; what it notes is kept however it ends."""
    fetched = source.fetch()
    bar = tqdm(fetched, total=source.count, unit="answer", disable=None)

    def deliver() -> Iterator[Delivery]:
        for delivery in bar:
            bar.set_postfix_str(describe_progress(delivery, source, record), refresh=False)
            yield delivery

    with logging_redirect_tqdm([log]), closing(bar):
        try:
            yield deliver()
        finally:
            if isinstance(fetched, Generator):
                fetched.close()
            record.update(source.notes)


def describe_progress(delivery: Delivery, source: Source, record: dict[str, Any]) -> str:
    """Beside the bar: the symbol that came last, the day's calls that are left, and failures."""
    left, failed = source.notes.get("calls_left"), len(record["failures"])
    parts = [
        delivery.label,
        "" if left is None else f"{tell(left, 'call')} left today",
        f"{failed:,} failed" if failed else "",
    ]
    return ", ".join(part for part in parts if part)


def note_failure(record: dict[str, Any], label: str, error: SourceError) -> None:
    """Keep a failure for the record; it is told at the end, once."""
    if isinstance(error, NotAsked):
        record["not_asked"].append(label)
        record["not_asked_why"] = str(error)
        return
    record["failures"][label] = f"{error.kind}: {error}"
    log.debug("%s: %s", error.kind, error)


def is_needed(delivery: Delivery) -> bool:
    """Whether a failure means that something that was asked for by name did not come."""
    return not (delivery.is_extra or isinstance(delivery.error, UnknownSymbol))


def check_emptiness(record: dict[str, Any], is_fatal: bool) -> None:
    """EtlError if nothing came although something was needed."""
    has_all = record.get("up_to_date") or record.get("waiting")
    if is_fatal or not has_all:
        causes = [list_failures(record)] if record["failures"] else []
        if record["not_asked"]:
            causes.append(f"{len(record['not_asked']):,} not asked: {record['not_asked_why']}")
        raise EtlError(f"extract: nothing came; {'; '.join(causes) or 'there was nothing'}")


def count_actions(delivery: Delivery) -> int:
    """Splits and dividends; rows that speak of the answer are none."""
    kinds = [] if delivery.actions is None else delivery.actions["kind"].to_pylist()
    return sum(kind in ("split", "dividend") for kind in kinds)


def count_symbols(delivery: Delivery) -> list[str]:
    return [] if delivery.bars is None else delivery.bars["symbol"].unique().to_pylist()


def report(settings: Settings, record: dict[str, Any]) -> None:
    """The summary, with what failed last."""
    log.info("extract: %s", summarize(settings, record))
    tell_not_asked(record)
    if record.get("actions_not_asked"):
        calls = tell(record["actions_not_asked"], "call")
        log.info("extract: %s for splits and dividends left for a later run", calls)
    tell_failed(record)


def tell_not_asked(record: dict[str, Any]) -> None:
    if record["not_asked"]:
        names = ", ".join(record["not_asked"][:10])
        more = f" and {len(record['not_asked']) - 10} more" if record["not_asked"][10:] else ""
        log.warning("extract: not asked: %s%s: %s", names, more, record["not_asked_why"])


def tell_failed(record: dict[str, Any]) -> None:
    if record["failures"]:
        count = len(record["failures"])
        log.warning("extract: %s failed: %s", f"{count:,}", list_failures(record))


def summarize(settings: Settings, record: dict[str, Any]) -> str:
    if record["rows"] or record["actions"]:
        return f"{tell(record['rows'], 'row')} of {tell(record['symbols'], 'symbol')}"
    if record.get("answers"):
        return f"{tell(record['answers'], 'answer')} without splits or dividends"
    waiting = record["waiting"]
    wait = (
        f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for the vendor to have the last session"
    )
    return (
        f"all up to date ({tell(record['up_to_date'], 'symbol')}; {wait}): nothing to ask,"
        f" {settings.raw_path.name} stays as it is"
    )


def list_failures(record: dict[str, Any]) -> str:
    """What failed, the first twenty in full."""
    causes = list(record["failures"].values())[:20]
    if len(record["failures"]) > 20:
        causes.append(
            f"and {len(record['failures']) - 20} more (all are in the record of this run)"
        )
    return "; ".join(causes)


if __name__ == "__main__":
    raise SystemExit(main())
