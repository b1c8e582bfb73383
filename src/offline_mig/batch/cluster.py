"""A crew on many machines: the workers of a Dask cluster (the extra ``cluster``).

What runs there is the same function as here, through the same interface, concurrent.futures. Dask
finds a worker for each guest, and another one when that dies. That two of them never write one
output is not Dask's doing: whoever has the workspace of a guest holds a lock on it, and whoever
comes next finds the results in place (earlier_result.py).
"""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline_mig import __version__
from offline_mig.batch.guest_process import carry_out
from offline_mig.batch.orders import Order, Progressed, Result, Tell, order_of
from offline_mig.conversion.workspace import output_refused
from offline_mig.errors import HostNotReadyError

if TYPE_CHECKING:
    from distributed import Client

#: The resource that a worker may have so many of as it is to convert guests at once, at most.
RESOURCE = "guest"
#: Seconds to wait for a scheduler, and between two looks at who is there.
_TIMEOUT, _PACE = 15, 5
_PROGRESSED = "progressed"
_START_WORKERS = "Start some: dask worker {} --nthreads 2"

#: On a worker: what ends the guests of a batch there, by the batch.
_stops: dict[str, threading.Event] = {}


def _carry_out_there(order: Mapping[str, Any], batch: str) -> Result:
    from distributed import get_worker

    worker = get_worker()

    def tell(progressed: Progressed) -> None:
        # Dask adds to the outermost table.
        worker.log_event(batch, {_PROGRESSED: asdict(progressed)})

    return carry_out(order_of(order), tell, _stops.setdefault(batch, threading.Event()))


def _abandon_there(batch: str) -> None:
    _stops.setdefault(batch, threading.Event()).set()


def _version_there(probe: str) -> tuple[str, bool]:
    return __version__, Path(probe).exists()


class ClusterCrew:
    """The workers of a cluster; ``most`` guests at once, or as many as they can take."""

    def __init__(self, client: Client, most: int | None) -> None:
        self._client = client
        self._most = most
        self._batch = f"offline-mig-{uuid.uuid4()}"
        self._counted = any(RESOURCE in worker["resources"] for worker in self._workers())
        wanted = {"resources": {RESOURCE: 1}} if self._counted else {}
        self._executor: Executor = client.get_executor(pure=False, **wanted)
        self._tells: dict[str, Tell] = {}
        self._places = 0
        self._looked: float | None = None
        client.subscribe_topic(self._batch, self._hear)

    @property
    def size(self) -> int:
        """How many guests are worked on at once; workers may come and go.

        Raises HostNotReadyError when the scheduler is lost.
        """
        self._require_scheduler()
        if self._looked is None or time.monotonic() - self._looked > _PACE:
            self._looked = time.monotonic()
            self._places = sum(self._places_at(worker) for worker in self._workers())
        return min(self._most or self._places, max(1, self._places))

    def submit(self, order: Order, tell: Tell) -> Future[Result]:
        """Begin work on a guest. Raises HostNotReadyError when the scheduler is lost."""
        self._require_scheduler()
        self._tells[order.name] = tell
        return self._executor.submit(_carry_out_there, order.text(), self._batch)

    def abandon(self) -> None:
        """Have all guests given up, on every worker that can still be reached."""
        with suppress(OSError, RuntimeError):
            self._client.run(_abandon_there, self._batch, on_error="ignore")

    def _hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        progressed = Progressed(**event[1][_PROGRESSED])
        self._tells[progressed.name](progressed)

    def _require_scheduler(self) -> None:
        if self._client.status != "running":
            raise HostNotReadyError(
                "The scheduler of the cluster was lost.",
                "Guests at work are finished by their workers. Start the scheduler again and go on "
                "with --resume.",
            )

    def _workers(self) -> list[Mapping[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    def _places_at(self, worker: Mapping[str, Any]) -> int:
        threads: int = worker["nthreads"]
        return min(threads, int(worker["resources"].get(RESOURCE, 0))) if self._counted else threads


@contextmanager
def cluster_crew(address: str, most: int | None, output: Path) -> Iterator[ClusterCrew]:
    """Give the crew of the scheduler at ``address``; all workers must see the folder ``output``.

    Raises HostNotReadyError when it does not answer, or has no workers that will do.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise HostNotReadyError(
            "Dask is not installed, through which a cluster is reached.",
            "Install it on every machine: pip install 'offline-mig[cluster]'.",
        ) from error
    try:
        client = Client(address, timeout=_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise HostNotReadyError(
            f"The scheduler {address} does not answer: {error}",
            "Give its address as 'dask scheduler' prints it, such as tcp://head:8786.",
        ) from error
    with client:
        _require_workers(client, address, output.absolute())
        crew = ClusterCrew(client, most)
        try:
            yield crew
        except BaseException:
            crew.abandon()
            raise


def _require_workers(client: Client, address: str, output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".offline-mig-", dir=output) as probe:
            told = client.run(_version_there, probe.name, on_error="return")
    except OSError as error:
        raise output_refused(error, output) from error
    if not told:
        raise HostNotReadyError(
            f"The scheduler {address} has no workers.", _START_WORKERS.format(address)
        )
    for worker, answer in told.items():
        if isinstance(answer, BaseException):
            raise HostNotReadyError(
                f"The worker {worker} cannot run offline-mig: {answer}",
                "Install offline-mig[cluster] there, in the environment of the worker.",
            )
        version, sees = answer
        if version != __version__:
            raise HostNotReadyError(
                f"The worker {worker} has offline-mig {version}, and this is {__version__}.",
                "Install the same version everywhere.",
            )
        if not sees:
            raise HostNotReadyError(
                f"The worker {worker} does not see the folder {output}.",
                "Sources, drivers and results must be on storage that is mounted under the same "
                "names everywhere.",
            )
