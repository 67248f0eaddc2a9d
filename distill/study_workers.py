"""Who does the tasks of a study: processes of this machine, or a Dask cluster that exists."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from targets.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")
CONNECT_SECONDS = 5
MISSING = "pip install 'sordino[study]'"


class Workers(Protocol):
    """Somebody to do tasks; ``run`` yields results as they come, in any order."""

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[R, None, None]: ...


@dataclass(frozen=True)
class LocalWorkers:
    """``jobs`` processes of this machine (joblib's loky), or this process itself for one job.

    The processes stay alive from task to task: what they have decoded and imported stays with
    them. Closing the generator, or Ctrl-C, ends them.
    """

    jobs: int = 1
    threads: int = 1

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[R, None, None]:
        if self.jobs == 1:
            for task in tasks:
                yield function(task)
            return
        from joblib import Parallel, delayed, parallel_config

        with parallel_config(backend="loky", inner_max_num_threads=self.threads):
            parallel = Parallel(
                n_jobs=self.jobs, return_as="generator_unordered", pre_dispatch=self.jobs
            )
            yield from parallel(delayed(function)(task) for task in tasks)


@dataclass(frozen=True)
class ClusterWorkers:
    """The workers of the Dask scheduler at ``address``; all of them must see ``folder``.

    Raises InputError where nobody answers within a few seconds, where there are no workers, or
    where they do not see the folder.
    """

    address: str
    folder: Path

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[R, None, None]:
        from distributed import as_completed

        with _connect(self.address) as client:
            self._check(client)
            futures = client.map(function, tasks, pure=False)
            try:
                for _, result in as_completed(  # type: ignore[no-untyped-call]
                    futures, with_results=True
                ):
                    yield result
            finally:
                client.cancel(futures)

    def _check(self, client: Client) -> None:
        token = self.folder / f".seen-{uuid.uuid4().hex}"
        token.touch()
        try:
            seen = client.run(os.path.exists, str(token))
        finally:
            token.unlink()
        if not seen:
            raise InputError(
                f"The Dask cluster at {self.address} has no workers.",
                hint=f"dask worker {self.address} --nthreads 1 --nworkers 2",
            )
        if blind := [name for name, sees in seen.items() if not sees]:
            raise InputError(
                f"{len(blind)} of {len(seen)} workers do not see {self.folder} ({blind[0]}).",
                hint="Results are shared by files: put the study on a file system all can reach.",
            )


def _connect(address: str) -> Client:
    """A client of the scheduler; its own chatter about lost connections is kept away."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError("Dask is not installed.", hint=MISSING) from error
    try:
        client: Client = Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address}.",
            hint="Start one with `dask scheduler`, and workers with `dask worker ADDRESS`.",
        ) from error
    return client
