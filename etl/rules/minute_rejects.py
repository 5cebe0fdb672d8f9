"""The rules by which a raw row becomes a bar of a minute, or is rejected with a reason.

Those of daily bars (rejects.py) as far as they speak of symbol, prices and volume; of the stamp,
those of minute_stamps. The first rule that holds names the reason.
"""

from datetime import UTC, datetime, timedelta

from etl.base.parquet_sql import quote
from etl.rules import rejects
from etl.rules.minute_stamps import DAY_ALONE
from etl.rules.rejects import RULES, Rule
from etl.settings import Settings

TWO_BARS = "two different bars of one stamp"
# Column of the typed row → SQL, as rejects.TYPED; symbol and timestamp are there already.
TYPED = {n: sql for n, sql in rejects.TYPED.items() if n not in ("symbol", "timestamp")}
OF_DAYS = ("time of day", "future date")

STAMP_RULES = (
    Rule("unreadable time", "exact IS NULL AND wall IS NULL"),
    Rule("no time of day", f"regexp_full_match(trim(raw_timestamp), '{DAY_ALONE}')"),
    Rule("unknown time zone", "exact IS NULL AND clock IS NULL"),
    Rule("time skipped by the clock", "is_skipped"),
    Rule("time shown twice by the clock", "is_unclear"),
    Rule("off the interval", "epoch_us(timestamp) % ($seconds * 1000000) <> 0"),
    Rule("future time", "timestamp > $now"),
)


def list_rules() -> list[Rule]:
    """Those of symbols and days, of stamps, and of values."""
    own = [rule for rule in RULES if rule.reason not in OF_DAYS]
    last = [rule.reason for rule in own].index("missing price")
    early = [rule for rule in own[:last] if rule.reason != "unreadable date"]
    return [*early, *STAMP_RULES, *(r for r in own[:last] if r not in early), *own[last:]]


def bind_reason(settings: Settings, seconds: int) -> str:
    """SQL over typed rows: why one is rejected, NULL where it is not."""
    cases = " ".join(f"WHEN {rule.condition} THEN '{rule.reason}'" for rule in list_rules())
    now = datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)  # clocks differ
    return (
        rejects.bind(f"CASE {cases} END", settings)
        .replace("$seconds", str(seconds))
        .replace("$now", f"TIMESTAMP {quote(str(now))}")
    )
