"""The summary for people: one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from offline_mig import __version__
from offline_mig.sources.file_access import shown
from offline_mig.summary.guest_result import GuestResult, State
from offline_mig.summary.sizes import size_text, time_text
from offline_mig.summary.tables import counts

_TEMPLATE = "summary.html.j2"
#: Guests whose changes a page still shows one by one: a browser should not have to hold more than
#: some ten megabytes of them.
_DETAILED = 200
#: What a guest's heading says of the boot model's verdict.
_OUTCOMES = {"boots": "should boot", "stops": "would stop", "unknown": "cannot be told"}
#: What a diff's signs are called for those who do not see them.
_SIGNS = {"+": "added", "-": "removed", "~": "replaced"}


@dataclass(frozen=True, slots=True)
class _Step:
    """A step on the bar of time: ``share`` of the longest bar in percent, ``colour`` its number."""

    name: str
    text: str
    share: float
    colour: int


def summary_page(results: Sequence[GuestResult], title: str) -> str:
    """Return the page about ``results``; those without results of their own come first.

    Everything is escaped: names in a guest, and the guest's own, were chosen by others.
    """
    # Loaded here: nothing else needs it.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("offline_mig.summary"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What no browser should obey either, such as marks that turn the direction of text.
        finalize=lambda value: shown(value) if type(value) is str else value,
    )
    environment.filters |= {"bytes": size_text, "time": time_text}
    longest = max((result.total_seconds for result in results), default=0.0) or 1.0
    colours = _colours(results)
    return environment.get_template(_TEMPLATE).render(
        title=title,
        version=__version__,
        counts=counts(results),
        results=sorted(results, key=lambda result: result.state is State.CONVERTED),
        steps={
            id(result): [
                _Step(name, time_text(took), round(100 * took / longest, 3), colours[name])
                for name, took in result.seconds.items()
            ]
            for result in results
        },
        legend=[(name, colours[name], time_text(took)) for name, took in _totals(results).items()],
        seconds=sum(result.total_seconds for result in results),
        source_bytes=sum(result.source_bytes or 0 for result in results),
        result_bytes=sum(result.result_bytes or 0 for result in results),
        detailed=len(results) <= _DETAILED,
        outcomes=_OUTCOMES,
        signs=_SIGNS,
        identity=id,
    )


def _totals(results: Sequence[GuestResult]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for result in results:
        for name, took in result.seconds.items():
            totals[name] = totals.get(name, 0.0) + took
    return totals


def _colours(results: Sequence[GuestResult]) -> dict[str, int]:
    """Return the number of each step's colour, of which there are eight."""
    return {name: number % 8 for number, name in enumerate(_totals(results))}
