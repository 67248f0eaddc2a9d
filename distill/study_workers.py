"""Who does the tasks of a study: processes of this machine, or a Dask cluster that exists."""

from __future__ import annotations

import os
import uuid
import warnings
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
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        with parallel_config(backend="loky", inner_max_num_threads=self.threads):
            parallel = Parallel(
                n_jobs=self.jobs, return_as="generator_unordered", pre_dispatch=self.jobs
            )
            # Of no concern: a process that has grown is replaced after its task.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            try:
                yield from parallel(delayed(function)(task) for task in tasks)
            except TerminatedWorkerError as error:
                raise _ended("A process of the study was ended from outside.") from error


@dataclass(frozen=True)
class ClusterWorkers:
    """The workers of the Dask scheduler at ``address``; all of them must see ``folder``.

    Raises InputError where nobody answers within a few seconds, where there are no workers, or
    where they do not see the folder.
    """

    address: str
    folder: Path

    def run(self, function: Callable[[T], R], tasks: Sequence[T]) -> Generator[R, None, None]:
        from distributed import KilledWorker, as_completed

        with _connect(self.address) as client:
            self._check(client)
            futures = client.map(function, tasks, pure=False)
            try:
                for future in as_completed(futures):  # type: ignore[no-untyped-call]
                    if future.cancelled():  # by the client, which lost its scheduler
                        raise _ended(f"The scheduler at {self.address} is gone.")
                    yield future.result()
            except KilledWorker as error:
                raise _ended(f"Workers of {self.address} were ended from outside.") from error
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


def _ended(message: str) -> InputError:
    hint = "Memory may have been short. The same command, given again, goes on."
    return InputError(message, hint=hint)


def _connect(address: str) -> Client:
    from distributed import Client

    try:
        client: Client = Client(address, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address}.",
            hint="Start one with `dask scheduler`, and workers with `dask worker ADDRESS`.",
        ) from error
    return client
